"""What can go wrong with the bytes of artifacts, in words."""

from __future__ import annotations

import errno
from typing import Final

from appliance.core.errors import Conflict, LimitExceeded, NotFound, StorageError
from appliance.core.limits import MIB

NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


def failed(doing: str, error: OSError) -> StorageError:
    """The disk failed, or is full."""
    if error.errno in NO_SPACE:
        return disk_full()
    return StorageError(
        f"{doing} failed: {error.strerror or error}.",
        hint="Look at the data folder's disk: homeport doctor.",
        code="artifact_disk_failed",
    )


def disk_full() -> StorageError:
    """There is no room, or what there is must stay free."""
    return StorageError(
        "The disk has no room for this image: what is left is kept for readings.",
        hint="Remove artifacts that are not needed any more, or free space; the upload goes on from where it is.",
        code="disk_full",
    )


def over_quota(used_bytes: int, size_bytes: int, quota_bytes: int) -> LimitExceeded:
    """All artifacts together would be too large."""
    return LimitExceeded(
        f"The image has {_mib(size_bytes)}, and {_mib(max(0, quota_bytes - used_bytes))} of {_mib(quota_bytes)} are left for artifacts.",
        hint="Remove artifacts that are not needed any more, or raise firmware.artifact_quota_mib.",
        code="artifact_quota",
    )


def too_large(size_bytes: int, size_bytes_max: int) -> LimitExceeded:
    """One image is too large."""
    return LimitExceeded(
        f"The image has {_mib(size_bytes)}; an artifact may have {_mib(size_bytes_max)}.",
        hint="Raise firmware.artifact_max_mib if images are that large.",
        code="artifact_too_large",
    )


def too_long(size_bytes: int) -> LimitExceeded:
    """More bytes come than were announced."""
    return LimitExceeded(
        f"The upload was announced with {size_bytes} bytes, and more arrive.",
        hint="Begin a new upload with the file's size.",
        code="upload_too_long",
    )


def too_many_uploads(count_max: int) -> LimitExceeded:
    """There are many unfinished uploads already."""
    return LimitExceeded(
        f"{count_max} uploads are unfinished.",
        hint="Finish or remove one: homeport artifact uploads.",
        code="upload_count",
    )


def upload_unknown() -> NotFound:
    """There is no such upload (any more)."""
    return NotFound(
        "There is no such upload.",
        hint="It was finished, or nobody went on with it for a day: begin a new one.",
        code="upload_unknown",
    )


def wrong_offset(offset: int, wanted: int) -> Conflict:
    """Bytes were sent for another place than the end of what is there."""
    return Conflict(
        f"The upload has {offset} bytes, and yours begin at {wanted}.",
        hint="Ask for the upload's offset and send from there on.",
        code="upload_offset",
    )


def damaged(sha256: str) -> StorageError:
    """A blob is not what its name says."""
    return StorageError(
        f"The bytes of artifact {sha256[:12]}… are damaged on this box, and are not given out.",
        hint="Upload the same file again: it takes the damaged one's place.",
        code="artifact_damaged",
    )


def missing(sha256: str) -> NotFound:
    """There are no such bytes."""
    return NotFound(
        f"There are no bytes of {sha256[:12]}… on this box.",
        hint="Upload the file again.",
        code="artifact_bytes_missing",
    )


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / MIB:.1f} MiB"
