"""A replay's questions and its transaction: failures are of the store, and nothing is written by halves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core.errors import StorageError
from storage.telemetry.batch import Counts, Cursor, DeadLetter, StoreBatch
from storage.telemetry.database import StoreUnavailable, run
from storage.telemetry.letters import ReplayPart, parts
from storage.telemetry.replaying import asking, store_replay
from storage.telemetry.store import TelemetryStore

PART = ReplayPart(replay_id="r", number=1, epoch=1, at_seq=2, after=(-1, 0), through=(1, 1), letters=1)


def letter(reason: str) -> DeadLetter:
    return DeadLetter(1, 1, 1_000, "d", "t/d", "c", reason, "", b"x", 1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TelemetryStore]:
    opened = TelemetryStore.open(tmp_path / "telemetry.duckdb")
    opened.commit(
        StoreBatch(
            before=Cursor(),
            after=Cursor(1, 2, b"h", 0),
            counts=Counts(records=1, dead_letters=1),
            blocks=[(1, 1)],
            dead_letters=[letter("bad_json")],
        )
    )
    yield opened
    opened.close()


def again(counts: Counts) -> StoreBatch:
    at = Cursor(1, 2, b"h", 0)
    return StoreBatch(before=at, after=at, counts=counts, blocks=[(1, 1)], dead_letters=[letter("no_values")])


def test_a_question_that_fails_is_a_failure_of_the_store(store: TelemetryStore) -> None:
    with pytest.raises(StoreUnavailable), asking(store) as connection:
        run(connection, "SELECT nonsense")
    with asking(store) as connection:
        assert parts(connection) == []


def test_a_letter_that_is_still_dead_has_its_new_reason_and_the_cursor_stays(store: TelemetryStore) -> None:
    store_replay(store, again(Counts(records=1, dead_letters=1)), [(1, 1)], PART)
    with asking(store) as connection:
        assert run(connection, "SELECT reason FROM dead_letters") == [("no_values",)]
        assert parts(connection) == [PART]
    assert store.read_cursor() == Cursor(1, 2, b"h", 0)


def test_a_part_that_does_not_add_up_is_not_written(store: TelemetryStore) -> None:
    with pytest.raises(StorageError) as uneven:
        store_replay(store, again(Counts(records=1, readings=1)), [(1, 1)], PART)
    assert uneven.value.code == "batch_uneven"
    with asking(store) as connection:
        assert run(connection, "SELECT reason FROM dead_letters") == [("bad_json",)]
        assert parts(connection) == []
