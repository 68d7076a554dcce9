"""The list of sealed segments, so that a start need not open each of them.

A convenience, never trusted: it has a checksum, it is compared with the names and sizes in the directory, and
what doesn't agree is read from the segments' footers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from storage.log.disk import Disk, write_all
from storage.log.footer import Footer
from storage.log.layout import FORMAT_VERSION, crc32c
from storage.log.names import MANIFEST, MANIFEST_NEW, SegmentName

_FIRST_LINE = re.compile(rb"homeport log manifest (\d+) ([0-9a-f]{8})\n")
MANIFEST_BYTES_MAX: Final = 64 * 1024 * 1024
"""250 bytes a segment: more than 16 TiB of log in segments of 64 MiB."""


@dataclass(frozen=True, slots=True)
class SegmentSummary:
    """What the manifest says of one sealed segment. `bytes` is the file's size; hashes are hexadecimal."""

    epoch: int
    first_seq: int
    last_seq: int
    first_time_ms: int
    last_time_ms: int
    frame_count: int
    record_count: int
    bytes: int
    last_hash: str
    root: str

    @property
    def name(self) -> SegmentName:
        return SegmentName(self.epoch, self.first_seq, "seg")


def summary_of(footer: Footer, file_bytes: int) -> SegmentSummary:
    return SegmentSummary(
        footer.epoch,
        footer.first_seq,
        footer.last_seq,
        footer.first_time_ms,
        footer.last_time_ms,
        footer.frame_count,
        footer.record_count,
        file_bytes,
        footer.last_hash.hex(),
        footer.root.hex(),
    )


def encode_manifest(summaries: Iterable[SegmentSummary]) -> bytes:
    """One line with version and CRC-32C of the rest, then a JSON array, oldest segment first."""
    body = json.dumps([asdict(s) for s in summaries], separators=(",", ":")).encode() + b"\n"
    return b"homeport log manifest %d %08x\n" % (FORMAT_VERSION, crc32c(0, body)) + body


def decode_manifest(data: bytes) -> list[SegmentSummary] | None:
    """The manifest's segments; None when it can't be used."""
    match = _FIRST_LINE.match(data)
    if match is None or int(match[1]) != FORMAT_VERSION:
        return None
    body = data[match.end() :]
    if crc32c(0, body) != int(match[2], 16):
        return None
    return [SegmentSummary(**entry) for entry in json.loads(body)]


def read_manifest(disk: Disk, directory: Path) -> list[SegmentSummary] | None:
    """The manifest of a stream's directory; None when there is none that can be used."""
    try:
        descriptor = disk.open(directory / MANIFEST)
    except FileNotFoundError:
        return None
    try:
        return decode_manifest(disk.pread(descriptor, min(disk.size(descriptor), MANIFEST_BYTES_MAX), 0))
    finally:
        disk.close(descriptor)


def write_manifest(disk: Disk, directory: Path, summaries: Iterable[SegmentSummary]) -> None:
    """Replaces the manifest, so that there is always a whole one."""
    replace_file(disk, directory, MANIFEST, MANIFEST_NEW, encode_manifest(summaries))


def replace_file(disk: Disk, directory: Path, name: str, new_name: str, data: bytes) -> None:
    """Replaces a small file as a whole, durably: written beside it, fsynced, renamed, directory fsynced."""
    new = directory / new_name
    descriptor = disk.open(new, create=True)
    try:
        disk.truncate(descriptor, 0)
        write_all(disk, descriptor, [data], 0)
        disk.fsync(descriptor)
    finally:
        disk.close(descriptor)
    disk.rename(new, directory / name)
    disk.fsync_directory(directory)
