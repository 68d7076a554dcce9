"""Beginning a new epoch: what a restored or copied log needs before it is written to.

The box that the copy was made from may go on writing: the same sequences would stand for other records in the two. Whoever
puts a copy in place leaves a file `new-epoch` in the directory; the writer then goes on in the next epoch, in a segment
of its own, and removes the file once that segment is durable. A crash in between costs an epoch number.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Final

from appliance.core.limits import PAGE_BYTES
from storage.log.disk import Disk, write_all
from storage.log.head import Head
from storage.log.names import NEW_EPOCH
from storage.log.recovery import Recovered, recover
from storage.log.scan import Position
from storage.log.segment_header import NO_BRANCH

EPOCH_TEXT_BYTES_MAX: Final = 64
EPOCH_MAX: Final = 2**32 - 1
_TEXT: Final = re.compile(rb"([0-9]{1,10})(?: ([0-9a-f]{32}))?")


def ask(disk: Disk, directory: Path, *, at_least: int = 0, branch: bytes = NO_BRANCH) -> None:
    """Have the next writer begin a new epoch; durable when this returns.

    Args:
        at_least: A number that nobody else may have used, where the fleet was asked for one.
        branch: Of an operator's grant, where the fleet was not asked: 16 random bytes for the epoch's first header.
    Raises:
        OSError: the disk failed.
    """
    descriptor = disk.open(directory / NEW_EPOCH, create=True)
    try:
        disk.truncate(descriptor, 0)
        if at_least:
            text = b"%d %s\n" % (at_least, branch.hex().encode()) if any(branch) else b"%d\n" % at_least
            write_all(disk, descriptor, [text], 0)
        disk.fsync(descriptor)
    finally:
        disk.close(descriptor)
    disk.fsync_directory(directory)


def recover_or_begin(
    disk: Disk, directory: Path, *, stream: str, node_id: bytes, published: Head | None
) -> Recovered:
    """As `recover`; where a new epoch is asked for, the place to go on is in that: after the same record, in a new segment.

    Raises:
        As `recover`.
    """
    recovered = recover(disk, directory, stream=stream, node_id=node_id, published=published)
    if NEW_EPOCH not in disk.names(directory):
        return recovered
    position, segments = recovered.position, recovered.segments
    if recovered.active is not None and recovered.active[0].first_seq == position.next_seq:
        # Begun, and never got a frame: two segments that begin with the same sequence would say nothing.
        disk.unlink(directory / str(recovered.active[0]))
        disk.fsync_directory(directory)
        segments = tuple(name for name in segments if name != recovered.active[0])
    wanted, branch = wanted_epoch(disk, directory)
    return replace(
        recovered,
        epoch=max(recovered.epoch + 1, wanted),
        branch=branch,
        position=Position(PAGE_BYTES, position.next_seq, position.hash),
        active=None,
        segments=segments,
    )


def wanted_epoch(disk: Disk, directory: Path) -> tuple[int, bytes]:
    """The number that was asked for, 0 for the next one; and the branch of a grant.

    Raises:
        OSError: no new epoch is asked for, or the disk failed.
    """
    descriptor = disk.open(directory / NEW_EPOCH)
    try:
        text = disk.pread(descriptor, EPOCH_TEXT_BYTES_MAX, 0).strip()
    finally:
        disk.close(descriptor)
    match = _TEXT.fullmatch(text)
    if match is None:
        return 0, NO_BRANCH
    return min(int(match[1]), EPOCH_MAX), bytes.fromhex((match[2] or b"").decode()) or NO_BRANCH


def epoch_begun(disk: Disk, directory: Path, *, is_durable: bool) -> None:
    """Nobody asks for a new epoch any more, if there was one to begin and its first segment is durable.

    Raises:
        OSError: the disk failed.
    """
    if is_durable and NEW_EPOCH in disk.names(directory):
        disk.unlink(directory / NEW_EPOCH)
        disk.fsync_directory(directory)
