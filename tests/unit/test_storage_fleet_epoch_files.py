"""What speaks against writing is known over restarts, and what can't be read counts as if it did."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.core.errors import StorageError
from storage.fleet.epoch_files import (
    BEHIND,
    DOUBT,
    Behind,
    Doubt,
    read_behind,
    read_doubt,
    remove_behind,
    remove_doubt,
    write_behind,
    write_doubt,
)
from storage.fleet.roster_file import fleet_folder


def test_a_doubt_lasts_until_it_is_removed(tmp_path: Path) -> None:
    fleet_folder(tmp_path).mkdir()
    assert read_doubt(tmp_path) is None
    doubt = Doubt(reason="moved", since_ms=5, epoch=3, voters_count=1, needed_count=2)
    write_doubt(tmp_path, doubt)
    assert read_doubt(tmp_path) == doubt
    remove_doubt(tmp_path)
    remove_doubt(tmp_path)
    assert read_doubt(tmp_path) is None


def test_where_the_catalog_is_behind_lasts_as_well(tmp_path: Path) -> None:
    fleet_folder(tmp_path).mkdir()
    assert read_behind(tmp_path) is None
    write_behind(tmp_path, Behind(from_seq=7))
    assert read_behind(tmp_path) == Behind(from_seq=7)
    remove_behind(tmp_path)
    assert read_behind(tmp_path) is None


@pytest.mark.parametrize("data", [b"", b"[]", b'{"reason": "tired", "since_ms": 1}', b'{"from_seq": -1}'])
def test_a_file_that_is_none_is_a_doubt(tmp_path: Path, data: bytes) -> None:
    fleet_folder(tmp_path).mkdir()
    for name in (DOUBT, BEHIND):
        (fleet_folder(tmp_path) / name).write_bytes(data)
    assert read_doubt(tmp_path) == Doubt(reason="ahead", since_ms=0)
    assert read_behind(tmp_path) == Behind(from_seq=1)


def test_what_can_not_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="can't be written"):
        write_doubt(tmp_path, Doubt(reason="ahead", since_ms=1))
    with pytest.raises(StorageError, match="can't be written"):
        remove_doubt(tmp_path)
