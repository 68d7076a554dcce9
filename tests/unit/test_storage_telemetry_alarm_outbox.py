"""The outbox: in order, once, kept for as long as a replay could find it again."""

from __future__ import annotations

from pathlib import Path

from appliance.management.rule_transition import AlarmKey, Transition
from storage.telemetry.alarm_outbox import AlarmOutbox
from storage.telemetry.batch import Cursor, WatchCheckpoint, WatchPart
from storage.telemetry.database import run
from storage.telemetry.store import TelemetryStore


def transition(at_ms: int, *, seq: int = 7) -> Transition:
    key = AlarmKey(rule_id="r", device_id="d", series="t")
    explanation = {"text": "too warm", "limit": 5.5, "since_ms": None}
    return Transition(
        key=key,
        rule_version=3,
        is_raised=True,
        at_ms=at_ms,
        value=6.5,
        explanation=explanation,
        epoch=1,
        seq=seq,
    )


def checkpoint(found_number: int) -> WatchCheckpoint:
    return WatchCheckpoint(cursor=Cursor(1, 9, b"h", 5), found_number=found_number, reader=b"r", watch=b"w")


def test_it_gives_back_what_was_put_in_its_order(tmp_path: Path) -> None:
    store = TelemetryStore.open(tmp_path / "t.duckdb")
    outbox = AlarmOutbox(store)
    outbox.put(WatchPart(transitions=[transition(2), transition(1)]))
    outbox.put(WatchPart(transitions=[transition(3)]))
    assert outbox.read_after(0, 10) == [(1, transition(2)), (2, transition(1)), (3, transition(3))]
    assert outbox.read_after(1, 1) == [(2, transition(1))]
    assert outbox.waiting() == 3
    store.close()


def test_rows_go_when_they_are_applied_and_a_checkpoint_is_behind_them(tmp_path: Path) -> None:
    store = TelemetryStore.open(tmp_path / "t.duckdb")
    outbox = AlarmOutbox(store)
    outbox.put(WatchPart(transitions=[transition(at) for at in range(4)]))
    outbox.forget_through(3)
    assert outbox.waiting() == 1
    assert len(outbox.read_after(0, 10)) == 4, "a replay would find them again"
    outbox.put(WatchPart(checkpoint=checkpoint(2)))
    outbox.forget_through(3)
    assert [number for number, _ in outbox.read_after(0, 10)] == [3, 4]
    store.close()


def test_no_number_is_given_twice(tmp_path: Path) -> None:
    store = TelemetryStore.open(tmp_path / "t.duckdb")
    outbox = AlarmOutbox(store)
    outbox.put(WatchPart(transitions=[transition(1), transition(2)], checkpoint=checkpoint(2)))
    outbox.forget_through(2)
    assert outbox.waiting() == 0
    store_id = outbox.store_id()
    store.close()
    store = TelemetryStore.open(tmp_path / "t.duckdb")
    outbox = AlarmOutbox(store)
    outbox.put(WatchPart(transitions=[transition(3)]))
    assert outbox.read_after(2, 10) == [(3, transition(3))]
    assert outbox.store_id() == store_id
    other = TelemetryStore.open(tmp_path / "other.duckdb")
    assert AlarmOutbox(other).store_id() != store_id
    other.close()
    store.close()


def test_a_part_without_anything_is_none() -> None:
    assert not WatchPart()
    assert WatchPart(checkpoint=checkpoint(0))


def test_the_checkpoint_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    store = TelemetryStore.open(tmp_path / "t.duckdb")
    outbox = AlarmOutbox(store)
    outbox.put(WatchPart(checkpoint=checkpoint(1)))
    outbox.put(WatchPart(checkpoint=checkpoint(2)))
    with store.reading() as connection:
        assert run(connection, "SELECT count(*), max(found_number) FROM watch_checkpoints") == [(1, 2)]
    store.close()
