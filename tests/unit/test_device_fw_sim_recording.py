"""CSV recordings."""

from __future__ import annotations

from pathlib import Path

import pytest

from device_fw_sim import recording
from device_fw_sim.errors import OptionsError


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "recording.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_rows_with_header_times_without_zone_and_all_kinds_of_value(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "timestamp,value\n2013-12-02 21:15:00,73.96\n2013-12-02T22:15:00+01:00,true\n\n1386022500,off\n1386022500000,nan\n",
    )
    at_ms = 1_386_018_900_000
    assert list(recording.read(path)) == [
        (at_ms, 73.96),
        (at_ms, True),
        (1_386_022_500_000, "off"),
        (1_386_022_500_000, "nan"),
    ]
    assert recording.check(path) == 4


def test_no_header_is_needed(tmp_path: Path) -> None:
    assert list(recording.read(write(tmp_path, "1386022500,1\n"))) == [(1_386_022_500_000, 1.0)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("timestamp,value\n1386022500\n", "Line 2"),
        ("timestamp,value\nyesterday,1\n", "Line 2"),
        ("timestamp,value\n1386022500," + "x" * 5_000, "4 KiB"),
        (b"timestamp,value\n1386022500,\xff\n", "UTF-8"),
    ],
)
def test_a_bad_line_is_refused_with_its_number(tmp_path: Path, text: str | bytes, said: str) -> None:
    with pytest.raises(OptionsError, match=said):
        recording.check(write(tmp_path, text))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionsError, match="can't be read"):
        recording.check(tmp_path / "none.csv")
