"""Alarms for tests: rules in a catalog, transitions, an outbox in memory, a desk over a real catalog."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from appliance.alarms.book import AlarmBook, OnMoves, nobody
from appliance.alarms.desk import AlarmDesk
from appliance.alarms.outbox import OutboxRows
from appliance.core.clock import ManualClock
from appliance.core.errors import HomeportError
from appliance.management.alarm import Alarm, alarm_id_of
from appliance.management.rule import RuleDefinition, RuleScope, Severity, to_json
from appliance.management.rule_conditions import AnyCondition, MissingFraction, NoData, NodeWatch, Threshold
from appliance.management.rule_transition import AlarmKey, Transition
from storage.catalog import AsyncCatalog
from storage.catalog.catalog import Catalog
from tests.acts import ACT

NOW_MS = 1_772_000_000_000
MINUTE_MS = 60_000
FLAP_MS = 10 * MINUTE_MS
WAIT_MS = 90_000
EVERYTHING = RuleScope(all=True)
TOO_HOT = Threshold(is_="above", limit=80.0)


def definition(
    condition: AnyCondition = TOO_HOT,
    *,
    severity: Severity = "P2",
    scope: RuleScope | None = None,
    on_delay_s: float = 0.0,
) -> RuleDefinition:
    if scope is None:
        scope = RuleScope() if isinstance(condition, NodeWatch) else EVERYTHING
    metric = "temperature" if isinstance(condition, Threshold) else ""
    return RuleDefinition(
        severity=severity, scope=scope, metric=metric, condition=condition, on_delay_s=on_delay_s
    )


SILENT = definition(NoData(expected_s=60))
SITE_SILENT = definition(MissingFraction(expected_s=60), severity="P1")
BROKER_DOWN = definition(NodeWatch(what="broker"), severity="P1")


def put_rule(
    catalog: Catalog,
    rule_id: str = "hot",
    what: RuleDefinition | None = None,
    *,
    version: int = 1,
    is_enabled: bool = True,
    at_ms: int = NOW_MS,
) -> None:
    """A rule as it is now; the row alone, without its versions. Within a transaction."""
    catalog.execute("DELETE FROM rules WHERE rule_id = ?", (rule_id,))
    catalog.execute(
        "INSERT INTO rules (rule_id, name, version, definition, is_enabled, created_by, created_at_ms, updated_at_ms, origin, hlc) "
        "VALUES (?, ?, ?, ?, ?, 'anna', ?, ?, ?, ?)",
        (
            rule_id,
            f"Rule {rule_id}",
            version,
            to_json(what or definition()),
            is_enabled,
            at_ms,
            at_ms,
            catalog.origin,
            catalog.hlc,
        ),
    )


def found(
    device_id: str = "press-1",
    rule_id: str = "hot",
    *,
    is_raised: bool = True,
    at_ms: int = NOW_MS,
    version: int = 1,
    group_id: str = "",
    series: str = "temperature",
    seq: int = 10,
    text: str = "81.5 °C above 80 °C",
    **more: Any,
) -> Transition:
    return Transition(
        key=AlarmKey(rule_id, device_id, group_id, series),
        rule_version=version,
        is_raised=is_raised,
        at_ms=at_ms,
        value=81.5,
        explanation={"text": text, **more},
        epoch=1,
        seq=seq,
    )


def id_of(
    device_id: str = "press-1", rule_id: str = "hot", group_id: str = "", series: str = "temperature"
) -> str:
    return alarm_id_of(AlarmKey(rule_id, device_id, group_id, series))


@dataclass
class MemoryOutbox:
    """As the store's, in memory."""

    store_id: str = "s1"
    rows: list[tuple[int, Transition]] = field(default_factory=list)
    failure: HomeportError | None = None
    forgets: bool = True
    last: int = 0

    def put(self, *transitions: Transition) -> None:
        for each in transitions:
            self.last += 1
            self.rows.append((self.last, each))

    def begin_anew(self, store_id: str) -> None:
        self.store_id, self.rows, self.last = store_id, [], 0

    async def read_after(self, store_id: str, number: int, limit: int) -> OutboxRows:
        if self.failure is not None:
            raise self.failure
        after = number if store_id == self.store_id else 0
        return OutboxRows(self.store_id, [row for row in self.rows if row[0] > after][:limit])

    async def forget_through(self, store_id: str, number: int) -> None:
        if self.forgets and store_id == self.store_id:
            self.rows = [row for row in self.rows if row[0] > number]


@dataclass
class Site:
    """A desk over a catalog, with a clock turned by hand."""

    catalog: AsyncCatalog
    clock: ManualClock
    desk: AlarmDesk
    outbox: MemoryOutbox

    async def rule(self, rule_id: str = "hot", what: RuleDefinition | None = None, **more: Any) -> None:
        await self.catalog.write(
            lambda catalog: put_rule(catalog, rule_id, what, at_ms=self.clock.now_ms(), **more), by=ACT
        )

    async def device(self, device_id: str, *, groups: Sequence[str] = (), tags: Sequence[str] = ()) -> None:
        def write(catalog: Catalog) -> None:
            for group in groups:
                if not catalog.row("SELECT 1 FROM groups WHERE group_id = ?", (group,)):
                    catalog.add_group(group)
            catalog.add_device(device_id, tags=tuple(tags))
            if groups:
                catalog.execute(
                    "UPDATE devices SET groups = ?, origin = ?, hlc = ? WHERE device_id = ?",
                    (json.dumps(list(groups)), catalog.origin, catalog.hlc, device_id),
                )

        await self.catalog.write(write, by=ACT)

    async def find(self, *transitions: Transition) -> None:
        """Rules find this; the desk has worked it all off."""
        self.outbox.put(*transitions)
        self.desk.wake()
        await self.desk.settle()

    async def pass_time(self, ms: int) -> None:
        self.clock.advance(ms)
        await self.desk.settle()

    async def alarm(self, device_id: str = "press-1", rule_id: str = "hot", **more: Any) -> Alarm:
        wanted = id_of(device_id, rule_id, **more)
        return await self.catalog.read(lambda catalog: catalog.get_alarm(wanted))

    async def events(self, device_id: str = "press-1", rule_id: str = "hot", **more: Any) -> list[str]:
        wanted = id_of(device_id, rule_id, **more)
        rows = await self.catalog.read(lambda catalog: catalog.alarm_events(wanted, limit=1_000))
        return [row.event for row in rows]


@asynccontextmanager
async def a_site(folder: Path, *, on_moves: OnMoves = nobody) -> AsyncIterator[Site]:
    """A desk with the rule `hot`."""
    clock = ManualClock(NOW_MS)
    async with AsyncCatalog.opened(folder / "catalog.db", clock=clock, node_id=b"n" * 16) as catalog:
        book = AlarmBook(clock=clock, flap_ms=FLAP_MS, wait_ms=WAIT_MS, on_moves=on_moves)
        outbox = MemoryOutbox()
        desk = AlarmDesk(catalog, book, clock=clock, outbox=outbox)
        site = Site(catalog, clock, desk, outbox)
        await site.rule()
        await desk.load()
        await desk.settle()
        yield site
