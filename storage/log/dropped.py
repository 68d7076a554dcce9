"""The `dropped` file: which records were removed from the log, by which rule, and where the log begins since.

It is replaced, durably, before the first file goes. So a log that begins later than its stream is either explained by it,
to the hash of the frame before, or damaged.
Source: docs/LOG_FORMAT.md "Dropped".
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from appliance.core.errors import LogDamaged
from appliance.core.limits import DROPPED_RANGE_COUNT_MAX, MIB
from storage.log.disk import Disk
from storage.log.layout import FORMAT_VERSION, crc32c
from storage.log.manifest import replace_file
from storage.log.names import DROPPED, DROPPED_NEW

_FIRST_LINE = re.compile(rb"homeport log dropped (\d+) ([0-9a-f]{8})\n")
DROPPED_BYTES_MAX: Final = MIB
"""256 ranges of about 200 bytes, and room to spare."""
SEVERAL: Final = "several"
"""The rule of a range that was put together from more of them than are listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DroppedRange:
    """Records [first_seq, next_seq) that went by one rule.

    Args:
        unread_records: Of them, those that some cursor had still to read.
        first_at_ms, last_at_ms: When the first and the last file went, wall time.
    """

    rule: str
    epoch: int
    first_seq: int
    next_seq: int
    segment_count: int
    bytes: int
    unread_records: int
    first_at_ms: int
    last_at_ms: int


@dataclass(frozen=True, slots=True)
class Dropped:
    """All that was ever removed.

    Args:
        ranges: In order, without a gap, from the stream's first record on.
        last_hash: Hexadecimal hash of the last dropped frame: what the log's first segment continues.
    """

    ranges: tuple[DroppedRange, ...] = ()
    last_hash: str = ""

    @property
    def next_seq(self) -> int:
        """The first record that is kept."""
        return self.ranges[-1].next_seq if self.ranges else 1

    @property
    def records(self) -> int:
        return sum(each.next_seq - each.first_seq for each in self.ranges)

    @property
    def bytes(self) -> int:
        return sum(each.bytes for each in self.ranges)

    @property
    def unread_records(self) -> int:
        return sum(each.unread_records for each in self.ranges)

    def plus(self, more: DroppedRange, last_hash: str) -> Dropped:
        """With one more range, joined to the one before where the rule is the same."""
        ranges = [*self.ranges]
        if ranges and (ranges[-1].rule, ranges[-1].epoch) == (more.rule, more.epoch):
            ranges[-1] = _joined(ranges[-1], more, more.rule)
        else:
            ranges.append(more)
        if len(ranges) > DROPPED_RANGE_COUNT_MAX:
            ranges[:2] = [_joined(ranges[0], ranges[1], SEVERAL)]
        return Dropped(tuple(ranges), last_hash)


def _joined(first: DroppedRange, second: DroppedRange, rule: str) -> DroppedRange:
    return replace(
        second,
        rule=rule,
        first_seq=first.first_seq,
        segment_count=first.segment_count + second.segment_count,
        bytes=first.bytes + second.bytes,
        unread_records=first.unread_records + second.unread_records,
        first_at_ms=first.first_at_ms,
    )


def encode_dropped(dropped: Dropped) -> bytes:
    """One line with version and CRC-32C of the rest, then a JSON object."""
    content = {"ranges": [asdict(each) for each in dropped.ranges], "last_hash": dropped.last_hash}
    body = json.dumps(content, separators=(",", ":")).encode() + b"\n"
    return b"homeport log dropped %d %08x\n" % (FORMAT_VERSION, crc32c(0, body)) + body


def decode_dropped(data: bytes) -> Dropped | None:
    """What the file says; None when it isn't whole."""
    match = _FIRST_LINE.match(data)
    if match is None or int(match[1]) != FORMAT_VERSION:
        return None
    body = data[match.end() :]
    if crc32c(0, body) != int(match[2], 16):
        return None
    content = json.loads(body)
    return Dropped(tuple(DroppedRange(**each) for each in content["ranges"]), content["last_hash"])


def read_dropped(disk: Disk, directory: Path) -> Dropped:
    """What was removed of a stream; nothing where there is no such file.

    Raises:
        LogDamaged: the file is not whole.
        OSError: it can't be read.
    """
    path = directory / DROPPED
    try:
        descriptor = disk.open(path)
    except FileNotFoundError:
        return Dropped()
    try:
        found = decode_dropped(disk.pread(descriptor, min(disk.size(descriptor), DROPPED_BYTES_MAX), 0))
    finally:
        disk.close(descriptor)
    if found is None:
        raise LogDamaged(
            f"The list of dropped records, {path}, is damaged.",
            hint="Move it away: nothing of the log is lost, but 'homeport log verify' can't say any more why it begins late.",
        )
    return found


def write_dropped(disk: Disk, directory: Path, dropped: Dropped) -> None:
    """Replaces the file, durably."""
    replace_file(disk, directory, DROPPED, DROPPED_NEW, encode_dropped(dropped))
