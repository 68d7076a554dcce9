"""A node's streams out of a source, and its catalog out of the streams: what a restore and a drill do alike.

Order: the catalogs' streams of all nodes of the site, of which the catalog is made; then a box could serve its devices; then the log.

Must not know: what kind of source it is, what becomes of the folder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import trio

from appliance.core.clock import SystemClock
from appliance.core.config import Config
from appliance.core.errors import CursorExpired, LogDamaged, StorageError, Unavailable
from appliance.management.fleet import Roster
from appliance.run import layout
from replication.sources import Gap, OnGap, Source
from storage.catalog.catalog import Catalog
from storage.catalog_stream.rebuilding import rebuild_catalog
from storage.log.disk import OsDisk
from storage.replicas.branching import move_branches
from storage.replicas.chunk_source import ChunkSource
from storage.replicas.errors import OtherHistory
from storage.replicas.replica_log import ReplicaLog
from storage.replicas.streams import StreamHead, StreamId

Progress = Callable[[str, int, int], None]
"""(what, done, total)."""
Wanted = tuple[StreamId, Path]
"""A stream, and the folder where it is to be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lacking:
    """What of the node's past is not here.

    Attributes:
        first_seq, next_seq: Which records, where they were written and this source should have had them; 0 where it isn't known which.
    """

    what: str
    why: str
    first_seq: int = 0
    next_seq: int = 0

    @property
    def is_gap(self) -> bool:
        return self.next_seq > self.first_seq


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """How far each stream was had, of which anything was; and what is lacking."""

    heads: dict[StreamId, StreamHead] = field(default_factory=dict)
    lacking: tuple[Lacking, ...] = ()

    def __add__(self, other: Copied) -> Copied:
        return Copied(heads={**self.heads, **other.heads}, lacking=(*self.lacking, *other.lacking))


def mates_of(roster: Roster, site_id: str, own_id: str) -> tuple[str, ...]:
    """The other nodes of a site."""
    return tuple(
        entry.node_id for entry in roster.admitted() if entry.site_id == site_id and entry.node_id != own_id
    )


def catalogs_of(config: Config, own_id: str, mates: Iterable[str]) -> list[Wanted]:
    """The streams that a node's catalog is made of, its own first, and where they lie."""
    wanted: list[Wanted] = [(StreamId(own_id, "catalog"), layout.catalog_log(config))]
    return wanted + [(StreamId(mate, "catalog"), layout.replica(config, mate, "catalog")) for mate in mates]


def log_of(config: Config, own_id: str) -> Wanted:
    """The node's log."""
    return (StreamId(own_id, "telemetry"), layout.telemetry_log(config))


async def copy_streams(
    source: Source,
    wanted: Sequence[Wanted],
    progress: Progress,
    until: Callable[[StreamId], tuple[int, int] | None] = lambda stream: None,
    *,
    may_have: str = "somebody else may have them",
) -> Copied:
    """Copy streams, one after the other; what nobody has is said, and no reason to stop.

    Args:
        until: Of a stream that grows, how far is enough.
        may_have: Who may have records that the source can't give, in words.
    Raises:
        StorageError: the disk failed, or is full.
    """
    heads: dict[StreamId, StreamHead] = {}
    lacking: list[Lacking] = []
    for stream, directory in wanted:
        gaps: list[Gap] = []
        try:
            head = await _copy(source, stream, directory, progress, until(stream), gaps.append)
        except Unavailable as error:
            lacking.append(Lacking(what=str(stream), why=error.message))
            continue
        if head.epoch:
            heads[stream] = head
        lacking += [_lacking(gap, may_have) for gap in gaps]
        if head.first_seq > 1 and not any(gap.first_seq == 1 for gap in gaps):
            lacking.append(
                Lacking(what=str(stream), why=f"records before {head.first_seq} are kept by nobody")
            )
    return Copied(heads=heads, lacking=tuple(lacking))


