"""Blobs that come from another box of the site: written piece by piece, and named once they are what their digest says. Blocks.

They grow in `fetching/SHA256`, which a start goes on with: what is there was written in order, and nothing of it is believed before all of it
was read back. Only the replicator writes here; the node finds a blob when it has its name.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

import structlog

from appliance.core.errors import LimitExceeded, StorageError
from storage.artifacts import layout
from storage.artifacts.digests import digests_of
from storage.artifacts.space import Room
from storage.artifacts.store import sync_folder

FETCHING: Final = "fetching"
log = structlog.get_logger(__name__)
CopyWritten = Literal["more", "whole", "wrong", "failed"]


class BlobCopies:
    """See the module. For one thread at a time.

    Args:
        root: data_dir/artifacts; made when it is written to.
        room: What artifacts may take.
    """

    def __init__(self, root: Path, room: Room) -> None:
        self._root = root
        self._room = room

    def held(self) -> dict[bytes, int]:
        """The size of each blob that is here, damaged ones left out.

        Raises:
            OSError: a folder can't be read.
        """
        found = {}
        with suppress(FileNotFoundError):
            for folder in (self._root / layout.BLOBS).iterdir():
                for path in folder.iterdir():
                    if layout.is_sha256(path.name):
                        with suppress(FileNotFoundError):
                            found[bytes.fromhex(path.name)] = path.stat().st_size
        return found

    def begun(self) -> dict[bytes, int]:
        """How much of each blob was written that isn't whole yet.

        Raises:
            OSError: the folder can't be read.
        """
        folder = self._root / FETCHING
        paths = folder.iterdir() if folder.is_dir() else ()
        return {
            bytes.fromhex(path.name): path.stat().st_size for path in paths if layout.is_sha256(path.name)
        }

    def forget(self, wanted: Mapping[bytes, int]) -> None:
        """Removes what was begun and nobody wants any more.

        Raises:
            OSError: it can't be removed.
        """
        for blob in set(self.begun()) - set(wanted):
            self._path(blob).unlink(missing_ok=True)

    def path(self, blob: bytes) -> Path:
        """Where a blob lies that is held."""
        return layout.blob_path(self._root, blob.hex())

    def remove(self, blob: bytes) -> None:
        """Removes a blob that is held. Raises OSError."""
        self.path(blob).unlink(missing_ok=True)

    def read(self, blob: bytes, offset: int, bytes_max: int) -> tuple[bytes | None, int]:
        """Bytes for another box, and the blob's size; None where it isn't here, or can't be read."""
        path = self.path(blob)
        try:
            with path.open("rb", buffering=0) as file:
                return os.pread(file.fileno(), bytes_max, offset), os.fstat(file.fileno()).st_size
        except OSError:
            return None, 0

    def write(self, blob: bytes, size_bytes: int, offset: int, data: bytes) -> CopyWritten:
        """Writes a piece; the last one is followed by reading all of it, and by its name where it is what that says."""
        path = self._path(blob)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not offset:
                used_bytes = sum(self.held().values())
                self._room.check(self._root, size_bytes=size_bytes, used_bytes=used_bytes)
            self._room.check_disk(self._root, len(data))
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                os.ftruncate(descriptor, offset)
                _write_all(descriptor, data, offset)
                if offset + len(data) < size_bytes:
                    return "more"
                os.fsync(descriptor)
                is_right = digests_of(descriptor, size_bytes).sha256 == blob.hex()
                os.fchmod(descriptor, 0o400 if is_right else 0o600)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            if is_right:
                self._name(blob, path)
            path.unlink()
        except (StorageError, LimitExceeded, OSError) as error:
            log.warning("a blob of another box is not kept", sha256=blob.hex(), error=str(error))
            return "failed"
        return "whole" if is_right else "wrong"

    def _name(self, blob: bytes, path: Path) -> None:
        target = layout.blob_path(self._root, blob.hex())
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):  # it was uploaded here in this moment
            os.link(path, target)
        target.with_name(target.name + layout.DAMAGED).unlink(missing_ok=True)
        sync_folder(target.parent)
        sync_folder(target.parent.parent)

    def _path(self, blob: bytes) -> Path:
        return self._root / FETCHING / blob.hex()


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written
