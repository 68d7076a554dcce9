"""The reader for rows: what the store has, in order and once, no further than the store is, and on in a later epoch."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest

from appliance.core.errors import CursorBeyondHead
from appliance.pipeline.mapping_sets import MappingSets
from appliance.pipeline.rows_reading import ReadRows, RowsReading
from appliance.pipeline.rules import LogRules
from storage.log.reader import LogReader
from storage.telemetry.batch import Cursor
from tests.log_kit import Record
from tests.site_kit import NODES, Log

AT_MS = 1_700_000_000_000
ALL = 1_000


class Plain:
    """A site of one box."""

    def of_site(self, seq: int) -> int:
        return seq

    def own(self, site_seq: int) -> int:
        return site_seq


class Shifted:
    """A site where three of another node's records came before the own ones."""

    def of_site(self, seq: int) -> int:
        return seq + 3

    def own(self, site_seq: int) -> int:
        return max(1, site_seq - 3)


def everybody(devices: Collection[str]) -> Collection[str]:
    return devices


def rules(erased: dict[str, tuple[int, int]] | None = None) -> LogRules:
    return LogRules(MappingSets.always(()), lambda: erased or {})


def reading(n: int, *, device: str = "dev-1", seq: int | None = None) -> Record:
    values = f'"n":{n},"state":"s{n}"'
    payload = f'{{"boot_id":"b","seq":{seq},"v":{{{values}}}}}' if seq is not None else f"{{{values}}}"
    return Record(payload.encode(), topic=f"dm/{device}/telemetry".encode(), at_ms=AT_MS + n)


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "log", NODES[0])


def values(rows: ReadRows | None) -> list[tuple[str, str, float | str]]:
    assert rows is not None
    found: list[tuple[str, str, float | str]] = []
    for part, each in ((rows.numbers, rows.numbers.numbers.tolist()), (rows.texts, rows.texts.texts)):
        for place, value in zip(part.series.tolist(), each, strict=True):
            device, metric, _ = rows.series[place]
            found.append((device, metric, value))
    return sorted(found, key=repr)


def begun(log: Log, at: Cursor | None = None, state: bytes = b"") -> RowsReading:
    made = RowsReading(LogReader(log.directory), Plain())
    made.begin(at or Cursor(), state)
    return made


def test_rows_have_their_names_and_end_where_the_store_does(log: Log) -> None:
    log.append([reading(1)])
    log.append([reading(2, device="dev-2")])
    reader = begun(log)
    assert reader.read(rules(), ALL, 1, everybody) is None
    first = reader.read(rules(), ALL, 2, everybody)
    assert values(first) == [("dev-1", "n", 1.0), ("dev-1", "state", "s1")]
    assert first is not None
    assert (first.after.epoch, first.after.next_seq, len(first)) == (1, 2, 2)
    assert values(reader.read(rules(), ALL, 3, everybody)) == [("dev-2", "n", 2.0), ("dev-2", "state", "s2")]
    assert reader.read(rules(), ALL, 3, everybody) is None
    reader.close()


def test_a_site_calls_own_records_otherwise(log: Log) -> None:
    log.append([reading(1)])
    log.append([reading(2)])
    reader = RowsReading(LogReader(log.directory), Shifted())
    reader.begin(Cursor(), b"")
    assert reader.read(rules(), ALL, 4, everybody) is None
    found = reader.read(rules(), ALL, 5, everybody)
    assert values(found) == [("dev-1", "n", 1.0), ("dev-1", "state", "s1")]
    reader.close()


def test_what_was_sent_before_a_restart_is_known_after_it(log: Log) -> None:
    log.append([reading(1, seq=1), reading(2, seq=2)])
    before = begun(log)
    first = before.read(rules(), ALL, 3, everybody)
    assert first is not None
    log.append([reading(2, seq=2), reading(3, seq=3)])
    again = begun(log, first.after, first.reader)
    assert values(again.read(rules(), ALL, 5, everybody)) == [("dev-1", "n", 3.0), ("dev-1", "state", "s3")]
    forgotten = begun(log, first.after)
    assert len(values(forgotten.read(rules(), ALL, 5, everybody))) == 4
    for each in (before, again, forgotten):
        each.close()
    with pytest.raises(ValueError):
        begun(log, first.after, b"\xc1")


def test_erased_and_unknown_devices_have_no_rows(log: Log) -> None:
    log.append([reading(1), reading(2, device="dev-2")])
    log.append([reading(3)])
    reader = begun(log)
    erased = {"dev-1": (1, 3)}
    assert values(reader.read(rules(erased), ALL, 4, everybody)) == [
        ("dev-2", "n", 2.0),
        ("dev-2", "state", "s2"),
    ]
    assert values(reader.read(rules(erased), ALL, 4, everybody)) == [
        ("dev-1", "n", 3.0),
        ("dev-1", "state", "s3"),
    ]
    log.append([reading(4, device="dev-3")])
    assert values(reader.read(rules(), ALL, 5, lambda _: ())) == []
    reader.close()


def test_a_later_epoch_is_read_from_its_beginning(log: Log) -> None:
    log.append([reading(1)])
    log.reopen(new_epoch=True)
    log.append([reading(2)])
    log.append([reading(3)])
    epoch = log.writer.head.epoch
    # Rows went further in the first epoch than this log, which was put back.
    reader = begun(log, Cursor(1, 3, b"another", AT_MS))
    with pytest.raises(CursorBeyondHead):
        reader.read(rules(), ALL, ALL, everybody)
    reader.begin_epoch()
    found = reader.read(rules(), ALL, ALL, everybody)
    assert values(found)[0] == ("dev-1", "n", 2.0)
    assert len(values(found)) == 4
    assert found is not None
    assert (found.after.epoch, found.after.next_seq) == (epoch, 4)
    with pytest.raises(CursorBeyondHead, match="does not go on"):
        reader.begin_epoch()
    reader.close()


def test_what_is_gone_is_passed_over_and_counted(log: Log) -> None:
    log.append([reading(1)])
    reader = begun(log, Cursor(1, 1))
    assert reader.first_seq() == 1
    assert reader.skip_to(2) == 1
    assert reader.skip_to(1) == 0
    log.append([reading(2)])
    assert values(reader.read(rules(), ALL, 3, everybody)) == [("dev-1", "n", 2.0), ("dev-1", "state", "s2")]
    reader.close()
