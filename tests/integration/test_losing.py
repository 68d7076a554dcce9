"""Records that nobody has are marked lost, and not while somebody who is reached has them; then copies go on behind them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio

from appliance.core.clock import SystemClock
from appliance.core.errors import Conflict, NotFound, Unavailable, UsageError
from appliance.run.copying_wiring import lost_state, with_copies
from appliance.run.replicator_process import Answers
from replication import losing, mender
from replication.losing import Losing
from replication.messages import LeafAsk, decode_message
from storage.log.lost import is_lost_signed, read_lost
from storage.log.verify import verify
from storage.replicas.rotten import RottenFrames
from tests.fleet_kit import until
from tests.replicator_kit import Box, join, set_fleet
from tests.rot_kit import flip_frames, newest, scrub
from tests.storage_log_kit import KitSigner, append_blocks
from tests.unit.test_ui_replication import STATE


@pytest.fixture
async def boxes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[Box]]:
    """One's log with a copy on two, which is linked; three is linked with nobody yet."""
    monkeypatch.setattr(mender, "LOOK_INTERVAL_S", 0.05)
    async with trio.open_nursery() as nursery:
        one, two, three = (Box(number, tmp_path, nursery) for number in (1, 2, 3))
        set_fleet([one, two, three])
        for box in (one, two, three):
            await box.start()
        join(one, two)
        writer = one.open_log(segment_bytes=1024 * 1024)
        append_blocks(writer, 30, body_bytes_max=200_000)
        assert await trio.to_thread.run_sync(writer.wait_idle, 60)
        end = writer.head.next_seq
        writer.close()
        await until(lambda: two.replicator.gossip.head(one.stream).next_seq == end, within_s=60)
        yield [one, two, three]
        nursery.cancel_scope.cancel()


def losing_of(box: Box) -> Losing:
    return Losing(box.replicator.mender, box.replicator.directory, KitSigner(), SystemClock())


async def missing(box: Box) -> RottenFrames:
    await until(lambda: bool(box.replicator.mender.rotten), within_s=60)
    ((_, part),) = box.replicator.mender.rotten
    assert isinstance(part, RottenFrames)
    return part


async def test_a_range_that_nobody_has_is_marked_and_gone_on_behind(boxes: list[Box]) -> None:
    one, two, three = boxes
    log, copy = one.root / "log" / "telemetry", two.copy_of(one)
    for directory in (log, copy):
        flip_frames(newest(directory), 1)
    for directory in (log, copy):
        await trio.to_thread.run_sync(partial(scrub, directory, newest=True))
    part = await missing(one)
    await missing(two)
    state = with_copies(STATE, one.replicator, SystemClock())
    assert [(each.node_id, each.first_seq, each.next_seq) for each in state.missing] == [
        (one.node_id, part.first_seq, part.next_seq)
    ]
    assert "can't be read" in state.unreadable
    assert state.problem == "", "everything else is copied on"

    join(three, one)
    await until(lambda: three.replicator.gossip.head(one.stream).next_seq == part.first_seq, within_s=60)
    lost = await losing_of(one).mark(
        one.stream, part.epoch, part.first_seq, part.next_seq, by="anna", reason="both cards died"
    )
    assert is_lost_signed(lost)
    assert read_lost(log) == (lost,)
    state = with_copies(STATE, one.replicator, SystemClock())
    assert (state.missing, state.unreadable) == ((), "")
    assert state.lost == (lost_state(one.stream, lost),)

    # Whose copy is damaged in the same place hears of it, and whose ends before it goes on.
    await until(lambda: read_lost(copy) == (lost,) and not two.replicator.mender.rotten, within_s=60)
    held = three.replicator.gossip._core
    for peer in held.peers.values():
        peer.resting.clear()  # it was told that nothing can be read there, and rests for a minute
    end = one.replicator.gossip.head(one.stream).next_seq
    await until(lambda: three.replicator.gossip.head(one.stream).next_seq == end, within_s=90)
    assert read_lost(three.copy_of(one)) == (lost,)
    for directory in (log, copy, three.copy_of(one)):
        assert verify(directory).ok


