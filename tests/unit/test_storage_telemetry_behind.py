"""The second reader's position moves in the transaction of its rows, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.core.errors import StorageError
from storage.telemetry.batch import Cursor
from storage.telemetry.behind import Behind, move_behind, read_behind
from storage.telemetry.recovery import pass_over
from storage.telemetry.store import TelemetryStore


@pytest.fixture
def store(tmp_path: Path) -> TelemetryStore:
    made = TelemetryStore.open(tmp_path / "t.duckdb")
    pass_over(made, Cursor(1, 100, b"h", 5), [], is_rebuild=True)
    return made


def behind(store: TelemetryStore) -> Behind:
    with store.reading() as connection:
        found = read_behind(connection)
    assert found is not None
    return found


def test_what_was_passed_over_is_to_be_read_from_where_the_cursor_was(store: TelemetryStore) -> None:
    found = behind(store)
    assert (found.cursor, found.began_seq, found.is_rebuild, found.ranges) == (Cursor(), 1, True, [(1, 100)])
    assert store.read_cursor().next_seq == 100
    assert (found.unread(), found.is_unread(), found.until_seq()) == (99, True, 100)
    pass_over(store, Cursor(1, 300, b"i", 6), [])
    found = behind(store)
    assert found.ranges == [(1, 100), (100, 300)]
    assert (found.began_seq, found.is_rebuild) == (1, True)
    store.close()


def test_between_ranges_the_records_were_read_ahead() -> None:
    found = Behind(Cursor(1, 150), 1, ranges=[(1, 100), (200, 300)])
    assert (found.unread(), found.is_unread(), found.until_seq()) == (100, False, 200)


def test_it_moves_from_where_it_stands_only(store: TelemetryStore) -> None:
    with store.transaction() as connection:
        move_behind(connection, Cursor(), Cursor(1, 40, b"x", 3), [], ends=False)
    assert behind(store).cursor == Cursor(1, 40, b"x", 3)
    with pytest.raises(StorageError) as caught, store.transaction() as connection:
        move_behind(connection, Cursor(), Cursor(1, 60), None, ends=False)
    assert caught.value.code == "cursor_moved"
    assert behind(store).cursor.next_seq == 40
    store.close()


def test_it_ends_when_nothing_is_left(store: TelemetryStore) -> None:
    with pytest.raises(StorageError) as caught, store.transaction() as connection:
        move_behind(connection, Cursor(), Cursor(1, 60), None, ends=True)
    assert caught.value.code == "backlog_uneven"
    with store.transaction() as connection:
        move_behind(connection, Cursor(), Cursor(1, 100), None, ends=True)
    with store.reading() as connection:
        assert read_behind(connection) is None
    store.close()


def test_what_cannot_be_read_is_passed_and_counted(store: TelemetryStore) -> None:
    store.skip(Cursor(), Cursor(0, 30), is_behind=True)
    assert behind(store).cursor.next_seq == 30
    assert store.read_cursor().next_seq == 100
    assert store.read_state().totals.skipped == 29
    store.close()
