"""A drill: this node is lost on purpose, as a scratch copy, and had back from others exactly as `homeport restore --from` would.

    1  how far this box is, and how far others have its streams: what would be lost now
    2  the catalogs' streams, and the catalog out of them: a box could serve its devices
    3  the log
    4  all of it is compared with the living box

Nothing is changed but the scratch folder, which is removed whatever happens: no epoch is claimed (that would fence the living box), no instance is made,
nothing is written at peers. Keys come out of the recovery kit, which isn't here: what is said about them is whether somebody keeps it.

Must not know: what kind of source it is, who asked for the drill.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import trio

from appliance.core.clock import Clock
from appliance.core.config import Config
from appliance.core.errors import HomeportError, LogDamaged, NotFound, StorageError
from appliance.core.limits import MIB
from appliance.core.limits_replication import DRILL_SPARE_BYTES
from appliance.identity.keys import SiteKeys
from appliance.management.drill import DrilledStream, DrilledTable, DrillReport, From
from appliance.run import layout
from appliance.run.drilling_comparison import (
    ComparedLog,
    Differences,
    Missing,
    compare_catalogs,
    compare_logs,
    even_out,
    is_same_history,
    missing_behind,
)
from appliance.run.restoring_streams import (
    Copied,
    Progress,
    catalogs_of,
    copy_streams,
    log_of,
    make_catalog,
)
from replication.sources import Holders, Source
from storage.backup.catalog_copy import copy_catalog
from storage.catalog import Catalog
from storage.replicas.chunk_source import ChunkSource
from storage.replicas.streams import StreamHead, StreamId

CATALOG_COPIES: Final = 3
"""A copy of the living catalog, the restored one, and what SQLite writes beside them."""
LIVING: Final = "living.db"


@dataclass(frozen=True, slots=True, kw_only=True)
class DrilledBox:
    """The living box.

    Attributes:
        mates: The other nodes of its site.
        asked, away: Names of the nodes that are asked, and of those that are away. notes: What else a restore would need.
    """

    config: Config
    keys: SiteKeys
    mates: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()
    away: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    source: From = "peers"

    @property
    def node_id(self) -> str:
        return self.keys.node_id.hex()

    @property
    def own(self) -> dict[StreamId, Path]:
        """Its own streams, and where they lie."""
        return dict([log_of(self.config, self.node_id), catalogs_of(self.config, self.node_id, ())[0]])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lost:
    """How it was when the box was lost.

    Attributes:
        own: How far it had its own streams. missing: What of that nobody else had.
    """

    at_ms: int
    own: dict[StreamId, StreamHead]
    holders: Holders
    missing: dict[StreamId, Missing] = field(default_factory=dict)

    def until(self, stream: StreamId) -> tuple[int, int] | None:
        """How far is enough: as far as somebody had it then. The living box goes on writing."""
        return max((head.place for head in self.holders.get(stream, {}).values()), default=None)

    @property
    def rpo_ms(self) -> int:
        """Age of the oldest record that would be lost."""
        since = [each.since_ms for each in self.missing.values() if each.since_ms is not None]
        return max(0, self.at_ms - min(since)) if since else 0


async def drill(
    box: DrilledBox,
    source: Source,
    *,
    drill_id: str,
    is_scheduled: bool,
    clock: Clock,
    progress: Progress = lambda what, done, total: None,
) -> DrillReport:
    """Carry one out; what fails is in the report. A scratch folder that an earlier one left is removed first.

    Called off by cancelling it: the scratch folder is gone all the same.
    """
    report = DrillReport(
        drill_id=drill_id,
        outcome="failed",
        is_scheduled=is_scheduled,
        begun_at_ms=clock.now_ms(),
        ended_at_ms=0,
        asked=box.asked,
        away=box.away,
        notes=box.notes,
        source=box.source,
    )
    try:
        with _scratch(box.config) as scratch:
            report = await _carry_out(box, scratch, source, report, clock, progress)
    except HomeportError as error:
        report = msgspec.structs.replace(report, problem=f"{error.message} {error.hint or ''}".strip())
    except OSError as error:
        report = msgspec.structs.replace(report, problem=f"The disk failed: {error}.")
    return msgspec.structs.replace(report, ended_at_ms=clock.now_ms())


async def _carry_out(
    box: DrilledBox, scratch: Config, source: Source, report: DrillReport, clock: Clock, progress: Progress
) -> DrillReport:
    own_id = box.node_id
    await trio.to_thread.run_sync(_check_room, box)
    begun_mono_ms = clock.mono_ms()
    progress("what others have", 0, 0)
    lost = await _lose(box, source, clock)
    catalogs = await copy_streams(source, catalogs_of(scratch, own_id, box.mates), progress, lost.until)
    restored = await trio.to_thread.run_sync(
        partial(Catalog.open, layout.catalog(scratch), clock=clock, node_id=box.keys.node_id)
    )
    with closing(restored):
        _, damaged = await trio.to_thread.run_sync(
            make_catalog, scratch, restored, own_id, box.mates, progress
        )
        serve_ms = clock.mono_ms() - begun_mono_ms
        copied = catalogs + await copy_streams(source, [log_of(scratch, own_id)], progress, lost.until)
        whole_ms = clock.mono_ms() - begun_mono_ms
        found = Differences()
        for error in damaged:
            found.add(f"catalog: {error.message}")
        progress("comparing", 0, 0)
        streams, log, tables = await trio.to_thread.run_sync(
            _compare, box, scratch, copied, lost, restored, clock, found
        )
    return msgspec.structs.replace(
        report,
        outcome="different" if found.count else "good",
        rpo_ms=lost.rpo_ms,
        rpo_records=sum(each.records for each in lost.missing.values()),
        serve_ms=serve_ms,
        whole_ms=whole_ms,
        bytes=sum(each.bytes for each in streams),
        compared_records=log.records,
        compared_series=len(log.series),
        difference_count=found.count,
        differences=tuple(found.words),
        streams=tuple(streams),
        tables=tuple(tables),
        lacking=tuple(f"{each.what}: {each.why}" for each in copied.lacking),
    )


async def _lose(box: DrilledBox, source: Source, clock: Clock) -> _Lost:
    """How far this box is now, and how far others have that.

    Raises:
        NotFound: `nothing_had`.
    """
    own = await trio.to_thread.run_sync(_own_heads, box)
    at_ms = clock.now_ms()
    holders = dict(await source.holders(box.node_id))
    if not holders:
        raise NotFound(
            "Nobody who can be reached has anything of this node.",
            hint="Look at its peers: homeport peer list."
            if box.source == "peers"
            else "Look at the region: homeport tier list.",
            code="nothing_had",
        )
    for mate in box.mates:
        holders.update(await source.holders(mate))
    best = {
        stream: max(holders.get(stream, {}).values(), key=lambda head: head.place, default=None)
        for stream in own
    }
    missing = {
        stream: await trio.to_thread.run_sync(missing_behind, box.own[stream], stream, best[stream], head)
        for stream, head in own.items()
    }
    return _Lost(at_ms=at_ms, own=own, holders=holders, missing=missing)


def _own_heads(box: DrilledBox) -> dict[StreamId, StreamHead]:
    heads = {}
    for stream, directory in box.own.items():
        with closing(ChunkSource(directory, stream)) as source:
            head = source.head()
        if head.epoch:
            heads[stream] = head
    return heads


def _compare(
    box: DrilledBox,
    scratch: Config,
    copied: Copied,
    lost: _Lost,
    restored: Catalog,
    clock: Clock,
    found: Differences,
) -> tuple[list[DrilledStream], ComparedLog, list[DrilledTable]]:
    places = dict([log_of(scratch, box.node_id), *catalogs_of(scratch, box.node_id, box.mates)])
    here = dict([log_of(box.config, box.node_id), *catalogs_of(box.config, box.node_id, box.mates)])
    streams = [
        _compare_stream(stream, head, places[stream], here[stream], lost, found)
        for stream, head in sorted(copied.heads.items())
    ]
    for stream in lost.own:
        if stream not in copied.heads:
            found.add(f"{stream.name}: nobody has anything of it")
    log = ComparedLog()
    telemetry, directory = log_of(box.config, box.node_id)
    if (head := copied.heads.get(telemetry)) is not None:
        log = compare_logs(directory, places[telemetry], head.next_seq, found)
    living_path = scratch.node.data_dir / LIVING
    copy_catalog(layout.catalog(box.config), living_path)
    living = Catalog.open(living_path, clock=clock, node_id=box.keys.node_id)
    with closing(living):

        def ended(node_id: str) -> int:
            head = copied.heads.get(StreamId(node_id, "catalog"))
            return 1 if head is None else head.next_seq

        even_out(
            living,
            restored,
            (box.node_id, layout.catalog_log(box.config), ended(box.node_id)),
            [
                (mate, here[StreamId(mate, "catalog")], places[StreamId(mate, "catalog")], ended(mate))
                for mate in box.mates
            ],
        )
        return streams, log, compare_catalogs(living, restored, found)


def _compare_stream(
    stream: StreamId, head: StreamHead, copy: Path, here: Path, lost: _Lost, found: Differences
) -> DrilledStream:
    own = lost.own.get(stream)
    is_same: bool | None = None
    if own is not None:
        try:
            is_same = is_same_history(here, stream, head)
        except LogDamaged as error:
            found.add(f"{stream.name}: {error.message}")
    if is_same is False:
        found.add(f"{stream.name}: before record {head.next_seq} others have another history than this box")
    return DrilledStream(
        node_id=stream.node_id,
        name=stream.name,
        epoch=head.epoch,
        next_seq=head.next_seq,
        records=head.next_seq - head.first_seq,
        bytes=size_of(copy),
        own_next_seq=head.next_seq if own is None else own.next_seq,
        hash=head.hash.hex(),
        is_same=is_same,
    )


# --- The scratch folder ---------------------------------------------------------------------------------------------


@contextmanager
def _scratch(config: Config) -> Iterator[Config]:
    """The configuration of a box whose data folder is the scratch folder, which is gone afterwards.

    Raises:
        StorageError: it can't be made.
    """
    folder = layout.drill_folder(config)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise StorageError(
            f"{folder} can't be made: {error.strerror}.",
            hint="Look at the data folder's disk and owner.",
            code="drill_failed",
        ) from error
    try:
        yield replace(config, node=replace(config.node, data_dir=folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _check_room(box: DrilledBox) -> None:
    """Refuse what would have the disk so full that the log gives way.

    Raises:
        StorageError: `drill_no_space`.
    """
    config = box.config
    folders = [*box.own.values(), *(layout.replica(config, mate, "catalog") for mate in box.mates)]
    catalog = layout.catalog(config)
    needed = sum(map(size_of, folders)) + CATALOG_COPIES * (catalog.stat().st_size if catalog.exists() else 0)
    disk = os.statvfs(config.node.data_dir)
    total, free = disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize
    room = free - total * (100 - config.log.disk_low_percent) // 100 - DRILL_SPARE_BYTES
    if needed > room:
        raise StorageError(
            f"A drill needs {needed // MIB} MiB for a while, and {max(0, room) // MIB} MiB are to be had before the disk counts as filling up.",
            hint="Make some room, or let others be asked from a larger box.",
            code="drill_no_space",
        )


def size_of(folder: Path) -> int:
    """Bytes of the files in a stream's folder, as they are allocated."""
    total = 0
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:
        return 0
    for entry in entries:
        try:
            total += entry.stat(follow_symlinks=False).st_blocks * 512
        except FileNotFoundError:
            continue  # sealed, and so renamed, meanwhile
    return total
