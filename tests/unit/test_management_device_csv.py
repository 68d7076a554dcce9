"""Lists of devices: what spreadsheets make of RFC 4180, and what is none of it."""

from __future__ import annotations

import pytest

from appliance.core.errors import UsageError
from appliance.core.limits import DEVICE_IMPORT_LINE_BYTES_MAX
from appliance.management.device_csv import (
    CsvProblem,
    CsvRow,
    DeviceCsvReader,
    csv_line,
    join_list,
    split_list,
)


def _read(data: bytes) -> list[CsvRow | CsvProblem]:
    reader = DeviceCsvReader()
    return [*reader.receive_bytes(data), *reader.receive_eof()]


def _rows(data: bytes) -> list[tuple[int, dict[str, str]]]:
    return [(each.line, each.values) for each in _read(data) if isinstance(each, CsvRow)]


def _codes(data: bytes) -> list[tuple[int, str]]:
    return [(each.line, each.code) for each in _read(data) if isinstance(each, CsvProblem)]


def test_a_plain_list() -> None:
    assert _rows(b"device_id,name\r\nd1, Pump \r\nd2,\r\n") == [
        (2, {"device_id": "d1", "name": "Pump"}),
        (3, {"device_id": "d2", "name": ""}),
    ]


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbfdevice_id;name\nd1;Pump",
        b"sep=;\ndevice_id;name\nd1;Pump\n",
        b"Device_ID ,NAME\rd1,Pump\r",
        b'"device_id","name"\r\n"d1","Pump"\r\n\r\n,\r\n',
        b"device_id,name,state,created_at_ms\nd1,Pump,active,5\n",
        b"device_id,name,\nd1,Pump,\n",
        b"device_id,name\nd1,Pump,,\n",
    ],
)
def test_what_spreadsheets_make_of_it(data: bytes) -> None:
    assert [values for _, values in _rows(data)] == [{"device_id": "d1", "name": "Pump"}]


def test_quotes_hold_separators_and_quotes() -> None:
    assert _rows(b'device_id,name\nd1,"Pump ""A"", cellar"\nd2,5" pipe\n') == [
        (2, {"device_id": "d1", "name": 'Pump "A", cellar'}),
        (3, {"device_id": "d2", "name": '5" pipe'}),
    ]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b'd1,"open', "csv_quotes"),
        (b'd1,"a"b', "csv_quotes"),
        (b"d1", "csv_value_count"),
        (b"d1,a,b", "csv_value_count"),
        (b"d1,\xff", "csv_line_encoding"),
        (b"d1," + b"x" * DEVICE_IMPORT_LINE_BYTES_MAX, "csv_line_too_long"),
    ],
)
def test_a_bad_line_spoils_no_other(line: bytes, code: str) -> None:
    data = b"device_id,name\nd0,\n" + line + b"\nd2,\n"
    assert _codes(data) == [(3, code)]
    assert [number for number, _ in _rows(data)] == [2, 4]


def test_an_endless_line_is_not_kept() -> None:
    reader = DeviceCsvReader()
    reader.receive_bytes(b"device_id\n")
    for _ in range(100):
        assert reader.receive_bytes(b"x" * DEVICE_IMPORT_LINE_BYTES_MAX) == []
    (problem, row) = reader.receive_bytes(b"\nd1\n")
    assert isinstance(problem, CsvProblem)
    assert problem.code == "csv_line_too_long"
    assert isinstance(row, CsvRow)
    reader.receive_bytes(b"y" * (DEVICE_IMPORT_LINE_BYTES_MAX + 1))
    (last,) = reader.receive_eof()
    assert isinstance(last, CsvProblem)


def test_a_line_of_the_greatest_length_may_end_in_two_characters() -> None:
    line = b"d" * DEVICE_IMPORT_LINE_BYTES_MAX
    reader = DeviceCsvReader()
    found = [
        *reader.receive_bytes(b"device_id\r\n"),
        *reader.receive_bytes(line + b"\r"),
        *reader.receive_bytes(b"\n"),
    ]
    assert found == _read(b"device_id\r\n" + line + b"\r\n")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "csv_header_missing"),
        (b"\n\n", "csv_header_missing"),
        (b"name\nPump\n", "csv_column_missing"),
        (b"device_id,colour\n", "csv_column_unknown"),
        (b"device_id,,name\n", "csv_column_unknown"),
        (b"device_id,name,Name\n", "csv_column_twice"),
        ("device_id\n".encode("utf-16"), "csv_encoding"),
    ],
)
def test_a_header_that_can_not_be_used(data: bytes, code: str) -> None:
    with pytest.raises(UsageError) as refused:
        _read(data)
    assert refused.value.code == code
    assert refused.value.hint


def test_the_header_is_known_once_it_was_read() -> None:
    assert not DeviceCsvReader().header
    reader = DeviceCsvReader()
    reader.receive_bytes(b"device_id;tags\n")
    assert reader.header == ("device_id", "tags")


@pytest.mark.parametrize(
    "items", [[], ["a"], ["a b", "c"], ["a|b", "c\\d"], ["\\", "|"], ["\\|", "a\\\\"], ["ä;,"]]
)
def test_a_list_in_a_cell_comes_back(items: list[str]) -> None:
    assert split_list(join_list(items)) == items


@pytest.mark.parametrize(
    "value", ["=1+1", "@x", "+4", "-1", "'", "'=x", "''", 'a"b', "a;b", "a,b", "plain", "é"]
)
def test_no_cell_is_a_formula_and_each_comes_back(value: str) -> None:
    line = csv_line(("d1", value))
    cell = line.removeprefix("d1,")
    assert cell.lstrip('"')[0] not in "=+-@"
    assert _rows(b"device_id,name\n" + line.encode()) == [(2, {"device_id": "d1", "name": value})]
