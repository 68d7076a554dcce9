"""Transitions and checkpoint come with the batch they came from, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.core.errors import StorageError
from storage.telemetry.batch import Counts, Cursor, StoreBatch, WatchPart
from storage.telemetry.store import TelemetryStore
from storage.telemetry.watch_state import found_since, last_number, read_checkpoint, waiting_count
from tests.unit.test_storage_telemetry_alarm_outbox import checkpoint, transition


def batch(part: WatchPart, before: Cursor) -> StoreBatch:
    after = Cursor(1, before.next_seq + 1, b"h", 5)
    return StoreBatch(before, after, Counts(records=1, others=1), [(1, 1)], watch=part)


def test_they_are_written_with_the_batch(tmp_path: Path) -> None:
    store = TelemetryStore.open(tmp_path / "t.duckdb")
    store.commit(batch(WatchPart(transitions=[transition(1)], checkpoint=checkpoint(1)), Cursor()))
    with store.reading() as connection:
        assert found_since(connection, 0) == [transition(1)]
        assert found_since(connection, 1) == []
        assert read_checkpoint(connection) == checkpoint(1)
        assert (last_number(connection), waiting_count(connection)) == (1, 1)
    store.close()


def test_nothing_of_them_is_left_of_a_batch_that_is_refused(tmp_path: Path) -> None:
    store = TelemetryStore.open(tmp_path / "t.duckdb")
    part = WatchPart(transitions=[transition(1)], checkpoint=checkpoint(1))
    with pytest.raises(StorageError, match="cursor is not at 5"):
        store.commit(batch(part, Cursor(1, 5)))
    with store.reading() as connection:
        assert found_since(connection, 0) == []
        assert read_checkpoint(connection) is None
    store.close()
