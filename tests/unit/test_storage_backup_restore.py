"""Writing a backup's files beside the box's own; what is refused before, and what is found while."""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from appliance.core.errors import HomeportError, NotFound, StorageError
from storage.backup import repository as repositories
from storage.backup import restore
from storage.backup.manifest import FileEntry, Manifest
from storage.backup.repository import Repository
from storage.backup.sealing import RepositoryKeys
from tests.unit.test_storage_backup_catalog_copy import NEWEST, OURS
from tests.unit.test_storage_backup_header import HEADER
from tests.unit.test_storage_backup_manifest import manifest


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    repositories.create(tmp_path / "usb", HEADER)
    return Repository(tmp_path / "usb", RepositoryKeys(bytes(range(32))))


def backed_up(repository: Repository, **contents: bytes) -> Manifest:
    files = []
    for name, content in contents.items():
        piece, _ = repository.put(content)
        files.append(
            FileEntry(
                name=f"identity/{name}",
                size=len(content),
                mode=0o400 if name == "sealed" else 0o600,
                sha256=_sha256(content),
                pieces=(piece,) if content else (),
            )
        )
    return manifest(*files, catalog=OURS)


def _sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def test_files_are_as_they_were(repository: Repository, tmp_path: Path) -> None:
    made = backed_up(repository, a=b"content", sealed=b"x" * 10)
    told: list[tuple[int, int]] = []
    restore.stage(repository, made, tmp_path / "to", progress=lambda *both: told.append(both))
    assert (tmp_path / "to" / "identity" / "a").read_bytes() == b"content"
    assert (tmp_path / "to" / "identity" / "sealed").stat().st_mode & 0o777 == 0o400
    assert (tmp_path / "to" / "identity").stat().st_mode & 0o777 == 0o700
    assert told == [(7, 17), (17, 17)]


def test_what_an_earlier_try_left_is_gone(repository: Repository, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("mine")
    (tmp_path / "to" / "identity").mkdir(parents=True)
    (tmp_path / "to" / "identity" / "a").symlink_to(outside)
    (tmp_path / "to" / "more").touch()
    restore.stage(repository, backed_up(repository, a=b"content"), tmp_path / "to")
    assert outside.read_text() == "mine"
    assert sorted(os.listdir(tmp_path / "to")) == ["identity"]


def test_a_file_that_is_another_one_than_was_backed_up_is_found(
    repository: Repository, tmp_path: Path
) -> None:
    made = backed_up(repository, a=b"content", b=b"another")
    first, second = made.files
    swapped = manifest(replace(first, pieces=second.pieces), catalog=OURS)
    with pytest.raises(StorageError, match="is not what was backed up"):
        restore.stage(repository, swapped, tmp_path / "to")


@pytest.mark.parametrize("size", [3, 100])
def test_a_size_that_is_not_true_is_found(repository: Repository, tmp_path: Path, size: int) -> None:
    made = backed_up(repository, a=b"content")
    wrong = manifest(replace(made.files[0], size=size), catalog=OURS)
    with pytest.raises(StorageError):
        restore.stage(repository, wrong, tmp_path / "to")


def test_a_piece_that_is_missing_is_named(repository: Repository, tmp_path: Path) -> None:
    made = backed_up(repository, a=b"content")
    shutil.rmtree(repository.folder / "chunks")
    with pytest.raises(NotFound, match="is missing"):
        restore.stage(repository, made, tmp_path / "to")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"formats": {"log": 2}}, "backup_too_new"),
        ({"formats": {"log": 1, "holograms": 1}}, "backup_too_new"),
        ({"catalog": (*OURS, (NEWEST + 1, "next", NEWEST + 1, "x"))}, "catalog_too_new"),
        ({"catalog": ((1, "other", 1, "x"),)}, "catalog_history_differs"),
    ],
)
def test_what_needs_a_newer_program_is_refused(changes: dict[str, Any], code: str) -> None:
    with pytest.raises(HomeportError) as found:
        restore.check_usable(manifest(**{"catalog": OURS, **changes}), {})
    assert found.value.code == code


def test_what_this_program_made_is_usable() -> None:
    restore.check_usable(manifest(catalog=OURS, formats={"log": 1, "archive": 2}), {"archive": 2})


def test_what_does_not_fit_is_refused(repository: Repository, tmp_path: Path) -> None:
    made = backed_up(repository, a=b"content")
    restore.check_space(made, tmp_path)
    huge = manifest(*(replace(made.files[0], size=2**60) for _ in range(1)))
    with pytest.raises(StorageError) as found:
        restore.check_space(huge, tmp_path)
    assert found.value.code == "restore_no_space"


def test_a_disk_that_fails_is_said(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError) as found:
        restore.stage(repository, backed_up(repository, a=b"x"), tmp_path / "file" / "to")
    assert found.value.code == "restore_failed"
