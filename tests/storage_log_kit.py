"""What the tests of the log share: a signer, disks that are quick or fail on purpose, logs with known content."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.core.clock import Clock, ManualClock
from appliance.core.errors import LogDamaged
from storage.log import Block, Disk, LogReader, LogWriter, OsDisk
from storage.log.disk_level import Space

NODE_ID = bytes(range(16))
STREAM = "telemetry"


class KitSigner:
    """A real Ed25519 key that is the same in every test."""

    def __init__(self, seed: bytes = b"k" * 32) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)

    @property
    def key_id(self) -> bytes:
        return self._key.public_key().public_bytes_raw()

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data)


class QuickDisk(OsDisk):
    """The real disk without waiting for it: for tests that don't cut the power."""

    def fdatasync(self, descriptor: int) -> None:
        pass

    def fsync(self, descriptor: int) -> None:
        pass

    def fsync_directory(self, path: Path) -> None:
        pass


class PretendedDisk(QuickDisk):
    """A file system of 1,000 MiB, on which others have `others_bytes` and the log has what its directory holds."""

    TOTAL_BYTES = 1000 * 1024 * 1024

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.others_bytes = 0
        self.error: OSError | None = None

    def space(self, path: Path) -> Space:
        if self.error is not None:
            raise self.error
        ours = sum(each.stat().st_blocks * 512 for each in self.directory.iterdir())
        return Space(
            total_bytes=self.TOTAL_BYTES, free_bytes=max(0, self.TOTAL_BYTES - self.others_bytes - ours)
        )


class HookedDisk(QuickDisk):
    """Says which operation comes next, in order, and fails it if the hook raises."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.hook: Callable[[str, str], None] = lambda operation, name: None
        self.short_write_bytes: int | None = None
        self._names: dict[int, str] = {}
        self._lock = threading.RLock()

    def _call(self, operation: str, name: str) -> None:
        with self._lock:
            self.calls.append((operation, name))
        self.hook(operation, name)

    def name_of(self, descriptor: int) -> str:
        return self._names.get(descriptor, "?")

    def open(self, path: Path, *, write: bool = False, create: bool = False) -> int:
        self._call("open", path.name)
        descriptor = super().open(path, write=write, create=create)
        self._names[descriptor] = path.name
        return descriptor

    def open_direct(self, path: Path) -> int:
        self._call("open_direct", path.name)
        descriptor = super().open_direct(path)
        self._names[descriptor] = path.name
        return descriptor

    def pread_direct(self, descriptor: int, length: int, offset: int) -> bytes:
        self._call("pread_direct", self.name_of(descriptor))
        return super().pread_direct(descriptor, length, offset)

    def pwritev(self, descriptor: int, buffers: Sequence[bytes | memoryview], offset: int) -> int:
        self._call("pwritev", self.name_of(descriptor))
        if self.short_write_bytes is not None:
            short, self.short_write_bytes = self.short_write_bytes, None
            return super().pwritev(descriptor, [b"".join(buffers)[:short]], offset)
        return super().pwritev(descriptor, buffers, offset)

    def fdatasync(self, descriptor: int) -> None:
        self._call("fdatasync", self.name_of(descriptor))

    def fsync(self, descriptor: int) -> None:
        self._call("fsync", self.name_of(descriptor))

    def fsync_directory(self, path: Path) -> None:
        self._call("fsync_directory", path.name)

    def allocate(self, descriptor: int, size: int) -> None:
        self._call("allocate", self.name_of(descriptor))
        super().allocate(descriptor, size)

    def truncate(self, descriptor: int, size: int) -> None:
        self._call("truncate", self.name_of(descriptor))
        super().truncate(descriptor, size)

    def rename(self, source: Path, target: Path) -> None:
        self._call("rename", target.name)
        super().rename(source, target)
        for descriptor, name in self._names.items():
            if name == source.name:
                self._names[descriptor] = target.name

    def unlink(self, path: Path) -> None:
        self._call("unlink", path.name)
        super().unlink(path)


def open_writer(
    directory: Path, *, clock: Clock | None = None, disk: Disk | None = None, **options: Any
) -> LogWriter:
    """A writer of the tests' stream; segments of 64 KiB unless told otherwise."""
    options.setdefault("segment_bytes", 64 * 1024)
    return LogWriter.open(
        directory,
        stream=STREAM,
        node_id=NODE_ID,
        signer=KitSigner(),
        clock=clock or ManualClock(),
        disk=disk or QuickDisk(),
        **options,
    )


@dataclass(frozen=True)
class Written:
    """A block that was acknowledged."""

    first_seq: int
    record_count: int
    first_time_ms: int
    last_time_ms: int
    body: bytes

    @property
    def next_seq(self) -> int:
        return self.first_seq + self.record_count


def append_blocks(
    writer: LogWriter, count: int, *, seed: int = 1, body_bytes_max: int = 9000
) -> list[Written]:
    """Appends blocks of random size, record count and compressibility; times rise by the block's count."""
    rng = random.Random(seed)
    written = []
    for _ in range(count):
        size = rng.randint(1, body_bytes_max)
        body = rng.randbytes(size) if rng.random() < 0.5 else (rng.randbytes(8) * (size // 8 + 1))[:size]
        records = rng.randint(1, 50)
        first_seq = writer.head.next_seq
        head = writer.append(body, records, first_seq * 10, first_seq * 10 + records)
        assert head.next_seq == first_seq + records
        written.append(Written(first_seq, records, first_seq * 10, first_seq * 10 + records, body))
    return written


def as_written(block: Block) -> Written:
    return Written(block.first_seq, block.record_count, block.first_time_ms, block.last_time_ms, block.body)


def read_all(directory: Path, *, from_seq: int | None = None) -> tuple[list[Block], list[tuple[int, int]]]:
    """Everything that a reader gives out up to the head, and the ranges it refuses."""
    reader = LogReader(directory, stream=STREAM)
    try:
        blocks: list[Block] = []
        refused: list[tuple[int, int]] = []
        seq = reader.first_seq() if from_seq is None else from_seq
        end = reader.head().next_seq
        while seq < end:
            try:
                got = reader.read(seq)
            except LogDamaged as error:
                assert error.first_seq <= seq < error.next_seq, "damage that doesn't let a reader go on"
                refused.append((error.first_seq, error.next_seq))
                seq = error.next_seq
                continue
            assert got[0].first_seq <= seq < got[0].next_seq
            blocks.extend(got)
            seq = got[-1].next_seq
        return blocks, refused
    finally:
        reader.close()
