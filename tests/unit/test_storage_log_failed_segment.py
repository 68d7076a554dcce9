"""storage/log/failed_segment.py: what was acknowledged of a segment is proved from the disk."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from storage.log import OsDisk
from storage.log.failed_segment import prove_acknowledged
from storage.log.names import parse_segment_name
from storage.log.scan import Position
from tests.storage_log_kit import HookedDisk, append_blocks, open_writer


def log_of(directory: Path) -> tuple[Path, Position]:
    writer = open_writer(directory)
    append_blocks(writer, 4)
    head = writer.head
    writer.close()
    return next(directory.glob("*.open")), Position(head.offset, head.next_seq, head.hash)


def prove(path: Path, end: Position, disk: OsDisk | None = None) -> str:
    name = parse_segment_name(path.name)
    assert name is not None
    return prove_acknowledged(disk or OsDisk(), path.parent, name, end)


def test_all_of_it_is_there(tmp_path: Path) -> None:
    path, end = log_of(tmp_path)
    assert prove(path, end) == ""


def test_an_empty_segment_was_never_promised_to_anybody(tmp_path: Path) -> None:
    path, _ = log_of(tmp_path)
    path.unlink()
    assert prove(path, Position(4096, 1, b"")) == ""


@pytest.mark.parametrize("offset", [4096 + 200, 2 * 4096 + 10])
def test_a_rotten_frame_is_named(tmp_path: Path, offset: int) -> None:
    path, end = log_of(tmp_path)
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xff\x00rot")
    assert prove(path, end).startswith("Acknowledged records from ")


def test_a_missing_end_is_named(tmp_path: Path) -> None:
    path, end = log_of(tmp_path)
    with path.open("r+b") as file:
        file.truncate(end.offset - 4096)
    assert "are not on the disk" in prove(path, end)


def test_a_lost_header_is_named(tmp_path: Path) -> None:
    path, end = log_of(tmp_path)
    with path.open("r+b") as file:
        file.write(bytes(4096))
    assert "header" in prove(path, end)


def test_a_disk_that_can_not_be_read_is_an_error(tmp_path: Path) -> None:
    path, end = log_of(tmp_path)
    disk = HookedDisk()

    def fail(called: str, name: str) -> None:
        if called == "pread_direct":
            raise OSError(errno.EIO, "unreadable")

    disk.hook = fail
    with pytest.raises(OSError, match="unreadable"):
        prove(path, end, disk)
