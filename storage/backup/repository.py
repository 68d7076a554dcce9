"""A repository: a folder with a plain header, sealed chunks, and one sealed manifest for each backup.

    homeport-backup.json      header
    lock                      held while something is done here
    chunks/ab/ab12…           pieces of files, by the keyed hash of what is in them
    backups/ID.backup         manifests; the newest ID sorts last

Invariants: a manifest is written after every chunk that it names, and is removed before any of them; a chunk or a
manifest has its name only as a whole. So whatever is interrupted, every backup that is listed is whole.

Must not know: what is backed up, and where its key comes from.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from appliance.core.errors import NotFound, StorageError, UsageError
from appliance.core.limits import (
    BACKUP_CHUNK_STORED_BYTES_MAX,
    BACKUP_HEADER_BYTES_MAX,
    BACKUP_LIST_COUNT_MAX,
    BACKUP_MANIFEST_BYTES_MAX,
)
from storage.backup import disk_folder, header, manifest
from storage.backup.errors import damaged
from storage.backup.header import Header
from storage.backup.manifest import Manifest, Piece
from storage.backup.sealing import RepositoryKeys

LOCK: Final = "lock"
CHUNKS: Final = "chunks"
BACKUPS: Final = "backups"
SUFFIX: Final = ".backup"
SET_ASIDE: Final = ".damaged"
_OURS: Final = re.compile(r"[0-9a-f]{64}(?:\.part|\.damaged)?\Z")
_NOT_OURS_BUT_FINE: Final = frozenset({"lost+found", "System Volume Information", ".Trash-0", LOCK})


class Repository:
    """See the module. For one thread at a time, within `locked`.

    Args:
        folder: With the header.
        keys: Of this repository.
    """

    def __init__(self, folder: Path, keys: RepositoryKeys) -> None:
        self.folder = folder
        self.keys = keys
        self._stored: dict[bytes, int] | None = None

    @contextmanager
    def locked(self) -> Iterator[bool]:
        """Keep everybody else out. Yields whether it can be written. Raises Conflict, StorageError."""
        with disk_folder.locked(self.folder / LOCK) as can_write:
            for name in (CHUNKS, BACKUPS):
                if not disk_folder.is_folder(self.folder / name):
                    raise damaged(f"{self.folder / name} is no plain folder.")
            self._stored = None
            yield can_write

    def ids(self) -> list[str]:
        """Names of all backups, the oldest first.

        Raises:
            StorageError: the disk failed, or there are more than BACKUP_LIST_COUNT_MAX.
        """
        names = [name.removesuffix(SUFFIX) for name in disk_folder.names_of(self.folder / BACKUPS)
                 if name.endswith(SUFFIX)]  # fmt: skip
        found = [name for name in names if manifest.is_backup_id(name)]
        if len(found) > BACKUP_LIST_COUNT_MAX:
            raise damaged(f"There are {len(found)} backups in {self.folder}.")
        return found

    def manifest(self, backup_id: str) -> Manifest:
        """A backup's manifest, checked.

        Raises:
            NotFound: `backup_unknown`. StorageError: `backup_damaged`, `backup_too_new`, `backup_unsafe`.
        """
        if not manifest.is_backup_id(backup_id):
            raise _unknown(backup_id)
        try:
            stored = disk_folder.read_file(self._manifest_path(backup_id), BACKUP_MANIFEST_BYTES_MAX)
        except NotFound:
            raise _unknown(backup_id) from None
        return manifest.decode(self.keys.open_manifest(backup_id, stored), backup_id)

    def newest(self) -> Manifest | None:
        """The newest backup, None where there is none. Raises as `manifest`."""
        found = self.ids()
        return self.manifest(found[-1]) if found else None

    def put(self, content: bytes) -> tuple[Piece, int]:
        """Keep a piece of a file.

        Returns:
            The piece, and how many bytes were written: 0 where it was there.
        Raises:
            StorageError: the disk failed or is full.
        """
        chunk_id = self.keys.chunk_id(content)
        known = self._known()
        if chunk_id in known:
            return Piece(chunk_id, known[chunk_id]), 0
        stored = self.keys.seal_chunk(chunk_id, content)
        path = self._chunk_path(chunk_id)
        disk_folder.make_folder(path.parent)
        disk_folder.write_file(path, stored)
        known[chunk_id] = len(stored)
        return Piece(chunk_id, len(stored)), len(stored)

    def has(self, pieces: Collection[Piece]) -> bool:
        """Whether all these pieces are kept, as far as their sizes tell."""
        known = self._known()
        return all(known.get(piece.chunk_id) == piece.stored_bytes for piece in pieces)

    def get(self, piece: Piece) -> bytes:
        """What is in a piece. Raises NotFound, StorageError."""
        path = self._chunk_path(piece.chunk_id)
        return self.keys.open_chunk(
            piece.chunk_id, disk_folder.read_file(path, BACKUP_CHUNK_STORED_BYTES_MAX)
        )

    def set_aside(self, piece: Piece) -> None:
        """Take a damaged chunk's name away, so that the next backup writes it again. Raises StorageError."""
        path = self._chunk_path(piece.chunk_id)
        try:
            path.replace(path.with_name(path.name + SET_ASIDE))
        except FileNotFoundError:
            return
        except OSError as error:
            raise disk_folder.disk_failed(path, error) from error
        self._stored = None

    def finish(self, made: Manifest) -> None:
        """Make a backup be: all its pieces are there. Raises StorageError."""
        sealed = self.keys.seal_manifest(made.backup_id, manifest.encode(made))
        if len(sealed) > BACKUP_MANIFEST_BYTES_MAX:
            raise StorageError(
                "The list of this backup's files is too long.",
                hint="Shorten the archive (store.archive_days).",
                code="backup_too_large",
            )
        disk_folder.write_file(self._manifest_path(made.backup_id), sealed)

    def missing(self, made: Manifest) -> list[Piece]:
        """Pieces that are not there with the size they should have: what a quick check finds. Raises StorageError."""
        sizes = self._sizes()
        return [Piece(i, size) for i, size in made.stored().items() if sizes.get(i) != size]

    def remove(self, backup_ids: Collection[str]) -> int:
        """Remove backups, then what none of the others needs.

        Returns:
            Bytes that were freed. Where another manifest can't be read, no chunk goes: it might need it.
        Raises:
            StorageError: the disk failed.
        """
        if backup_ids:
            for backup_id in backup_ids:
                disk_folder.remove_file(self._manifest_path(backup_id))
            self._sync(self.folder / BACKUPS)
        return self._sweep()

    def keep_newest(self, count: int) -> tuple[list[str], int]:
        """Remove all but the newest backups that can be read; gives the names of those removed and the bytes freed.

        Raises:
            StorageError: the disk failed.
        """
        left = count
        gone: list[str] = []
        for backup_id in reversed(self.ids()):
            if not left:
                gone.append(backup_id)
                continue
            try:
                self.manifest(backup_id)
            except StorageError:
                continue  # kept as long as it is among the newest, and does not count
            left -= 1
        gone.reverse()
        return gone, self.remove(gone)

    def _sweep(self) -> int:
        needed = self._needed()
        if needed is None:
            return 0
        freed = 0
        for folder in self._chunk_folders():
            sizes = disk_folder.sizes_of(folder)
            gone = [name for name in sizes if name not in needed and _OURS.match(name)]
            for name in gone:
                disk_folder.remove_file(folder / name)
                freed += sizes[name]
            if gone:
                self._sync(folder)
        for name in disk_folder.sizes_of(self.folder / BACKUPS):
            if name.endswith(disk_folder.PART):
                disk_folder.remove_file(self.folder / BACKUPS / name)
        self._stored = None
        return freed

    def _needed(self) -> set[str] | None:
        """Names of all chunks that some backup needs; None where a manifest can't be read."""
        needed: set[str] = set()
        for backup_id in self.ids():
            try:
                needed.update(chunk_id.hex() for chunk_id in self.manifest(backup_id).stored())
            except StorageError:
                return None
        return needed

    def _known(self) -> dict[bytes, int]:
        """Chunks that a manifest vouches for and that have the size it says; others are written again.

        A disk that was pulled out may show a name without its content: the manifest is what says that it was synced.
        """
        if self._stored is None:
            sizes = self._sizes()
            found: dict[bytes, int] = {}
            for backup_id in self.ids():
                try:
                    stored = self.manifest(backup_id).stored()
                except StorageError:
                    continue  # `verify` names it; its chunks are written again
                found.update((i, size) for i, size in stored.items() if sizes.get(i) == size)
            self._stored = found
        return self._stored

    def _sizes(self) -> dict[bytes, int]:
        return {
            bytes.fromhex(name): size
            for folder in self._chunk_folders()
            for name, size in disk_folder.sizes_of(folder).items()
            if len(name) == 64 and set(name) <= set("0123456789abcdef")
        }

    def _chunk_folders(self) -> list[Path]:
        chunks = self.folder / CHUNKS
        found = [chunks / name for name in disk_folder.names_of(chunks) if len(name) == 2]
        return [folder for folder in found if disk_folder.is_folder(folder)]

    def _chunk_path(self, chunk_id: bytes) -> Path:
        name = chunk_id.hex()
        return self.folder / CHUNKS / name[:2] / name

    def _manifest_path(self, backup_id: str) -> Path:
        return self.folder / BACKUPS / f"{backup_id}{SUFFIX}"

    @staticmethod
    def _sync(folder: Path) -> None:
        try:
            disk_folder.sync_folder(folder)
        except OSError as error:
            raise disk_folder.disk_failed(folder, error) from error


