"""Evidence of forks of one stream, durable beside its copy: which place has two hashes. What has such evidence is never removed."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from appliance.core.errors import StorageError
from storage.log.disk import Disk
from storage.log.manifest import replace_file
from storage.replicas.streams import Epoch, Hash, Sequence

FORKS: Final = "forks"
FORKS_NEW: Final = "forks.new"
FORK_COUNT_MAX: Final = 64
"""Of one stream; further ones change nothing: it is frozen already."""
FORKS_BYTES_MAX: Final = 64 * 1024


class ForkEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """Two frames that end at one place. `found_at_ms` is wall time here."""

    epoch: Epoch
    next_seq: Sequence
    hash: Hash
    other_hash: Hash
    found_at_ms: int


_decode = msgspec.json.Decoder(list[ForkEvidence]).decode


def read_forks(disk: Disk, directory: Path) -> list[ForkEvidence]:
    """What is known of a stream's forks, oldest first.

    Raises:
        StorageError: the file is damaged.
        OSError: it can't be read.
    """
    path = directory / FORKS
    try:
        descriptor = disk.open(path)
    except FileNotFoundError:
        return []
    try:
        data = disk.pread(descriptor, min(disk.size(descriptor), FORKS_BYTES_MAX), 0)
    finally:
        disk.close(descriptor)
    try:
        return _decode(data)
    except msgspec.MsgspecError as error:
        raise StorageError(
            f"The evidence of forks in {path} can't be read: {error}.",
            hint="Move the file away; it is made again when the fork is met again.",
            code="forks_unreadable",
        ) from error


def keep_fork(disk: Disk, directory: Path, evidence: ForkEvidence) -> bool:
    """Adds evidence, durably; False where it was known, or there is no room for more.

    Raises:
        As `read_forks`.
    """
    known = read_forks(disk, directory)
    same = (evidence.epoch, evidence.next_seq, {evidence.hash, evidence.other_hash})
    if len(known) >= FORK_COUNT_MAX or any(
        (each.epoch, each.next_seq, {each.hash, each.other_hash}) == same for each in known
    ):
        return False
    replace_file(disk, directory, FORKS, FORKS_NEW, msgspec.json.encode([*known, evidence]))
    return True
