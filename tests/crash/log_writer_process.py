"""Appends blocks until it dies; says on standard output what was acknowledged, one line each.

    python -m tests.crash.log_writer_process DIRECTORY SEED SEGMENT_BYTES

A body can be made again from its first sequence and the seed, so the lines need not carry it.

After each append a byte of the same file system is read before the block counts as acknowledged. The reason is how a
power cut is imitated: a forced shutdown of xfs can let an fdatasync that is under way return 0 though it did
nothing (the inode is no longer pinned, so there seems to be nothing to flush). A machine without power returns
nothing. A read fails on a file system that is shut down, so if it succeeds the fdatasync had returned before.
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

from appliance.core.errors import LogBroken
from storage.log import OsDisk
from tests.storage_log_kit import open_writer


def body_of(seed: int, first_seq: int) -> tuple[bytes, int]:
    """The body and the record count of the block that begins with a sequence."""
    rng = random.Random(seed * 1_000_003 + first_seq)
    size = rng.choice((rng.randint(1, 500), rng.randint(1, 9000), rng.randint(1, 60_000)))
    return rng.randbytes(size), rng.randint(1, 40)


def main() -> int:
    directory, seed, segment_bytes = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    writer = open_writer(directory, disk=OsDisk(), segment_bytes=segment_bytes)
    alive = os.open(directory / "lock", os.O_RDONLY)
    os.write(1, b"open %d\n" % writer.head.next_seq)
    while True:
        first_seq = writer.head.next_seq
        body, count = body_of(seed, first_seq)
        try:
            head = writer.append(body, count, first_seq, first_seq)
            os.pread(alive, 1, 0)
        except (LogBroken, OSError):
            return 3
        os.write(1, b"%d %d\n" % (first_seq, head.next_seq))  # one write: a line is whole or not there


if __name__ == "__main__":
    sys.exit(main())
