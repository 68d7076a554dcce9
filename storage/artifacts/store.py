"""Bytes of artifacts on disk, by their digests. Blocks; every method may be called from any thread.

Invariants: a blob has its name only when its bytes are synced and were found to have that digest; it is never written again. A blob whose
bytes turn out to be others loses its name, and is not read from then on.

Must not know: what artifacts are called, who may, which of them are needed.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from appliance.core.errors import NotFound, StorageError
from appliance.core.limits_updates import ARTIFACT_OPEN_FILE_COUNT_MAX
from storage.artifacts import errors, layout
from storage.artifacts.digests import Digests, digests_of
from storage.artifacts.files import OpenFiles
from storage.artifacts.space import Room
from storage.artifacts.uploads import Uploads


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes that are there and have the digest of their name."""

    sha256: str
    size_bytes: int
    _path: Path
    _files: OpenFiles

    def read(self, offset: int, length: int) -> bytes:
        """Bytes from `offset` on, fewer only at the end.

        Raises:
            StorageError: the disk failed. NotFound: it was removed meanwhile.
        """
        parts, at, end = [], offset, min(self.size_bytes, offset + length)
        try:
            with self._files.held(self._path) as descriptor:
                while at < end:
                    part = os.pread(descriptor, end - at, at)
                    if not part:
                        raise errors.damaged(self.sha256)
                    parts.append(part)
                    at += len(part)
        except FileNotFoundError:
            raise errors.missing(self.sha256) from None
        except OSError as error:
            raise errors.failed("Reading an artifact", error) from error
        return parts[0] if len(parts) == 1 else b"".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreStatistics:
    """What lies there."""

    blob_count: int
    blob_bytes: int
    upload_count: int
    upload_bytes: int
    damaged_count: int


