"""What tests of copies share: a stream's own log, a copy of it, and all of the one carried to the other."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from appliance.core.clock import ManualClock
from storage.log import Disk, LogWriter
from storage.replicas.chunk_source import ChunkSource
from storage.replicas.errors import OtherHistory
from storage.replicas.replica_log import ReplicaLog
from storage.replicas.streams import Chunk, StreamHead, StreamId
from tests.storage_log_kit import NODE_ID, STREAM, KitSigner, QuickDisk, append_blocks, open_writer

ORIGIN = StreamId(NODE_ID.hex(), "telemetry")
assert ORIGIN.name == STREAM
KEYS = frozenset({KitSigner().key_id})


def open_replica(
    directory: Path,
    *,
    disk: Disk | None = None,
    stream: StreamId = ORIGIN,
    keys: Collection[bytes] | None = KEYS,
) -> ReplicaLog:
    return ReplicaLog.open(
        directory,
        stream,
        clock=ManualClock(),
        disk=disk or QuickDisk(),
        keys=(lambda: keys) if keys is not None else None,
    )


def make_log(directory: Path, count: int = 40, *, seed: int = 1, **options: Any) -> LogWriter:
    """A log of some segments, all but the newest sealed; its writer is open."""
    writer = open_writer(directory, **options)
    append_blocks(writer, count, seed=seed)
    assert writer.wait_idle(10)
    return writer


def next_chunk(source: ChunkSource, head: StreamHead, *, bytes_max: int = 1024 * 1024) -> Chunk | None:
    if head.epoch == 0 and source.head().first_seq > 1:
        return source.begin()
    try:
        return source.after(head.epoch, head.next_seq, head.hash, bytes_max=bytes_max)
    except OtherHistory as parted:
        return source.after(*parted.place, bytes_max=bytes_max)


def carry(
    source: ChunkSource, log: ReplicaLog, *, bytes_max: int = 1024 * 1024, chunks_max: int = 10_000
) -> int:
    """Copies until there is nothing more, footers too; gives the number of chunks."""
    count = 0
    while count < chunks_max:
        head = log.head()
        chunk = next_chunk(source, head, bytes_max=bytes_max)
        if chunk is None:
            break
        if head.epoch == 0 and chunk.first_seq > 1:
            log.begin(chunk)
        else:
            log.append(chunk)
        count += 1
    else:
        return count
    while log.head().sealed_seq < source.head().sealed_seq:
        footer = source.footer_after(log.head().sealed_seq)
        if footer is None or footer.segment_first_seq > log.head().sealed_seq:
            break  # the source has no such segment, or it was never sealed there
        log.append(footer)
    return count


def segments_of(directory: Path) -> dict[str, bytes]:
    """Names and bytes of all sealed segments, and of the unsealed ones what is in them."""
    found = {path.name: path.read_bytes() for path in sorted(directory.glob("*.seg"))}
    for path in sorted(directory.glob("*.open")):
        found[path.name] = path.read_bytes().rstrip(b"\0")
    return found
