"""Reading backups back, and opening what was restored."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.core.errors import StorageError, Unavailable
from storage.backup import restore, verify
from storage.backup.manifest import Manifest
from storage.backup.repository import Repository
from tests.backup_kit import Box, make_box
from ui import backup_work


@pytest.fixture
def box(tmp_path: Path) -> Box:
    made = make_box(tmp_path / "box")
    made.publish(20)
    made.back_up(tmp_path / "usb")
    return made


@pytest.fixture
def repository(box: Box, tmp_path: Path) -> Repository:
    return backup_work.open_repository(box.data_dir, box.keys, tmp_path / "usb")


def chunk_of(repository: Repository, name: str) -> Path:
    newest = repository.newest()
    assert newest is not None
    (file,) = [each for each in newest.files if each.name == name]
    chunk_id = file.pieces[0].chunk_id.hex()
    return repository.folder / "chunks" / chunk_id[:2] / chunk_id


def test_whole_backups_are_whole(repository: Repository) -> None:
    told: list[tuple[int, int]] = []
    found = verify.verify_chunks(
        repository, repository.ids(), can_write=True, progress=lambda *both: told.append(both)
    )
    assert (found.problems, found.broken) == ((), ())
    assert found.chunk_count == len(told)
    assert told[-1] == (found.bytes, found.bytes)


def test_one_flipped_bit_is_found_and_mended_by_the_next_backup(
    box: Box, repository: Repository, tmp_path: Path
) -> None:
    path = chunk_of(repository, "identity/site.key")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    (backup_id,) = repository.ids()
    found = verify.verify_chunks(repository, [backup_id], can_write=True)
    assert found.broken == (backup_id,)
    assert len(found.problems) == 1
    assert not path.exists()
    box.back_up(tmp_path / "usb")
    again = verify.verify_chunks(repository, repository.ids(), can_write=True)
    assert (again.problems, again.broken) == ((), ())


def test_on_a_disk_that_only_reads_nothing_is_set_aside(repository: Repository) -> None:
    path = chunk_of(repository, "catalog.db")
    path.write_bytes(b"")
    found = verify.verify_chunks(repository, repository.ids(), can_write=False)
    assert found.broken
    assert path.exists()


def test_a_missing_piece_and_a_torn_manifest_are_named(repository: Repository) -> None:
    chunk_of(repository, "catalog.db").unlink()
    other = "20200101T000000Z-00000000"
    (repository.folder / "backups" / f"{other}.backup").write_bytes(b"torn")
    found = verify.verify_chunks(repository, repository.ids(), can_write=True)
    assert len(found.problems) == 2
    assert found.broken == tuple(sorted(repository.ids()))


def test_it_can_be_stopped(repository: Repository) -> None:
    with pytest.raises(Unavailable):
        verify.verify_chunks(repository, repository.ids(), can_write=True, stop=lambda: True)


@pytest.fixture
def restored(repository: Repository, tmp_path: Path) -> tuple[Path, Manifest]:
    newest = repository.newest()
    assert newest is not None
    restore.stage(repository, newest, tmp_path / "to")
    return tmp_path / "to", newest


def test_what_was_restored_opens(restored: tuple[Path, Manifest]) -> None:
    assert verify.open_restored(*restored) == ()


def test_a_day_of_the_archive_that_is_damaged_is_found(restored: tuple[Path, Manifest]) -> None:
    folder, made = restored
    path = next(folder.rglob("*.parquet"))
    path.write_bytes(path.read_bytes()[::-1])
    (problem,) = verify.open_restored(folder, made)
    assert "archive of 2026-11-01 is damaged" in problem


def test_a_log_that_ends_elsewhere_is_found(restored: tuple[Path, Manifest]) -> None:
    folder, made = restored
    with pytest.raises(StorageError, match="ends at 21"):
        verify.open_restored(folder, replace(made, log_next_seq=22))


def test_a_log_that_is_missing_is_found(restored: tuple[Path, Manifest]) -> None:
    folder, made = restored
    (folder / "log").rename(folder / "elsewhere")
    with pytest.raises(StorageError, match="log is missing"):
        verify.open_restored(folder, made)
    verify.open_restored(folder, replace(made, log_next_seq=1))


def test_a_log_with_a_hole_is_found(restored: tuple[Path, Manifest]) -> None:
    folder, made = restored
    sorted((folder / "log" / "telemetry").glob("*.seg"))[1].unlink()
    assert any("log is damaged" in problem for problem in verify.open_restored(folder, made))


def test_a_catalog_of_another_schema_is_found(restored: tuple[Path, Manifest]) -> None:
    folder, made = restored
    with pytest.raises(StorageError, match="another schema"):
        verify.open_restored(folder, replace(made, catalog=made.catalog[:-1]))
    connection = sqlite3.connect(folder / "catalog.db")
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute("DELETE FROM sqlite_master WHERE type = 'index' AND name LIKE 'erasures%'")
    connection.commit()
    connection.close()
    with pytest.raises(StorageError):
        verify.open_restored(folder, made)
