"""Repositories: pieces once, backups whole, and nothing that another backup needs is ever removed."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.core.errors import Conflict, NotFound, StorageError, UsageError
from storage.backup import repository as repositories
from storage.backup.manifest import FileEntry, Manifest, Piece
from storage.backup.repository import Repository
from storage.backup.sealing import RepositoryKeys
from tests.unit.test_storage_backup_header import HEADER
from tests.unit.test_storage_backup_manifest import manifest

KEYS = RepositoryKeys(bytes(range(32)))


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    repositories.create(tmp_path / "usb", HEADER)
    return Repository(tmp_path / "usb", KEYS)


def keep(repository: Repository, number: int, *contents: bytes) -> Manifest:
    """A backup of files with these contents."""
    files = []
    for at, content in enumerate(contents):
        piece, _ = repository.put(content)
        files.append(
            FileEntry(
                name=f"identity/f{at}", size=len(content), mode=0o600, sha256=bytes(32), pieces=(piece,)
            )
        )
    made = replace(manifest(*files), backup_id=f"20261127T1011{number:02}Z-00000000")
    repository.finish(made)
    return made


def chunks(repository: Repository) -> list[str]:
    return sorted(path.name for path in (repository.folder / "chunks").rglob("*") if path.is_file())


def test_a_piece_is_kept_once_and_comes_back(repository: Repository) -> None:
    made = keep(repository, 1, b"a", b"b", b"a")
    assert len(chunks(repository)) == 2
    assert [repository.get(file.pieces[0]) for file in made.files] == [b"a", b"b", b"a"]
    again = Repository(repository.folder, KEYS)
    assert again.put(b"a")[1] == 0
    assert again.has(made.files[0].pieces)
    assert again.newest() == made
    assert again.missing(made) == []


def test_a_header_says_whose_it_is(repository: Repository, tmp_path: Path) -> None:
    assert repositories.read_header(repository.folder) == HEADER
    assert repositories.has_header(repository.folder)
    assert not repositories.has_header(tmp_path)
    with pytest.raises(NotFound) as found:
        repositories.read_header(tmp_path)
    assert found.value.code == "backup_repository_missing"


def test_a_repository_is_made_in_an_empty_folder_only(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="There is no folder"):
        repositories.create(tmp_path / "not-mounted" / "x", HEADER)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").touch()
    with pytest.raises(UsageError, match="other files"):
        repositories.create(tmp_path / "photos", HEADER)
    (tmp_path / "stick" / "lost+found").mkdir(parents=True)
    repositories.create(tmp_path / "stick", HEADER)


def test_making_one_that_was_interrupted_goes_on(tmp_path: Path) -> None:
    (tmp_path / "usb" / "chunks").mkdir(parents=True)
    (tmp_path / "usb" / "homeport-backup.json.part").touch()
    repositories.create(tmp_path / "usb", HEADER)
    assert repositories.read_header(tmp_path / "usb") == HEADER


def test_removing_takes_what_nobody_needs_and_nothing_else(repository: Repository) -> None:
    first = keep(repository, 1, b"only in the first", b"in both")
    second = keep(repository, 2, b"in both", b"only in the second")
    assert repository.ids() == [first.backup_id, second.backup_id]
    freed = repository.remove([first.backup_id])
    assert freed > 0
    assert repository.ids() == [second.backup_id]
    assert [repository.get(file.pieces[0]) for file in second.files] == [b"in both", b"only in the second"]
    assert len(chunks(repository)) == 2
    with pytest.raises(NotFound):
        repository.manifest(first.backup_id)


def test_the_newest_are_kept(repository: Repository) -> None:
    for number in range(5):
        keep(repository, number, b"%d" % number)
    gone, freed = repository.keep_newest(2)
    assert [name[13:15] for name in gone] == ["00", "01", "02"]
    assert freed > 0
    assert len(repository.ids()) == len(chunks(repository)) == 2
    assert repository.keep_newest(2) == ([], 0)


def test_while_a_manifest_can_not_be_read_no_chunk_goes(repository: Repository) -> None:
    first, second = keep(repository, 1, b"one"), keep(repository, 2, b"two")
    (repository.folder / "backups" / f"{first.backup_id}.backup").write_bytes(b"torn")
    assert repository.remove([second.backup_id]) == 0
    assert len(chunks(repository)) == 2


def test_a_chunk_that_lost_its_content_is_written_again(repository: Repository) -> None:
    """A disk that was pulled out may show a name with no content behind it."""
    made = keep(repository, 1, b"content")
    piece = made.files[0].pieces[0]
    path = next((repository.folder / "chunks").rglob(piece.chunk_id.hex()))
    path.write_bytes(b"")
    again = Repository(repository.folder, KEYS)
    assert again.missing(made) == [piece]
    assert not again.has([piece])
    assert again.put(b"content")[1] > 0
    assert again.get(piece) == b"content"


def test_a_chunk_that_no_manifest_vouches_for_is_written_again(repository: Repository) -> None:
    """The backup that wrote it was interrupted: nothing says that it was synced."""
    repository.put(b"content")
    assert Repository(repository.folder, KEYS).put(b"content")[1] > 0


def test_what_an_interrupted_backup_left_is_swept(repository: Repository) -> None:
    repository.put(b"content")
    (repository.folder / "backups" / "x.backup.part").touch()
    keep(repository, 1, b"other")
    repository.remove([])
    assert len(chunks(repository)) == 1
    assert len(list((repository.folder / "backups").iterdir())) == 1


def test_a_damaged_chunk_is_set_aside(repository: Repository) -> None:
    made = keep(repository, 1, b"content")
    piece = made.files[0].pieces[0]
    repository.set_aside(piece)
    assert repository.missing(made) == [piece]
    repository.set_aside(piece)
    with pytest.raises(NotFound):
        repository.get(piece)


def test_names_that_are_no_backups_are_passed_over(repository: Repository) -> None:
    for name in ("notes.txt", "..backup", "x.backup"):
        (repository.folder / "backups" / name).touch()
    assert repository.ids() == []
    assert repository.newest() is None
    with pytest.raises(NotFound):
        repository.manifest("../../etc/passwd")


def test_too_many_backups_are_refused(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repositories, "BACKUP_LIST_COUNT_MAX", 0)
    keep(repository, 1, b"x")
    with pytest.raises(StorageError):
        repository.ids()


def test_a_list_of_files_that_is_too_long_is_refused(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repositories, "BACKUP_MANIFEST_BYTES_MAX", 10)
    with pytest.raises(StorageError, match="too long"):
        repository.finish(manifest())


def test_two_at_once_are_refused(repository: Repository) -> None:
    with repository.locked(), pytest.raises(Conflict), Repository(repository.folder, KEYS).locked():
        pass


def test_a_full_disk_leaves_older_backups(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    made = keep(repository, 1, b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError) as found:
        repository.put(b"new")
    assert found.value.code == "backup_disk_full"
    monkeypatch.undo()
    again = Repository(repository.folder, KEYS)
    assert again.newest() == made
    assert again.missing(made) == []


def test_pieces_of_several_backups_are_each_there_once() -> None:
    def of(chunk: int) -> Manifest:
        piece = Piece(bytes([chunk] * 32), 100)
        return manifest(
            FileEntry(name="identity/a", size=1, mode=0o600, sha256=bytes(32), pieces=(piece, piece))
        )

    assert len(repositories.each_piece_once([of(1), of(2), of(1)])) == 2


def test_links_on_a_strangers_stick_lead_nowhere(repository: Repository, tmp_path: Path) -> None:
    """A sweep removes files: below a link they would be the box's own."""
    precious = tmp_path / "identity"
    precious.mkdir()
    for name in ("site.key", "a" * 64):
        (precious / name).write_text("mine")
    keep(repository, 1, b"content")
    (repository.folder / "chunks" / "zz").symlink_to(precious)
    (repository.folder / "chunks" / "aa").symlink_to(precious)
    repository.remove([])
    repository.keep_newest(1)
    assert sorted(os.listdir(precious)) == sorted(["site.key", "a" * 64])
    for name in ("chunks", "backups"):
        (repository.folder / name).rename(repository.folder / f"{name}.away")
        (repository.folder / name).symlink_to(precious)
        with pytest.raises(StorageError, match="no plain folder"), repository.locked():
            pass
        (repository.folder / name).unlink()
        (repository.folder / f"{name}.away").rename(repository.folder / name)


