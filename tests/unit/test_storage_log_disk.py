"""The real disk."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from storage.log.disk import OsDisk, write_all


def test_reading_past_the_cache_gives_what_was_written(tmp_path: Path) -> None:
    disk = OsDisk()
    content = os.urandom(3 * 4096 + 100)
    (tmp_path / "file").write_bytes(content)
    descriptor = disk.open_direct(tmp_path / "file")
    assert disk.pread_direct(descriptor, 8192, 4096) == content[4096:12288]
    assert disk.pread_direct(descriptor, 1 << 20, 8192) == content[8192:]
    assert disk.pread_direct(descriptor, 4096, 1 << 20) == b""
    disk.close(descriptor)


def test_directories_are_made_with_those_above(tmp_path: Path) -> None:
    OsDisk().make_directory(tmp_path / "a" / "b" / "c")
    OsDisk().make_directory(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


def test_reading_stops_at_the_end(tmp_path: Path) -> None:
    disk = OsDisk()
    (tmp_path / "file").write_bytes(b"abc")
    descriptor = disk.open(tmp_path / "file")
    assert disk.pread(descriptor, 10, 1) == b"bc"
    assert disk.pread(descriptor, 10, 99) == b""
    assert (disk.size(descriptor), disk.file_size(tmp_path / "file")) == (3, 3)
    disk.close(descriptor)


def test_a_write_that_makes_no_progress_is_an_error(tmp_path: Path) -> None:
    class Stuck(OsDisk):
        def pwritev(self, descriptor: int, buffers: Sequence[bytes | memoryview], offset: int) -> int:
            return 0

    with pytest.raises(OSError, match="no progress") as caught:
        write_all(Stuck(), 0, [b"x"], 0)
    assert caught.value.errno == errno.EIO


def test_the_boot_id_is_that_of_this_boot() -> None:
    assert OsDisk().boot_id() == OsDisk().boot_id() != bytes(16)
