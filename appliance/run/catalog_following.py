"""Takes over what the site's other nodes changed in the catalog, out of the copies of their streams; a box without peers has none of this.

Each batch is a transaction of the catalog that holds no other writer up for longer than CATALOG_CHUNK_MS or so. What follows from it here
is done after it, and once at the start for what a node that ended had not come to: rules and mappings hold from a record of
this node's own log on, and what is to be erased is erased from this node's own store. What fails is tried again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio

from appliance.core import logs
from appliance.core.clock import Clock
from appliance.core.config import Config
from appliance.core.errors import HomeportError
from appliance.core.limits import CATALOG_CHUNK_MS
from appliance.core.limits_catalog_stream import MERGE_RECORD_COUNT_MAX
from appliance.identity import SiteKeys
from appliance.management.audit import Act
from appliance.pipeline.mapping_desk import MappingDesk
from appliance.pipeline.rule_set_desk import RuleSetDesk, position_of
from appliance.run import layout
from storage.catalog import AsyncCatalog, Catalog
from storage.catalog.merging import Applied, Followed
from storage.catalog_stream.following import Batch, CopyReader, read_record
from storage.catalog_stream.histories import newest_history
from storage.fleet.roster_file import RosterWatch, fleet_folder
from storage.log.source import LogSource

LOOK_INTERVAL_S: Final = 2.0
"""How often it is looked which nodes there are."""
POLL_S: Final = 0.2
"""How often a copy that has nothing new is looked at: a look into shared memory."""
RETRY_S: Final = 5.0
TIMEOUT_MS: Final = 30_000
_MERGE: Final = Act(action="catalog.merge")
_FOLLOW: Final = Act(action="catalog.follow")
_ASIDE_COUNT: Final = 200

_log = logs.get(__name__)
Copies = Callable[[], Mapping[str, Path]]
"""By node id: where the copy of its catalog's stream lies. Blocks for some ms at most."""


