"""Rules and anomalies in the node: made, fed with where devices belong, and their outbox as the alarm desk asks for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import trio

from appliance.alarms.desk import AlarmDesk
from appliance.alarms.outbox import OutboxRows
from appliance.anomalies.detectors import AnomalyDetectors
from appliance.core import logs
from appliance.core.config import WatchConfig
from appliance.core.errors import HomeportError
from appliance.management.watched import Membership
from appliance.pipeline.head_gate import Position
from appliance.pipeline.pipeline import Pipeline
from appliance.pipeline.rule_set_desk import RuleSetDesk
from appliance.pipeline.store_work import StoreWork
from appliance.pipeline.watch_statistics import WatchState
from appliance.pipeline.watching import Watched
from appliance.rules.evaluator import RuleEvaluator
from appliance.watch.watch import Watch
from storage.catalog import AsyncCatalog, Change
from storage.catalog.membership import TABLES, read_membership
from storage.telemetry.alarm_outbox import AlarmOutbox
from storage.telemetry.store import TelemetryStore

RETRY_S: Final = 5.0
GATHER_S: Final = 1.0
"""So many changes of devices as come within it are read once: an import makes thousands."""

_log = logs.get(__name__)


def make_watch(config: WatchConfig, *, node_id: str = "") -> Watch:
    """The watch with the node's own rules and detectors."""
    return Watch(
        lateness_ms=config.lateness_ms,
        evaluator=partial(RuleEvaluator, lateness_ms=config.lateness_ms),
        detectors=AnomalyDetectors,
        own_id=node_id,
    )


class MembershipKeeper:
    """Tells somebody where devices belong, whenever that changes from when it is made: what changes before `run` is told then."""

    def __init__(self, catalog: AsyncCatalog, tell: Callable[[Membership], None]) -> None:
        self._catalog = catalog
        self._tell = tell
        self._changed = trio.Event()
        self._stop_listening = catalog.subscribe(self._note)

    async def look(self) -> None:
        """Tell it now. Raises Unavailable, StorageError: the catalog can't be read."""
        self._tell(await self._catalog.read(read_membership))

    async def run(self) -> None:
        """Follow the catalog until cancelled."""
        try:
            while True:
                # No deadline: nothing changes for years.
                await self._changed.wait()
                await trio.sleep(GATHER_S)
                self._changed = trio.Event()
                try:
                    await self.look()
                except HomeportError as error:
                    _log.warning("where devices belong was not read", reason=error.message)
                    self._changed.set()
                    await trio.sleep(RETRY_S)
        finally:
            self._stop_listening()

    def _note(self, changes: tuple[Change, ...]) -> None:
        if any(change.table in TABLES for change in changes):
            self._changed.set()


@dataclass(frozen=True, slots=True)
class WatchParts:
    """What the node has of it.

    Attributes:
        rules: Through it rules are changed. watched: For the pipeline; None where the watch is switched off.
    """

    rules: RuleSetDesk
    watched: Watched | None
    keeper: MembershipKeeper | None

    def tell(self, alarms: AlarmDesk, pipeline: Pipeline) -> None:
        """Have what is found taken over by the alarm desk, as soon as it is in the store."""
        if self.watched is not None:
            alarms.outbox = StoreOutbox(pipeline.work)
            alarms.are_rules_caught_up = partial(_are_caught_up, pipeline)
            self.watched.when_found = alarms.wake

    async def run(self) -> None:
        """Until cancelled."""
        if self.keeper is not None:
            await self.keeper.run()


def _are_caught_up(pipeline: Pipeline) -> bool:
    watch = pipeline.statistics().watch
    return watch is None or watch.state is WatchState.UP_TO_DATE


async def open_watch(
    config: WatchConfig,
    catalog: AsyncCatalog,
    head: Callable[[], Position],
    *,
    may_tick: Callable[[], bool],
    node_id: str = "",
) -> WatchParts:
    """With all rules and devices that the catalog has.

    Args:
        head: Of the log, may block. may_tick: As Watched. node_id: This node's.
    Raises:
        StorageError, Unavailable: the catalog can't be read.
    """
    rules = await RuleSetDesk.opened(catalog, head)
    if not config.enabled:
        return WatchParts(rules, None, None)
    watch = make_watch(config, node_id=node_id)
    keeper = MembershipKeeper(catalog, watch.members)
    await keeper.look()
    return WatchParts(rules, Watched(watch=watch, rules=rules.sets, may_tick=may_tick), keeper)


class StoreOutbox:
    """The store's outbox, asked for between two batches.

    Raises LimitExceeded: too much waits for the store already; and as AlarmOutbox.
    """

    def __init__(self, work: StoreWork) -> None:
        self._work = work

    async def read_after(self, store_id: str, number: int, limit: int) -> OutboxRows:
        """As Outbox.read_after."""

        def read(store: TelemetryStore) -> OutboxRows:
            outbox = AlarmOutbox(store)
            found = outbox.store_id()
            return OutboxRows(found, outbox.read_after(number if found == store_id else 0, limit))

        return await self._work.run(read)

    async def forget_through(self, store_id: str, number: int) -> None:
        """As Outbox.forget_through."""

        def forget(store: TelemetryStore) -> None:
            outbox = AlarmOutbox(store)
            if outbox.store_id() == store_id:
                outbox.forget_through(number)

        await self._work.run(forget)
