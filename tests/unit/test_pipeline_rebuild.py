"""What a store that was begun anew goes on from, and what the log is told to keep for that."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from appliance.core.clock import ManualClock
from appliance.core.errors import StorageError
from appliance.pipeline.rebuild import RETRY_MS, Rebuild
from storage.telemetry.batch import DAY_MS, Cursor
from storage.telemetry.recovery import needed_seq, take_copy
from storage.telemetry.snapshot import snapshots
from tests.backlog_kit import NOW, ByHand, Stream
from tests.log_kit import append, open_log


class Place:
    """A log, a store that is filled from it, and a rebuild."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock(now_ms=NOW)
        self.stream, self.writer = Stream(3), open_log(folder / "log")
        (folder / "data").mkdir()
        self.state = folder / "data" / "archive" / "state"
        self.published = 0
        self.write()
        self.hand = ByHand(folder / "data" / "t.duckdb", folder / "log")
        self.rebuild = Rebuild(self.state, published=lambda: self.published, clock=self.clock)

    def write(self, count: int = 20) -> None:
        append(self.writer, self.stream.block(count))

    def fill(self) -> None:
        trio.run(self.hand.to_the_end)

    def publish(self, next_seq: int) -> None:
        self.published = next_seq

    def say_needed(self) -> StorageError | None:
        return self.rebuild.say_needed(self.hand.store, self.publish)

    def begin(self, links: bool = True) -> bool:
        return self.rebuild.begin(
            self.hand.store, self.hand.reading.look(), self.hand.reading.links if links else lambda _: False
        )


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_copy_is_made_at_once_and_when_a_day_begins(place: Place) -> None:
    assert place.say_needed() is None
    assert [name.next_seq for name in snapshots(place.state)] == [1]
    place.fill()
    place.clock.advance(3_600_000)
    assert place.say_needed() is None
    assert len(snapshots(place.state)) == 1
    place.clock.advance(DAY_MS)
    assert place.say_needed() is None
    assert [name.next_seq for name in snapshots(place.state)] == [1, 21]
    assert needed_seq(place.hand.store) == 1
    assert place.published == 1, "no archive has anything: all of the log is needed"
    place.hand.close()


def test_a_store_that_was_begun_anew_gets_the_copy_that_the_log_goes_on_from(place: Place) -> None:
    place.fill()
    with place.hand.store.transaction() as connection:
        connection.execute(
            "UPDATE days SET generation = 1, first_seq = 21, archived_numbers = 99999, archived_texts = 99999"
        ).fetchall()
    place.say_needed()
    assert place.published == 21
    place.write()
    place.hand.lose()
    assert place.begin()
    assert place.hand.store.read_cursor().next_seq == 21
    assert not place.begin(), "it was begun already"
    state = place.hand.reading.load()
    assert state.totals.records == 20
    place.fill()
    assert place.hand.reading.cursor.next_seq == 41
    place.hand.close()


def test_a_box_out_of_a_backup_begins_with_the_oldest_copy(place: Place) -> None:
    place.fill()
    with place.hand.store.transaction() as connection:
        connection.execute(
            "UPDATE days SET generation = 1, first_seq = 21, archived_numbers = 99999, archived_texts = 99999"
        ).fetchall()
    place.say_needed()
    place.write()
    place.fill()
    take_copy(place.hand.store, place.state)
    assert [name.next_seq for name in snapshots(place.state)] == [21, 41]
    place.published = 0
    place.hand.lose()
    assert place.begin()
    assert place.hand.store.read_cursor().next_seq == 21
    place.hand.close()


def test_a_store_that_was_not_begun_anew_is_left_alone(place: Place) -> None:
    place.fill()
    assert not place.begin()
    place.hand.close()


@pytest.mark.parametrize("why", ["damaged", "another log", "beyond"])
def test_a_copy_that_does_not_fit_is_passed_over(place: Place, why: str) -> None:
    place.fill()
    place.say_needed()
    (name,) = snapshots(place.state)
    place.published = 21 if why != "beyond" else 10
    if why == "damaged":
        (place.state / str(name)).write_bytes(b"HPSTATE1")
    place.hand.lose()
    assert place.begin(links=why != "another log")
    assert place.hand.store.read_cursor() == Cursor()
    assert (place.rebuild.damaged is not None) == (why == "damaged")
    place.hand.close()


def test_a_disk_that_is_full_is_said_and_tried_again_later(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("storage.telemetry.snapshot.os.fsync", full)
        failure = place.say_needed()
    assert failure is not None
    assert failure.code == "snapshot_unwritten"
    assert place.published == 0, "the log keeps everything"
    assert place.say_needed() is None
    assert snapshots(place.state) == []
    place.clock.advance(RETRY_MS)
    assert place.say_needed() is None
    assert len(snapshots(place.state)) == 1
    place.hand.close()
