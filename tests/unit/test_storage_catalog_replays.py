"""Replays in the catalog: asked for, followed, remembered, bounded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import Conflict, NotFound
from storage.catalog import Catalog
from storage.catalog import replays as module
from storage.catalog.replays import PartDone


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def catalog(tmp_path: Path, clock: ManualClock) -> Iterator[Catalog]:
    opened = Catalog.open(tmp_path / "catalog.db", clock=clock, node_id=bytes(16))
    yield opened
    opened.close()


def note(catalog: Catalog, replay_id: str, *, state: module.ReplayState = "done") -> module.Replay:
    part = PartDone(epoch=1, at_seq=9, after=(-1, 0), through=(1, 5))
    return catalog.note_replay(
        replay_id, parts=[part], letters=4, messages=2, rows=6, still_dead=1, state=state, detail="x" * 900
    )


def test_a_replay_is_followed_until_it_is_done(catalog: Catalog, clock: ManualClock) -> None:
    asked = catalog.request_replay(reason="bad_json", pattern="t/{device}", device_id="d", epoch=1, at_seq=9)
    assert (asked.state, asked.parts, asked.at_seq, asked.done_at_ms) == ("requested", (), 9, None)
    assert note(catalog, asked.replay_id, state="requested").done_at_ms is None
    clock.advance(5)
    done = note(catalog, asked.replay_id)
    assert (done.state, done.letter_count, done.message_count, done.row_count, done.still_dead) == (
        "done",
        4,
        2,
        6,
        1,
    )
    assert done.parts == (PartDone(epoch=1, at_seq=9, after=(-1, 0), through=(1, 5)),)
    assert (done.done_at_ms, len(done.detail)) == (clock.now_ms(), 500)
    assert catalog.replays_of_log() == [done]
    with pytest.raises(NotFound) as unknown:
        catalog.get_replay("nothing")
    assert unknown.value.code == "replay_unknown"


def test_few_wait_and_few_are_remembered(
    catalog: Catalog, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REPLAY_WAITING_COUNT_MAX", 2)
    monkeypatch.setattr(module, "REPLAY_COUNT_MAX", 2)
    ids = []
    for _ in range(2):
        clock.advance(1)
        ids.append(catalog.request_replay(epoch=1, at_seq=1).replay_id)
    with pytest.raises(Conflict) as full:
        catalog.request_replay(epoch=1, at_seq=1)
    assert full.value.code == "replay_waiting"
    for replay_id in ids:
        note(catalog, replay_id)
    for _ in range(2):
        clock.advance(1)
        ids.append(catalog.request_replay(epoch=1, at_seq=1).replay_id)
    assert [each.replay_id for each in catalog.list_replays(limit=9)] == ids[:0:-1]
    assert len(catalog.list_replays(limit=1)) == 1
