"""A catalog out of the streams of a site's nodes: for a box that has lost its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from appliance.core.errors import LogDamaged
from appliance.core.limits_catalog_stream import MERGE_RECORD_COUNT_MAX
from storage.catalog.catalog import Catalog
from storage.catalog.merging import Arrived, Followed
from storage.catalog_stream.record import ROW_CHANGED, CatalogRecordError, decode_change
from storage.catalog_stream.stream_writer import STREAM
from storage.log.block import Block
from storage.log.reader import LogReader


def rebuild_catalog(
    catalog: Catalog,
    streams: Iterable[tuple[str, Path]],
    *,
    own_id: str,
    after: Mapping[str, int] | None = None,
    progress: Callable[[int], None] = lambda records: None,
) -> tuple[int, list[LogDamaged]]:
    """Takes over all changes of these streams; gives how many records that was, and what could not be read.

    What is applied is the same in whatever order it comes (appliance/management/merge.py). The streams of others are followed from where this
    ends; this node's own is its own again, and not one that it follows.

    Args:
        catalog: New and empty.
        streams: Node id and directory of each.
        own_id: This node.
        after: By node id, with which record to begin; the first that is kept if not given.
    Raises:
        StorageError, LimitExceeded: the catalog can't be written.
    """
    total = 0
    damaged: list[LogDamaged] = []
    for node_id, directory in streams:
        for block in _blocks(directory, damaged, (after or {}).get(node_id, 1)):
            columns = block.columns()
            records = [
                _arrived(block.first_seq + number, payload, node_id)
                for number, payload in enumerate(columns.payloads())
                if columns.kinds[number] == ROW_CHANGED
            ]
            for first in range(0, max(1, len(records)), MERGE_RECORD_COUNT_MAX):
                part = records[first : first + MERGE_RECORD_COUNT_MAX]
                is_last = first + MERGE_RECORD_COUNT_MAX >= len(records)
                next_seq = block.next_seq if is_last else part[-1].seq + 1
                stream = Followed(
                    node_id=node_id,
                    epoch=block.epoch,
                    next_seq=next_seq,
                    hash=block.hash if is_last else b"",
                )
                catalog.apply_records(stream, part)
            total += len(records)
            progress(total)
    catalog.forget_followed(own_id)
    return total, damaged


def own_records(directory: Path, *, from_seq: int, node_id: str) -> list[tuple[Followed, list[Arrived]]]:
    """What the own stream has from a record on, in parts that are each taken over at once. What can't be read is left out.

    Raises:
        OSError: the log can't be read.
    """
    parts: list[tuple[Followed, list[Arrived]]] = []
    for block in _blocks(directory, [], from_seq):
        columns = block.columns()
        records = [
            _arrived(block.first_seq + number, payload, node_id)
            for number, payload in enumerate(columns.payloads())
            if columns.kinds[number] == ROW_CHANGED
        ]
        for first in range(0, len(records), MERGE_RECORD_COUNT_MAX):
            stream = Followed(node_id=node_id, epoch=block.epoch, next_seq=block.next_seq, hash=block.hash)
            parts.append((stream, records[first : first + MERGE_RECORD_COUNT_MAX]))
    return parts


def _blocks(directory: Path, damaged: list[LogDamaged], first_seq: int) -> Iterator[Block]:
    """All that can be read of a stream from a record on, in order; what can't be is added to `damaged`."""
    reader = LogReader(directory, stream=STREAM)
    try:
        seq, end = max(first_seq, reader.first_seq()), reader.head().next_seq
        while seq < end:
            try:
                blocks = reader.read(seq)
            except LogDamaged as error:
                damaged.append(error)
                seq = max(error.next_seq, seq + 1)
                continue
            yield from blocks
            seq = blocks[-1].next_seq
    finally:
        reader.close()


def _arrived(seq: int, payload: bytes, node_id: str) -> Arrived:
    try:
        return Arrived(seq=seq, payload=payload, change=decode_change(payload, origin=node_id))
    except CatalogRecordError as error:
        return Arrived(seq=seq, payload=payload, change=None, refused=error.message, is_newer=error.is_newer)
