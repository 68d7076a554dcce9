"""A node's streams out of a source, and its catalog out of the streams: what a restore and a drill do alike.

Order: the catalogs' streams of all nodes of the site, of which the catalog is made; then a box could serve its devices; then the log.

Must not know: what kind of source it is, what becomes of the folder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import trio

from appliance.core.clock import SystemClock
from appliance.core.config import Config
from appliance.core.errors import StorageError, Unavailable
from appliance.management.fleet import Roster
from appliance.run import layout
from replication.sources import Source
from storage.catalog.catalog import Catalog
from storage.catalog_stream.rebuilding import rebuild_catalog
from storage.replicas.replica_log import ReplicaLog
from storage.replicas.streams import StreamHead, StreamId

Progress = Callable[[str, int, int], None]
"""(what, done, total)."""
Wanted = tuple[StreamId, Path]
"""A stream, and the folder where it is to be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lacking:
    """What of the node's past is not here."""

    what: str
    why: str


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
) -> Copied:
    """Copy streams, one after the other; what nobody has is said, and no reason to stop.

    Args:
        until: Of a stream that grows, how far is enough.
    Raises:
        StorageError: the disk failed, or is full.
    """
    heads: dict[StreamId, StreamHead] = {}
    lacking: list[Lacking] = []
    for stream, directory in wanted:
        try:
            head = await _copy(source, stream, directory, progress, until(stream))
        except Unavailable as error:
            lacking.append(Lacking(what=str(stream), why=error.message))
            continue
        if head.epoch:
            heads[stream] = head
        if head.first_seq > 1:
            lacking.append(
                Lacking(what=str(stream), why=f"records before {head.first_seq} are kept by nobody")
            )
    return Copied(heads=heads, lacking=tuple(lacking))


def make_catalog(
    config: Config, catalog: Catalog, own_id: str, mates: Iterable[str], progress: Progress
) -> tuple[int, list[StorageError]]:
    """Fill an empty catalog with what the copied streams say; gives how many changes that was, and what can't be read."""
    streams = [(stream.node_id, directory) for stream, directory in catalogs_of(config, own_id, mates)]
    records, damaged = rebuild_catalog(
        catalog,
        streams,
        own_id=own_id,
        progress=lambda done: progress("changes of the catalog", done, done),
    )
    return records, list(damaged)


async def _copy(
    source: Source, stream: StreamId, directory: Path, progress: Progress, until: tuple[int, int] | None
) -> StreamHead:
    log = await trio.to_thread.run_sync(partial(ReplicaLog.open, directory, stream, clock=SystemClock()))
    try:
        return await source.copy(
            stream, log, until=until, progress=lambda of, done, total: progress(str(of), done, total)
        )
    finally:
        log.close()
