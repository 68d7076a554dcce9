"""Opens a log, appends, rolls, seals and removes, and says what was acknowledged; run under strace, which fails its calls.

    python -m tests.crash.log_worker_process DIRECTORY

Each acknowledged block is a line `first_seq size` on standard output, written when `append` has returned.
"""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path

from appliance.core.clock import SystemClock
from appliance.core.errors import HomeportError, LogFull
from storage.log import LogWriter, OsDisk
from storage.log.disk_level import DiskLevels, Space
from storage.log.housekeeping import KeepingRules
from tests.storage_log_kit import NODE_ID, STREAM, KitSigner

SEGMENT_BYTES = 32 * 1024
BLOCK_COUNT = 14


class SmallDisk(OsDisk):
    """A file system on which the log is larger than it is to be, so that segments are removed."""

    def space(self, path: Path) -> Space:
        return Space(total_bytes=1024 * 1024, free_bytes=900 * 1024)


def body_of(seq: int) -> bytes:
    rng = random.Random(seq)
    return rng.randbytes(rng.randrange(100, 15_000))


def main(directory: Path) -> int:
    """0 when everything went well, 3 when the log said that it is broken or full."""
    try:
        writer = LogWriter.open(
            directory, stream=STREAM, node_id=NODE_ID, signer=KitSigner(), clock=SystemClock(),
            disk=SmallDisk(), segment_bytes=SEGMENT_BYTES,
        )  # fmt: skip
    except HomeportError:
        return 3
    writer.housekeeping.hold("reader", lambda: 20)
    try:
        for number in range(BLOCK_COUNT):
            seq = writer.head.next_seq
            body = body_of(seq)
            writer.append(body, 3, seq, seq + 2)
            os.write(1, f"{seq} {len(body)}\n".encode())
            if number == BLOCK_COUNT // 2:
                writer.keep_house(
                    KeepingRules(levels=DiskLevels(), ballast_bytes=8192, keep_percent=2, quota_percent=0)
                )
                time.sleep(0.05)  # the other thread's turn; what it gets done is not waited for
    except LogFull:
        return 3
    except HomeportError:
        return 3
    finally:
        writer.wait_idle(10)
        writer.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
