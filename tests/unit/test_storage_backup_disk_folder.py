"""Files on a disk that somebody else may have written, and that may be full or gone."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from appliance.core.errors import Conflict, NotFound, StorageError
from storage.backup import disk_folder


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    disk_folder.write_file(tmp_path / "a", b"1")
    disk_folder.write_file(tmp_path / "a", b"22")
    assert disk_folder.read_file(tmp_path / "a", 2) == b"22"
    assert disk_folder.names_of(tmp_path) == ["a"]
    assert disk_folder.sizes_of(tmp_path) == {"a": 2}


def test_what_a_write_left_is_no_obstacle_and_no_way_out(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("mine")
    (tmp_path / "a.part").symlink_to(outside)
    disk_folder.write_file(tmp_path / "a", b"1")
    assert outside.read_text() == "mine"
    assert not (tmp_path / "a").is_symlink()


def test_links_pipes_and_folders_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("link", "pipe", "folder"):
        with pytest.raises(StorageError) as found:
            disk_folder.read_file(tmp_path / name, 10)
        assert found.value.code == "backup_damaged", name
    assert disk_folder.sizes_of(tmp_path) == {"file": 1}


def test_a_size_is_allowed_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(StorageError, match="at most 10"):
        disk_folder.read_file(tmp_path / "large", 10)


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        disk_folder.read_file(tmp_path / "a", 10)
    assert disk_folder.names_of(tmp_path / "none") == []
    assert disk_folder.sizes_of(tmp_path / "none") == {}
    disk_folder.remove_file(tmp_path / "a")


def test_one_at_a_time(tmp_path: Path) -> None:
    with disk_folder.locked(tmp_path / "lock") as can_write:
        assert can_write
        with pytest.raises(Conflict), disk_folder.locked(tmp_path / "lock"):
            pass
    with disk_folder.locked(tmp_path / "lock") as can_write:
        assert can_write


def test_a_disk_that_only_reads_is_not_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "open", refuse)
    with disk_folder.locked(tmp_path / "lock") as can_write:
        assert not can_write


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [
        (errno.ENOSPC, "backup_disk_full", "full"),
        (errno.EROFS, "backup_disk_refuses", "can't be used"),
        (errno.EACCES, "backup_disk_refuses", "can't be used"),
        (errno.EIO, "backup_disk_failed", "taken away"),
        (errno.ENOENT, "backup_disk_failed", "can't be used"),
    ],
)
def test_what_a_failing_disk_says(tmp_path: Path, number: int, code: str, word: str) -> None:
    told = disk_folder.disk_failed(tmp_path / "a", OSError(number, os.strerror(number)))
    assert told.code == code
    assert word in told.message
    assert told.hint


def test_a_folder_that_can_not_be_synced_is_fine_and_a_failing_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = OSError(errno.EINVAL, "Invalid argument")

    def fail(_: int) -> None:
        raise error

    monkeypatch.setattr(os, "fsync", fail)
    disk_folder.sync_folder(tmp_path)
    error = OSError(errno.EIO, "Input/output error")
    with pytest.raises(OSError, match="Input/output"):
        disk_folder.sync_folder(tmp_path)


def test_a_write_that_fails_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError):
        disk_folder.write_file(tmp_path / "file" / "a", b"")
    with pytest.raises(StorageError):
        disk_folder.make_folder(tmp_path / "file" / "a")
    with pytest.raises(StorageError):
        disk_folder.names_of(tmp_path / "file")