async def copy_branches(
    source: Source, found: Mapping[StreamId, Mapping[str, StreamHead]], config: Config, progress: Progress
) -> Copied:
    """Copy the branches of a node's own streams that forked, beside the copies of others; the streams themselves were copied before.

    Holders give one history several names. What lies on a history that is here already is not copied again. A tail that a later epoch
    replaced while its stream was copied is put there too.

    Args:
        found: What is held of the node's streams, by stream and holder.
    Raises:
        StorageError: the disk failed, or is full.
    """
    heads = {
        stream: max(held.values(), key=lambda head: head.place) for stream, held in found.items() if held
    }
    copied = Copied()
    for stream in sorted({StreamId(each.node_id, each.name) for each in heads}):
        own, beside = _own_and_beside(config, stream)
        await trio.to_thread.run_sync(move_branches, OsDisk(), own, beside)
    # The longest first: whoever is behind has a part of it under another name.
    for stream in sorted(filter(_is_branch, heads), key=lambda each: (heads[each].place, each), reverse=True):
        own, beside = _own_and_beside(config, stream)
        here = [own, *sorted(beside.glob(f"{stream.name}.fork-*"))]
        if not await trio.to_thread.run_sync(_is_had, here, stream, heads[stream]):
            wanted = [(stream, beside / f"{stream.name}.fork-{stream.branch}")]
            copied += replace(await copy_streams(source, wanted, progress), lacking=())
            if stream not in copied.heads or copied.heads[stream].place < heads[stream].place:
                why = "what another body of this node wrote could not be had; it comes by itself once a holder is linked"
                copied += Copied(lacking=(Lacking(what=str(stream), why=why),))
    return copied


def _own_and_beside(config: Config, stream: StreamId) -> tuple[Path, Path]:
    """Where a stream of this node is, and where branches of it are."""
    own = layout.catalog_log(config) if stream.name == "catalog" else layout.telemetry_log(config)
    return own, layout.replica(config, stream.node_id, stream.name).parent


def _is_branch(stream: StreamId) -> bool:
    return bool(stream.branch)


def _is_had(directories: Sequence[Path], stream: StreamId, head: StreamHead) -> bool:
    """Whether one of these folders has a history on which a head lies."""
    for directory in directories:
        reading = ChunkSource(directory, stream)
        try:
            if reading.head().place >= head.place:
                reading.after(head.epoch, head.next_seq, head.hash, bytes_max=1)
                return True
        except (OtherHistory, CursorExpired, LogDamaged):
            continue  # it is another one, or can't be told: then it is copied
        finally:
            reading.close()
    return False


def make_catalog(
    config: Config, catalog: Catalog, own_id: str, mates: Iterable[str], progress: Progress
) -> tuple[int, list[StorageError]]:
    """Fill an empty catalog with what the copied streams say; gives how many changes that was, and what can't be read."""
    streams = [(stream.node_id, directory) for stream, directory in catalogs_of(config, own_id, mates)]
    beside = layout.replica(config, own_id, "catalog").parent
    # What another body of this node changed: it is merged as others' changes are, and a change that comes twice is one.
    streams += [(own_id, directory) for directory in sorted(beside.glob("catalog.fork-*"))]
    records, damaged = rebuild_catalog(
        catalog,
        streams,
        own_id=own_id,
        progress=lambda done: progress("changes of the catalog", done, done),
    )
    return records, list(damaged)


def _lacking(gap: Gap, may_have: str) -> Lacking:
    return Lacking(
        what=str(gap.stream),
        why=f"records {gap.first_seq} to {gap.next_seq - 1} can't be had ({gap.why.rstrip('.')}); {may_have}",
        first_seq=gap.first_seq,
        next_seq=gap.next_seq,
    )


async def _copy(
    source: Source,
    stream: StreamId,
    directory: Path,
    progress: Progress,
    until: tuple[int, int] | None,
    on_gap: OnGap,
) -> StreamHead:
    log = await trio.to_thread.run_sync(partial(ReplicaLog.open, directory, stream, clock=SystemClock()))
    try:
        return await source.copy(
            stream,
            log,
            until=until,
            progress=lambda of, done, total: progress(str(of), done, total),
            on_gap=on_gap,
        )
    finally:
        log.close()