class ArtifactStore:
    """See the module. `opened` makes one.

    Args:
        root: data_dir/artifacts.
    """

    def __init__(self, root: Path, room: Room) -> None:
        self._root = root
        self.room = room
        self.uploads = Uploads(root, room, others_bytes=lambda: self.statistics().blob_bytes)
        self._files = OpenFiles(ARTIFACT_OPEN_FILE_COUNT_MAX)
        self._lock = threading.Lock()
        self._checking: dict[str, threading.Lock] = {}
        """Held while an image is read through: who wants the same one finds it checked, who wants another does not wait."""
        self._pinned: dict[str, int] = {}
        self._checked: dict[str, tuple[int, int, int]] = {}

    @classmethod
    def opened(cls, data_dir: Path, room: Room) -> ArtifactStore:
        """The store of a data folder, made where it isn't there; uploads are cut back to what is surely on disk.

        Raises:
            StorageError: the disk failed.
        """
        root = data_dir / layout.FOLDER
        try:
            for folder in (root, root / layout.BLOBS, root / layout.UPLOADS):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            sync_folder(root)
        except OSError as error:
            raise errors.failed("Making the folder of artifacts", error) from error
        store = cls(root, room)
        store.uploads.cut_back()
        return store

    def open_blob(self, sha256: str) -> Blob:
        """Bytes to give out. Read through and compared when they are opened for the first time, which takes as long as reading takes.

        Raises:
            NotFound: `artifact_bytes_missing`. StorageError: `artifact_damaged`, or the disk failed.
        """
        if not layout.is_sha256(sha256):
            raise errors.missing(sha256)
        path = layout.blob_path(self._root, sha256)
        try:
            about = path.stat()
        except FileNotFoundError:
            if path.with_name(path.name + layout.DAMAGED).exists():
                raise errors.damaged(sha256) from None
            raise errors.missing(sha256) from None
        except OSError as error:
            raise errors.failed("Opening an artifact", error) from error
        with self._lock:
            checking = self._checking.setdefault(sha256, threading.Lock())
        with checking:
            if self._checked.get(sha256) != _identity(about):
                self.check_blob(sha256)
        return Blob(sha256, about.st_size, path, self._files)

    def peek(self, sha256: str) -> Blob:
        """Bytes to look at, which nobody compared: never to give out. Raises NotFound: `artifact_bytes_missing`; StorageError."""
        path = layout.blob_path(self._root, sha256)
        try:
            return Blob(sha256, path.stat().st_size, path, self._files)
        except FileNotFoundError:
            raise errors.missing(sha256) from None
        except OSError as error:
            raise errors.failed("Looking at an artifact", error) from error

    def check_blob(self, sha256: str) -> None:
        """Read a blob and compare it with its name; a damaged one loses it.

        Raises:
            NotFound: `artifact_bytes_missing`. StorageError: `artifact_damaged`, or the disk failed.
        """
        path = layout.blob_path(self._root, sha256)
        try:
            with path.open("rb") as file:
                about = os.fstat(file.fileno())
                found = digests_of(file.fileno(), about.st_size)
            if found.sha256 != sha256:
                self._checked.pop(sha256, None)
                self._files.forget(path)
                path.replace(path.with_name(path.name + layout.DAMAGED))
                sync_folder(path.parent)
                raise errors.damaged(sha256)
        except FileNotFoundError:
            raise errors.missing(sha256) from None
        except OSError as error:
            raise errors.failed("Reading an artifact", error) from error
        self._checked[sha256] = _identity(about)

    @contextmanager
    def finishing(self, upload_id: str, *, size_bytes: int, sha256: str) -> Iterator[tuple[Digests, Blob]]:
        """Make an upload's bytes a blob, and keep it from being removed while its row is written, within.

        The upload itself stays until `uploads.remove`: whoever is interrupted finishes again.

        Args:
            size_bytes: That it must have.
            sha256: That it must have, "" for any.
        Raises:
            NotFound: `upload_unknown`. Conflict: `upload_incomplete`, `artifact_sha256_differs`. StorageError: the disk failed.
        """
        found = self.uploads.checked(upload_id, size_bytes=size_bytes, sha256=sha256)
        with self.pinned(found.sha256):
            source, target = (
                layout.upload_path(self._root, upload_id),
                layout.blob_path(self._root, found.sha256),
            )
            try:
                target.parent.mkdir(mode=0o700, exist_ok=True)
                if not self._is_whole(found.sha256):
                    self._link(source, target)
                    self._files.forget(target)
                target.with_name(target.name + layout.DAMAGED).unlink(missing_ok=True)
                sync_folder(target.parent)
                sync_folder(target.parent.parent)
                self._checked[found.sha256] = _identity(target.stat())
            except OSError as error:
                raise errors.failed("Keeping an artifact", error) from error
            yield found, Blob(found.sha256, size_bytes, target, self._files)

    @contextmanager
    def pinned(self, sha256: str) -> Iterator[None]:
        """Keep a blob from being removed as one that nothing names."""
        with self._lock:
            self._pinned[sha256] = self._pinned.get(sha256, 0) + 1
        try:
            yield
        finally:
            with self._lock:
                self._pinned[sha256] -= 1
                if not self._pinned[sha256]:
                    del self._pinned[sha256]

    def names(self) -> dict[str, int]:
        """The size of each blob by its digest, damaged ones too. Raises StorageError."""
        return {name.removesuffix(layout.DAMAGED): size for name, size in self._entries()}

    def damaged(self) -> frozenset[str]:
        """Digests of blobs that are damaged. Raises StorageError."""
        return frozenset(
            name.removesuffix(layout.DAMAGED) for name, _ in self._entries() if name.endswith(layout.DAMAGED)
        )

    def remove(self, digests: Collection[str]) -> int:
        """Remove blobs, but for those that are being finished; gives the bytes freed. Raises StorageError."""
        freed = 0
        for sha256 in digests:
            path = layout.blob_path(self._root, sha256)
            with self._lock:
                if sha256 in self._pinned:
                    continue
                self._checked.pop(sha256, None)
                self._checking.pop(sha256, None)
                try:
                    for each in (path, path.with_name(path.name + layout.DAMAGED)):
                        if each.exists():
                            freed += each.stat().st_size
                            each.unlink()
                    if path.parent.exists():
                        sync_folder(path.parent)
                except OSError as error:
                    raise errors.failed("Removing an artifact", error) from error
            self._files.forget(path)
        return freed

    def statistics(self) -> StoreStatistics:
        """Count what lies there. Raises StorageError."""
        entries = self._entries()
        uploads = self.uploads.sizes()
        return StoreStatistics(
            blob_count=len(entries),
            blob_bytes=sum(size for _, size in entries),
            upload_count=len(uploads),
            upload_bytes=sum(uploads.values()),
            damaged_count=sum(name.endswith(layout.DAMAGED) for name, _ in entries),
        )

    def close(self) -> None:
        """Close what is open."""
        self._files.close()

    def _is_whole(self, sha256: str) -> bool:
        """Whether a blob is there and good, so that the same bytes need no second place."""
        try:
            self.check_blob(sha256)
        except (StorageError, NotFound):
            return False
        return True

    def _link(self, source: Path, target: Path) -> None:
        descriptor = os.open(
            source, os.O_RDONLY | os.O_CLOEXEC
        )  # enough to sync; it may be read-only already
        try:
            os.fchmod(descriptor, 0o400)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        try:
            os.link(source, target)
        except FileExistsError:  # somebody finished the same bytes in this moment
            pass

    def _entries(self) -> list[tuple[str, int]]:
        found = []
        try:
            for folder in (self._root / layout.BLOBS).iterdir():
                with os.scandir(folder) as entries:
                    found += [
                        (entry.name, entry.stat(follow_symlinks=False).st_size)
                        for entry in entries
                        if layout.is_sha256(entry.name.removesuffix(layout.DAMAGED))
                    ]
        except OSError as error:
            raise errors.failed("Listing artifacts", error) from error
        return found


def sync_folder(folder: Path) -> None:
    """Have names in a folder be so after a power cut. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _identity(about: os.stat_result) -> tuple[int, int, int]:
    return about.st_ino, about.st_size, about.st_mtime_ns