def test_a_chunk_that_would_be_written_through_a_link_is_refused(
    repository: Repository, tmp_path: Path
) -> None:
    first = KEYS.chunk_id(b"content").hex()[:2]
    (tmp_path / "elsewhere").mkdir()
    (repository.folder / "chunks" / first).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match="no plain folder"):
        repository.put(b"content")
    assert not list((tmp_path / "elsewhere").iterdir())


def test_files_that_are_not_ours_are_left_alone(repository: Repository) -> None:
    keep(repository, 1, b"content")
    folder = next((repository.folder / "chunks").iterdir())
    (folder / "notes.txt").touch()
    repository.remove([])
    assert (folder / "notes.txt").exists()


def test_one_that_can_not_be_read_takes_no_place_of_a_good_one(repository: Repository) -> None:
    good = keep(repository, 1, b"good")
    for number in (2, 3):
        bad = keep(repository, number, b"bad")
        (repository.folder / "backups" / f"{bad.backup_id}.backup").write_bytes(b"torn")
    newest = keep(repository, 4, b"newest")
    assert repository.keep_newest(2)[0] == []
    assert repository.keep_newest(1)[0][0] == good.backup_id
    assert repository.newest() == newest


def test_a_repository_that_lost_its_header_is_not_begun_anew(repository: Repository) -> None:
    keep(repository, 1, b"content")
    (repository.folder / "homeport-backup.json").unlink()
    with pytest.raises(UsageError):
        repositories.create(repository.folder, HEADER)
