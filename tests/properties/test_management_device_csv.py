"""Lists of devices: any way of cutting the same bytes gives the same, and any bytes give rows, problems or UsageError."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from appliance.core.errors import UsageError
from appliance.management.device_csv import (
    CsvProblem,
    CsvRow,
    DeviceCsvReader,
    csv_line,
    join_list,
    split_list,
)

PIECES = st.sampled_from(
    [
        b"device_id", b"name", b"tags", b",", b";", b'"', b"\r", b"\n", b"\r\n", b"\xef\xbb\xbf", b"\xff\xfe",
        b"d1", b"'=", b"|", b" ", b"x" * 9_000, b"\x00", b"\xc3",
    ]
)  # fmt: skip
DOCUMENTS = st.lists(PIECES | st.binary(max_size=4), max_size=40).map(b"".join)
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=20).map(str.strip)


def _read(pieces: list[bytes]) -> list[CsvRow | CsvProblem] | str:
    reader = DeviceCsvReader()
    try:
        found = [each for piece in pieces for each in reader.receive_bytes(piece)]
        return [*found, *reader.receive_eof()]
    except UsageError as error:
        return error.code


@given(DOCUMENTS, st.lists(st.integers(0, 400_000), max_size=6))
def test_any_way_of_cutting_gives_the_same(document: bytes, cuts: list[int]) -> None:
    places = sorted({0, len(document), *(cut % (len(document) + 1) for cut in cuts)})
    pieces = [document[begin:end] for begin, end in pairwise(places)]
    assert _read(pieces) == _read([document])


@given(TEXT.filter(bool), TEXT, st.lists(TEXT.filter(bool), max_size=5, unique=True))
def test_what_is_written_is_read(device_id: str, name: str, tags: list[str]) -> None:
    line = csv_line((device_id, name, join_list(tags)))
    found = _read([b"device_id,name,tags\r\n", line.encode()])
    assert len(found) == 1
    row = found[0]
    assert isinstance(row, CsvRow)
    assert (row.values["device_id"], row.values["name"]) == (device_id, name)
    assert split_list(row.values["tags"]) == tags