def read_header(folder: Path) -> Header:
    """The header of the repository in a folder.

    Raises:
        NotFound: `backup_repository_missing`. StorageError: `backup_damaged`, `backup_too_new`.
    """
    try:
        return header.decode_header(disk_folder.read_file(folder / header.NAME, BACKUP_HEADER_BYTES_MAX))
    except NotFound:
        raise NotFound(
            f"There is no backup of Homeport in {folder}.",
            hint=f"Connect the right disk, and name the folder that has {header.NAME} in it.",
            code="backup_repository_missing",
        ) from None


def has_header(folder: Path) -> bool:
    """Whether a folder is a repository."""
    return (folder / header.NAME).is_file()


def create(folder: Path, made: Header) -> None:
    """Make a repository in a folder that is empty or not there yet; the one above is.

    Raises:
        NotFound: `backup_directory_missing`. UsageError: `backup_directory_in_use`. StorageError: the disk failed.
    """
    if not folder.parent.is_dir():
        raise NotFound(
            f"There is no folder {folder.parent}.",
            hint="Connect the disk, or name a folder on one that is connected.",
            code="backup_directory_missing",
        )
    disk_folder.make_folder(folder)
    others = [
        name
        for name in disk_folder.names_of(folder)
        if name not in _NOT_OURS_BUT_FINE | {CHUNKS, BACKUPS, header.NAME + disk_folder.PART}
    ]
    others += disk_folder.names_of(folder / BACKUPS)  # of a repository that lost its header
    if others:
        raise UsageError(
            f"{folder} holds other files ({others[0][:60]}).",
            hint=f"Name a new folder in it, such as {folder / 'homeport'}.",
            code="backup_directory_in_use",
        )
    disk_folder.make_folder(folder / CHUNKS)
    disk_folder.make_folder(folder / BACKUPS)
    disk_folder.write_file(folder / header.NAME, header.encode_header(made))


def each_piece_once(manifests: Collection[Manifest]) -> list[Piece]:
    """Every piece of some backups, each once."""
    return [Piece(i, size) for i, size in {i: s for m in manifests for i, s in m.stored().items()}.items()]


Progress = Callable[[int, int], None]
"""Told how many bytes are done, and of how many."""


def _unknown(backup_id: str) -> NotFound:
    return NotFound(
        f"There is no backup {backup_id[:40]}.",
        hint="`homeport backup list` names them.",
        code="backup_unknown",
    )