class CatalogFollowing:
    """Make it, then `run` it.

    Args:
        head: (epoch, next sequence) of the node's log; may block.
        on_twins: Told of devices that are wanted to be otherwise since a batch.
    """

    def __init__(
        self,
        catalog: AsyncCatalog,
        copies: Copies,
        *,
        fleet: Path,
        rules: RuleSetDesk,
        mappings: MappingDesk,
        head: Callable[[], tuple[int, int]],
        clock: Clock,
        on_twins: Callable[[list[str]], object] = lambda device_ids: None,
    ) -> None:
        self._catalog = catalog
        self._on_twins = on_twins
        self._copies = copies
        self._fleet = fleet
        self._rules = rules
        self._mappings = mappings
        self._head = head
        self._clock = clock
        self._readers: dict[str, CopyReader] = {}
        self._followed: dict[str, Followed] = {}
        self._count = 50
        """Records in a batch: as many as there is time for."""
        self._pending: set[str] = set()
        """Tables of which what follows from their changes is still to be done here."""
        self._said: dict[str, str] = {}
        self._applied = self._set_aside = self._anew = self._passed_over = self._failures = 0
        self._lag = 0

    def statistics(self) -> dict[str, Any]:
        """Numbers since the start; zeros where the box has no peers."""
        ahead_ms = max((each.ahead_ms for each in self._followed.values()), default=0)
        return {
            "nodes": len(self._readers),
            "lag_records": self._lag,
            "applied_total": self._applied,
            "set_aside_total": self._set_aside,
            "read_anew_total": self._anew,
            "passed_over_total": self._passed_over,
            "failures_total": self._failures,
            "clock_ahead_ms": ahead_ms,
        }

    async def run(self) -> None:
        """Until cancelled."""
        while not await trio.to_thread.run_sync(self._fleet.is_dir):  # noqa: ASYNC110 - another process makes it
            await trio.sleep(LOOK_INTERVAL_S)
        try:
            while True:
                if await self._done("start", self._begin):
                    break
                await trio.sleep(RETRY_S)
            while True:
                await self._done("roster", self._look)
                until = self._clock.mono_ms() + LOOK_INTERVAL_S * 1_000
                while self._clock.mono_ms() < until:
                    if not await self.follow_once():
                        await trio.sleep(POLL_S)
        finally:
            with trio.CancelScope(shield=True):
                for reader in self._readers.values():
                    await trio.to_thread.run_sync(reader.close)

    async def follow_once(self) -> bool:
        """A batch of each node's; whether any had something."""
        found = False
        lag = 0
        for node_id, reader in self._readers.items():
            batch = await self._done(node_id, partial(self._read, reader), nothing=None)
            if isinstance(batch, Batch):
                found |= bool(await self._done(node_id, partial(self._apply, batch)))
            lag += await self._done(node_id, partial(self._lag_of, reader), nothing=0) or 0
        self._lag = lag
        if self._pending:
            await self._done("what follows", self._follow_up)
        return found

    # --- One step ------------------------------------------------------------------------------------------

    async def _done(self, what: str, step: Callable[[], Any], *, nothing: Any = False) -> Any:
        """Do a step; what fails is said once, and `nothing` comes of it."""
        try:
            result = await step()
        except HomeportError as error:
            self._failures += 1
            if self._said.get(what) != error.message:
                _log.warning("changes of another node wait", what=what, reason=error.message, hint=error.hint)
            self._said[what] = error.message
            return nothing
        self._said.pop(what, None)
        return result

    async def _begin(self) -> bool:
        await self._retry_set_aside()
        self._followed = {
            each.node_id: each
            for each in await self._catalog.read(lambda reader: reader.list_followed(), pool="pipeline")
        }
        self._pending = {"rules", "mappings", "erasures"} if self._followed else set()
        await self._look()
        return True

    async def _look(self) -> bool:
        copies = await trio.to_thread.run_sync(self._copies)
        for node_id, directory in copies.items():
            reader = self._readers.get(node_id)
            if reader is not None and reader.directory != directory:
                if await self._lag_of(reader):
                    continue  # What its other body changed counts as well: that is taken over first.
                await trio.to_thread.run_sync(reader.close)
            if reader is None or reader.directory != directory:
                self._readers[node_id] = CopyReader(node_id, directory)
        return True

    async def _lag_of(self, reader: CopyReader) -> int:
        return await trio.to_thread.run_sync(reader.lag, self._followed.get(reader.node_id))

    async def _read(self, reader: CopyReader) -> Batch | None:
        return await trio.to_thread.run_sync(
            partial(reader.read, self._followed.get(reader.node_id), limit=self._count)
        )

    async def _apply(self, batch: Batch) -> bool:
        if batch.is_anew:
            self._anew += 1
            _log.warning(
                "another node's catalog is read from the beginning: its log is another one",
                node=batch.stream.node_id,
            )
        if batch.passed_over:
            self._passed_over += batch.passed_over
            _log.error(
                "changes of another node are gone", node=batch.stream.node_id, records=batch.passed_over
            )
        began_ms = self._clock.mono_ms()

        def write(catalog: Catalog) -> tuple[Applied, Followed | None]:
            applied = catalog.apply_records(batch.stream, batch.records)
            return applied, catalog.find_followed(batch.stream.node_id)

        applied, followed = await self._catalog.write(write, by=_MERGE, timeout_ms=TIMEOUT_MS)
        took_ms = max(1, self._clock.mono_ms() - began_ms)
        self._count = max(
            1, min(MERGE_RECORD_COUNT_MAX, 2 * self._count, self._count * CATALOG_CHUNK_MS // took_ms)
        )
        assert followed is not None
        self._followed[followed.node_id] = followed
        self._applied += applied.records
        self._set_aside += applied.set_aside
        if twins := applied.changed.get("twins"):
            # A twin's id is its device's, and the name of the twin behind a slash.
            self._on_twins(sorted({twin_id.partition("/")[0] for twin_id in twins}))
        self._pending |= applied.changed.keys() & {"rules", "mappings", "erasures"}
        return True

    # --- What follows from it ------------------------------------------------------------------------------

    async def _follow_up(self) -> bool:
        if "rules" in self._pending:
            async with self._rules.changing() as position:
                await self._catalog.write(lambda catalog: catalog.follow_rules(position), by=_FOLLOW)
            self._pending.discard("rules")
        if "mappings" in self._pending:
            async with self._mappings.changing() as record:
                await self._catalog.write(record, by=_FOLLOW)
            self._pending.discard("mappings")
        if "erasures" in self._pending:
            epoch, before_seq = await trio.to_thread.run_sync(self._head)
            await self._catalog.write(
                lambda catalog: catalog.follow_erasures(epoch=epoch, before_seq=before_seq), by=_FOLLOW
            )
            self._pending.discard("erasures")
        return True

    async def _retry_set_aside(self) -> None:
        """What waited for an upgrade is tried again once at each start."""
        after: tuple[str, int, int] = ("", 0, 0)
        while True:
            last = after

            def retry(catalog: Catalog, last: tuple[str, int, int] = last) -> tuple[str, int, int] | None:
                waiting = catalog.list_set_aside(after=last, limit=_ASIDE_COUNT)
                catalog.retry_set_aside(
                    [(each, read_record(each.seq, each.payload, each.node_id)) for each in waiting]
                )
                return (waiting[-1].node_id, waiting[-1].epoch, waiting[-1].seq) if waiting else None

            found = await self._catalog.write(retry, by=_MERGE, timeout_ms=TIMEOUT_MS)
            if found is None:
                return
            after = found


def make_catalog_following(
    config: Config,
    catalog: AsyncCatalog,
    keys: SiteKeys,
    rules: RuleSetDesk,
    mappings: MappingDesk,
    reader: LogSource,
    clock: Clock,
    *,
    on_twins: Callable[[list[str]], object],
) -> CatalogFollowing:
    """The node's.

    Args:
        reader: Of the log that readings come from; its head is where what follows begins to hold.
        on_twins: Told of devices that are wanted to be otherwise.
    """
    node_id = keys.node_id.hex()
    watch = RosterWatch(config.node.data_dir)

    def copies() -> Mapping[str, Path]:
        watch.look()
        roster = watch.roster
        site_id = roster.site_of(node_id) if roster is not None else None
        if roster is None or site_id is None:
            return {}
        found = {}
        for node in roster:
            # Those that were taken out for good as well: what they had changed counts. Of this node's own what another body of it changed.
            if node.site_id == site_id:
                copy = layout.replica(config, node.node_id, "catalog")
                newest = newest_history(copy, with_whole=node.node_id != node_id)
                if newest is not None or node.node_id != node_id:
                    found[node.node_id] = newest or copy
        return found

    return CatalogFollowing(
        catalog,
        copies,
        fleet=fleet_folder(config.node.data_dir),
        rules=rules,
        mappings=mappings,
        head=lambda: position_of(reader.head()),
        clock=clock,
        on_twins=on_twins,
    )
