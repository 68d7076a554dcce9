"""What arrives of images: a file for each upload, appended to, whose size is how far it is.

What was appended is synced at least every UPLOAD_SYNC_BYTES and before anybody is told. When the process starts anew, every upload is cut
back to a multiple of that: a file may seem longer after a power cut than what of it was written.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from appliance.core.errors import Conflict
from appliance.core.limits_updates import ARTIFACT_UPLOAD_COUNT_MAX, UPLOAD_SYNC_BYTES
from appliance.management.artifact_image import Found
from storage.artifacts import errors, layout
from storage.artifacts.digests import Digests, digests_of, inner_problem
from storage.artifacts.space import Room


class Uploads:
    """See the module.

    Args:
        root: data_dir/artifacts.
        others_bytes: What blobs take.
    """

    def __init__(self, root: Path, room: Room, *, others_bytes: Callable[[], int]) -> None:
        self._root = root
        self._room = room
        self._others_bytes = others_bytes

    def create(self, upload_id: str, size_bytes: int, *, promised_bytes: int) -> None:
        """Begin one.

        Args:
            promised_bytes: That the other uploads are to have.
        Raises:
            LimitExceeded: `artifact_too_large`, `artifact_quota`, `upload_count`. StorageError: `disk_full`, the disk failed.
        """
        if len(self.sizes()) >= ARTIFACT_UPLOAD_COUNT_MAX:
            raise errors.too_many_uploads(ARTIFACT_UPLOAD_COUNT_MAX)
        self._room.check(self._root, size_bytes=size_bytes, used_bytes=self._others_bytes() + promised_bytes)
        path = layout.upload_path(self._root, upload_id)
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise errors.failed("Beginning an upload", error) from error

    def offset(self, upload_id: str) -> int:
        """How many bytes are there. Raises NotFound: `upload_unknown`."""
        try:
            return layout.upload_path(self._root, upload_id).stat().st_size
        except FileNotFoundError:
            raise errors.upload_unknown() from None
        except OSError as error:
            raise errors.failed("Looking at an upload", error) from error

    def append(self, upload_id: str, offset: int, data: bytes, *, size_bytes: int) -> int:
        """Append bytes; gives how many are there now. They are on disk after `sync`, or every UPLOAD_SYNC_BYTES.

        Args:
            offset: Where they belong.
            size_bytes: That the whole is to have.
        Raises:
            NotFound: `upload_unknown`. Conflict: `upload_offset`. LimitExceeded: `artifact_too_large`: more than was announced.
            StorageError: `disk_full`, or the disk failed; what was written before stays.
        """
        if offset + len(data) > size_bytes:
            raise errors.too_long(size_bytes)
        self._room.check_disk(self._root, len(data))
        try:
            descriptor = os.open(
                layout.upload_path(self._root, upload_id), os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW
            )
        except FileNotFoundError:
            raise errors.upload_unknown() from None
        except OSError as error:
            raise errors.failed("Opening an upload", error) from error
        try:
            there = os.fstat(descriptor).st_size
            if there != offset:
                raise errors.wrong_offset(there, offset)
            at, left = offset, memoryview(data)
            while left:
                done = os.pwrite(descriptor, left, at)
                at, left = at + done, left[done:]
            if at // UPLOAD_SYNC_BYTES != offset // UPLOAD_SYNC_BYTES:
                os.fdatasync(descriptor)
            return at
        except OSError as error:
            raise errors.failed("Writing an upload", error) from error
        finally:
            os.close(descriptor)

    def sync(self, upload_id: str) -> int:
        """Have all that was appended be on disk; gives how many bytes are there. Raises as `offset`."""
        try:
            # For reading, which is enough to sync: what is a blob already, but for its row, can't be written any more.
            with layout.upload_path(self._root, upload_id).open("rb", buffering=0) as file:
                os.fdatasync(file.fileno())
                return os.fstat(file.fileno()).st_size
        except FileNotFoundError:
            raise errors.upload_unknown() from None
        except OSError as error:
            raise errors.failed("Writing an upload", error) from error

    def read(self, upload_id: str, offset: int, length: int) -> bytes:
        """Bytes of an upload, fewer at its end. Raises as `offset`."""
        try:
            with layout.upload_path(self._root, upload_id).open("rb", buffering=0) as file:
                return os.pread(file.fileno(), length, offset)
        except FileNotFoundError:
            raise errors.upload_unknown() from None
        except OSError as error:
            raise errors.failed("Reading an upload", error) from error

    def check_whole(self, upload_id: str, size_bytes: int) -> None:
        """Refuse an upload that has another size. Raises Conflict: `upload_incomplete`; NotFound, StorageError: as `offset`."""
        there = self.offset(upload_id)
        if there != size_bytes:
            raise Conflict(
                f"{there} of {size_bytes} bytes have arrived.",
                hint="Send the rest, then finish the upload.",
                code="upload_incomplete",
            )

    def inner_problem(self, upload_id: str, found: Found) -> str:
        """What is wrong with an upload by the image's own checksum or hash; "" for nothing. Raises as `offset`."""
        try:
            with layout.upload_path(self._root, upload_id).open("rb", buffering=0) as file:
                return inner_problem(file.fileno(), found)
        except FileNotFoundError:
            raise errors.upload_unknown() from None
        except OSError as error:
            raise errors.failed("Reading an upload", error) from error

    def checked(self, upload_id: str, *, size_bytes: int, sha256: str) -> Digests:
        """Read an upload through; it must have a size and a digest.

        Args:
            sha256: "" for any.
        Raises:
            Conflict: `upload_incomplete`, `artifact_sha256_differs`; NotFound, StorageError: as `offset`.
        """
        self.check_whole(upload_id, size_bytes)
        self.sync(upload_id)
        try:
            with layout.upload_path(self._root, upload_id).open("rb", buffering=0) as file:
                found = digests_of(file.fileno(), size_bytes)
        except FileNotFoundError:
            raise errors.upload_unknown() from None
        except OSError as error:
            raise errors.failed("Reading an upload", error) from error
        if sha256 and found.sha256 != sha256:
            raise Conflict(
                f"What arrived has the SHA-256 {found.sha256}, and {sha256} was announced.",
                hint="Compare the file with its source, then upload it again: bytes were changed on the way.",
                code="artifact_sha256_differs",
            )
        return found

    def sizes(self) -> dict[str, int]:
        """How many bytes of each upload are there, by its id. Raises StorageError."""
        try:
            with os.scandir(self._root / layout.UPLOADS) as entries:
                return {
                    entry.name: entry.stat(follow_symlinks=False).st_size
                    for entry in entries
                    if layout.is_upload_id(entry.name)
                }
        except OSError as error:
            raise errors.failed("Listing uploads", error) from error

    def remove(self, upload_id: str) -> None:
        """Remove one; fine when it is gone. Raises StorageError."""
        try:
            layout.upload_path(self._root, upload_id).unlink(missing_ok=True)
        except OSError as error:
            raise errors.failed("Removing an upload", error) from error

    def cut_back(self) -> None:
        """Leave of each upload what is surely on disk. Before anybody appends. Raises StorageError."""
        for upload_id, size in self.sizes().items():
            path = layout.upload_path(self._root, upload_id)
            try:
                about = path.stat()
                # A name besides this one is a blob's, and what is read-only was to become one: it was whole and synced then.
                if about.st_nlink == 1 and about.st_mode & stat.S_IWUSR:
                    os.truncate(path, size // UPLOAD_SYNC_BYTES * UPLOAD_SYNC_BYTES)
            except OSError as error:
                raise errors.failed("Looking after an upload", error) from error