async def test_what_somebody_has_is_not_marked(boxes: list[Box], monkeypatch: pytest.MonkeyPatch) -> None:
    one, two, _ = boxes
    log = one.root / "log" / "telemetry"
    await two.stop()  # so that nothing is mended before it was looked for
    flip_frames(newest(log), 1)
    await trio.to_thread.run_sync(partial(scrub, log, newest=True))
    monkeypatch.setattr(mender, "ANSWER_S", 0.05)
    part = await missing(one)
    place = (part.epoch, part.first_seq, part.next_seq)
    mark = partial(losing_of(one).mark, by="anna", reason="")
    with pytest.raises(NotFound, match="known to be missing"):
        await mark(one.stream, part.epoch, part.first_seq, part.next_seq + 1)
    with pytest.raises(NotFound):
        await mark(two.stream, *place)

    with pytest.raises(Unavailable) as away:
        await mark(one.stream, *place)
    assert (away.value.code, two.node_id in away.value.message) == ("holders_not_asked", True)

    async def never(*_: object) -> str:
        await trio.sleep_forever()
        raise AssertionError

    monkeypatch.setattr(losing, "ASK_S", 0.05)
    monkeypatch.setattr(one.replicator.mender, "holder_of", never)
    with pytest.raises(Unavailable) as silent:
        await mark(one.stream, *place)
    assert silent.value.code == "holders_not_asked"

    async def held(*_: object) -> str:
        return two.node_id

    monkeypatch.setattr(losing, "ASK_S", 60.0)
    monkeypatch.setattr(one.replicator.mender, "holder_of", held)
    with pytest.raises(Conflict) as refused:
        await mark(one.stream, *place)
    assert refused.value.code == "range_is_held"
    assert two.node_id in refused.value.message
    assert read_lost(log) == ()


async def test_the_holder_of_a_range_is_found(boxes: list[Box], monkeypatch: pytest.MonkeyPatch) -> None:
    one, two, _ = boxes
    log = one.root / "log" / "telemetry"
    asked: list[LeafAsk] = []
    take = two.replicator.message

    def note(peer: str, data: bytes) -> None:
        message = decode_message(data)
        if isinstance(message, LeafAsk):
            asked.append(message)
        take(peer, data)

    monkeypatch.setattr(two.replicator, "message", note)
    good = newest(log).read_bytes()
    flip_frames(newest(log), 1)
    await trio.to_thread.run_sync(partial(scrub, log, newest=True))
    await until(lambda: newest(log).read_bytes() == good, within_s=60)
    (ask,) = {(each.next_seq, each.hash, each.upto_seq) for each in asked}
    part = RottenFrames(1, asked[0].segment_first_seq, ask[0], ask[2], ask[1], b"e" * 32, 0, 0)
    assert await one.replicator.mender.holder_of(one.stream, part) == two.node_id


async def test_a_range_that_nothing_proves_is_not_marked(boxes: list[Box]) -> None:
    one = boxes[0]
    await until(lambda: one.replicator.mender.rotten == ())
    part = RottenFrames(1, 1, 5, 9, b"a" * 32, b"", 0, 0)
    one.replicator.mender.rotten = ((one.stream, part),)
    with pytest.raises(Conflict) as refused:
        await losing_of(one).mark(one.stream, 1, 5, 9, by="anna", reason="")
    assert refused.value.code == "range_not_provable"


async def test_the_replicator_marks_what_it_is_asked_to(boxes: list[Box]) -> None:
    one = boxes[0]
    nobody = cast(Any, None)
    node = cast(Any, SimpleNamespace(node_id=one.node_id))
    answers = Answers(node, one.replicator, nobody, nobody, losing_of(one), clock=SystemClock())
    fields = {"node_id": one.node_id, "name": "telemetry", "epoch": 1, "first_seq": 5, "next_seq": 9}
    with pytest.raises(NotFound) as unknown:
        await answers.answer("mark_lost", {**fields, "by": "anna", "reason": ""})
    assert unknown.value.code == "range_not_missing"
    for wrong in ({"name": "nonsense"}, {"name": "telemetry.fork-x"}, {"epoch": "1"}, {"node_id": "x"}):
        with pytest.raises(UsageError) as refused:
            await answers.answer("mark_lost", {**fields, **wrong})
        assert refused.value.code == "range_unreadable"
    log = one.root / "log" / "telemetry"
    flip_frames(newest(log), 1)
    flip_frames(newest(boxes[1].copy_of(one)), 1)
    await trio.to_thread.run_sync(partial(scrub, log, newest=True))
    part = await missing(one)
    place = {"epoch": part.epoch, "first_seq": part.first_seq, "next_seq": part.next_seq}
    done = await answers.answer("mark_lost", {**fields, **place, "by": "anna", "reason": "why"})
    assert (done["by"], done["reason"], done["key_id"]) == ("anna", "why", KitSigner().key_id.hex())
