"""A restored copy beside the living box: is it the same, record for record and row for row, and if not, where?

The log is compared as a log: both are read block by block. Building a second store of the copied log and comparing that would take many times as
long and say no more: what the store has follows from the log, and a record that is the same makes the same rows (DESIGN.md has the numbers).

The catalog moves on while the copy is made. So both catalogs get what the other may have heard of by then, and must be equal: what the restored one
lacked because it was not copied yet is counted as such, and not as a difference.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from appliance.core.errors import CursorExpired, LogDamaged
from appliance.core.limits_replication import DRILL_WORD_LENGTH_MAX, DRILL_WORDS_COUNT_MAX
from appliance.management.drill import DrilledTable
from storage.catalog import Catalog
from storage.catalog.capture import replicated_tables
from storage.catalog.merging import Arrived, Followed
from storage.catalog.outbox import OUTBOX_BATCH_COUNT_MAX
from storage.catalog_stream.rebuilding import rebuild_catalog
from storage.catalog_stream.record import decode_change, encode_change
from storage.log.block import Block
from storage.log.lost import LOST_CODE
from storage.log.reader import LogReader
from storage.replicas.chunk_source import ChunkSource
from storage.replicas.errors import OtherHistory
from storage.replicas.streams import StreamHead, StreamId

KEY_LENGTH_SHOWN: Final = 64
SERIES_COUNT_MAX: Final = 1_000_000
"""That are told apart; more are compared, and not counted."""


@dataclass(slots=True)
class Differences:
    """Differences in words: all are counted, the first are named."""

    count: int = 0
    words: list[str] = field(default_factory=list)

    def add(self, text: str) -> None:
        self.count += 1
        if len(self.words) < DRILL_WORDS_COUNT_MAX:
            self.words.append(text[:DRILL_WORD_LENGTH_MAX])


@dataclass(slots=True)
class Missing:
    """What of a stream the living box has behind a place."""

    records: int = 0
    since_ms: int | None = None


def is_same_history(directory: Path, stream: StreamId, head: StreamHead) -> bool | None:
    """Whether a stream in this directory has the frame that a copy ends with; None where that is not kept here any more.

    Raises:
        LogDamaged: it can't be read here.
    """
    source = ChunkSource(directory, stream)
    try:
        source.after(head.epoch, head.next_seq, head.hash, bytes_max=1)
    except OtherHistory:
        return False
    except CursorExpired:
        return None
    finally:
        source.close()
    return True


def missing_behind(directory: Path, stream: StreamId, head: StreamHead | None, own: StreamHead) -> Missing:
    """What there was behind `head` (None: nothing was had) when the living box was at `own`.

    Raises:
        LogDamaged: it can't be read here.
    """
    first = 1 if head is None else head.next_seq
    if first >= own.next_seq:
        return Missing()
    reader = LogReader(directory, stream=stream.name)
    try:
        first = max(first, reader.first_seq())
        blocks = reader.read(first, bytes_max=1)
        return Missing(own.next_seq - first, blocks[0].first_time_ms if blocks else None)
    finally:
        reader.close()


@dataclass(slots=True)
class ComparedLog:
    """How many records and series were compared."""

    records: int = 0
    series: dict[tuple[str, bytes], int] = field(default_factory=dict)


def compare_logs(own: Path, restored: Path, until_seq: int, found: Differences) -> ComparedLog:
    """Reads both logs from where both have records on, up to a sequence, and compares each block."""
    done = ComparedLog()
    ours, theirs = LogReader(own), LogReader(restored)
    try:
        first = max(ours.first_seq(), theirs.first_seq())
        other = _blocks(theirs, first, until_seq, found, "the restored log")
        for block in _blocks(ours, first, until_seq, found, "this box's own log"):
            again = next((each for each in other if each.next_seq > block.first_seq), None)
            if again is None:
                found.add(f"log: records from {block.first_seq} on are not in the restored one")
                break
            if (block.first_seq, block.hash, block.body) != (again.first_seq, again.hash, again.body):
                found.add(f"log: records {block.first_seq} to {block.next_seq - 1} are others")
            done.records += block.record_count
            _count_series(block, done.series)
    finally:
        ours.close()
        theirs.close()
    return done


def _blocks(reader: LogReader, seq: int, until_seq: int, found: Differences, whose: str) -> Iterator[Block]:
    while seq < until_seq:
        try:
            blocks = reader.read(seq)
        except LogDamaged as error:
            if error.code != LOST_CODE:  # a gap that is known is one in both
                found.add(f"{whose}: {error.message}")
            seq = max(error.next_seq, seq + 1)
            continue
        if not blocks:
            return
        for block in blocks:
            if block.first_seq < until_seq:
                yield block
        seq = blocks[-1].next_seq


def _count_series(block: Block, counts: dict[tuple[str, bytes], int]) -> None:
    try:
        columns = block.columns()
    except LogDamaged:
        return  # the living box can't read it either, which the pipeline says; what counts here is that it is the same
    clients = np.frombuffer(columns.client_index, np.uint16).astype(np.uint32)
    topics = np.frombuffer(columns.topic_index, np.uint16)
    pairs, numbers = np.unique(clients << 16 | topics, return_counts=True)
    for pair, number in zip(pairs.tolist(), numbers.tolist(), strict=True):
        topic = columns.topics[pair & 0xFFFF]
        if topic and len(counts) < SERIES_COUNT_MAX:
            key = (columns.clients[pair >> 16][0], topic)
            counts[key] = counts.get(key, 0) + number


def even_out(
    living: Catalog,
    restored: Catalog,
    own: tuple[str, Path, int],
    mates: list[tuple[str, Path, Path, int]],
) -> None:
    """Gives each of both catalogs what only the other may have heard of.

    Args:
        living: A copy of the box's own, made after the streams were copied.
        own: Node id, the living stream, and where the copy of it ended (next_seq).
        mates: Of the site's other nodes: id, the living box's copy, the drill's, and where that ended.
    """
    own_id, directory, next_seq = own
    rebuild_catalog(restored, [(own_id, directory)], own_id=own_id, after={own_id: next_seq})
    position = 0
    while rows := living.outbox_after(position):
        changes = [encode_change(row, ends_transaction=False) for row in rows]
        position = rows[-1].position
        records = [
            Arrived(seq=row.position, payload=payload, change=decode_change(payload, origin=own_id))
            for row, payload in zip(rows, changes, strict=True)
        ]
        restored.apply_records(Followed(node_id=own_id, epoch=0, next_seq=position, hash=b""), records)
        if len(rows) < OUTBOX_BATCH_COUNT_MAX:
            break
    followed = {each.node_id: each.next_seq for each in living.list_followed()}
    for node_id, here, copied, ended in mates:
        rebuild_catalog(living, [(node_id, copied)], own_id=own_id, after={node_id: followed.get(node_id, 1)})
        if node_id in followed:
            rebuild_catalog(restored, [(node_id, here)], own_id=own_id, after={node_id: ended})
            rebuild_catalog(living, [(node_id, here)], own_id=own_id, after={node_id: followed[node_id]})


def compare_catalogs(living: Catalog, restored: Catalog, found: Differences) -> list[DrilledTable]:
    """All tables that nodes of a site have in common, row by row."""
    return [
        _compare_table(living, restored, name, key, found)
        for name, key in sorted(replicated_tables(living.connection).items())
    ]


def _compare_table(
    living: Catalog, restored: Catalog, name: str, key: str, found: Differences
) -> DrilledTable:
    digest = hashlib.sha256()
    counts = [0, 0]
    before = found.count
    ours, theirs = _rows(living, name, key), _rows(restored, name, key)
    mine, other = next(ours, None), next(theirs, None)
    while mine is not None or other is not None:
        if other is None or (mine is not None and mine[0] < other[0]):
            assert mine is not None
            found.add(f"{name}: {_shown(mine[0])} did not come back")
            counts[0], mine = counts[0] + 1, next(ours, None)
            continue
        digest.update(other[1])
        counts[1] += 1
        if mine is None or mine[0] > other[0]:
            found.add(f"{name}: {_shown(other[0])} came back, and is not here")
        else:
            if mine[1] != other[1]:
                found.add(f"{name}: {_shown(mine[0])} is another")
            counts[0], mine = counts[0] + 1, next(ours, None)
        other = next(theirs, None)
    return DrilledTable(
        name=name,
        rows=counts[1],
        own_rows=counts[0],
        digest=digest.hexdigest(),
        is_same=found.count == before,
    )


def _shown(key: str) -> str:
    """A row's key for people; of a token it is a hash, of which nobody needs all."""
    return key if len(key) < KEY_LENGTH_SHOWN else f"{key[:8]}…"


def _rows(catalog: Catalog, table: str, key: str) -> Iterator[tuple[str, bytes]]:
    """Key and content of each row, in the order of the keys as text."""
    cursor = catalog.connection.execute(
        f'SELECT * FROM "{table}" ORDER BY CAST("{key}" AS TEXT) COLLATE BINARY'  # noqa: S608 - the schema's own names
    )
    names = [column[0] for column in cursor.description]
    at = names.index(key)
    for row in cursor:
        values = [value.hex() if isinstance(value, bytes) else value for value in row]
        yield str(row[at]), json.dumps(values, ensure_ascii=False).encode(errors="surrogatepass")
