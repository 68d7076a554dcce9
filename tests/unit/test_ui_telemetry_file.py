"""Readings as CSV and JSON lines."""

from __future__ import annotations

import csv
import io
import json
import math

from tests.node_kit import columns_of
from ui import telemetry_file

BATCH = columns_of(
    "=1+1",
    "@sum",
    [0, 1_772_000_000_123, 1, 2, 3, -1],
    [-21.5, 7.0, '=HYPERLINK("x")', True, math.nan, math.inf],
    [0, 1, 2, 0, 0, 0],
)


def _rows(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode(), newline="")))


def test_csv_has_a_header_and_neutralises_what_a_spreadsheet_would_run() -> None:
    assert (
        telemetry_file.first_line("csv") == b"device_id,metric,observed_at,observed_at_ms,value,quality\r\n"
    )
    data = telemetry_file.lines("csv", BATCH)
    assert data.endswith(b"\r\n")
    rows = _rows(data)
    assert rows[0] == ["'=1+1", "'@sum", "1970-01-01T00:00:00.000Z", "0", "-21.5", "good"]
    assert rows[1] == ["'=1+1", "'@sum", "2026-02-25T06:13:20.123Z", "1772000000123", "7.0", "uncertain"]
    assert rows[2][4:] == ['\'=HYPERLINK("x")', "bad"]
    assert [row[4] for row in rows[3:]] == ["true", "", ""]
    assert rows[5][2] == "1969-12-31T23:59:59.999Z"


def test_json_lines_are_objects_with_values_of_their_kind() -> None:
    assert telemetry_file.first_line("jsonl") == b""
    lines = telemetry_file.lines("jsonl", BATCH).decode().splitlines()
    assert json.loads(lines[0]) == {
        "device_id": "=1+1",
        "metric": "@sum",
        "observed_at": "1970-01-01T00:00:00.000Z",
        "observed_at_ms": 0,
        "value": -21.5,
        "quality": "good",
    }
    assert [json.loads(line)["value"] for line in lines[2:]] == ['=HYPERLINK("x")', True, None, None]


def test_a_file_that_is_not_whole_says_so_in_its_last_line() -> None:
    assert json.loads(telemetry_file.broken_off("jsonl", "the disk, “full”")) == {
        "problem": "The export broke off: the disk, “full”"
    }
    assert _rows(telemetry_file.broken_off("csv", "x, y")) == [
        ["(broken off)", "", "", "", "The export broke off: x, y", ""]
    ]
