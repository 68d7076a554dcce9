"""The Overview's numbers, put together at most once a second however many pages are open."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import trio

from appliance.core.clock_state import clock_state
from appliance.core.limits import OVERVIEW_CACHE_MS, OVERVIEW_SCOPE_COUNT_MAX
from appliance.management.alarms import UNACKNOWLEDGED
from appliance.management.permissions import Scope
from storage.catalog import Catalog
from storage.catalog.alarm_lists import AlarmCounts
from storage.catalog.on_call_reach import reaches_anybody
from ui.bridges import bridges
from ui.pages.alarm_attention import NAMED_COUNT, alarm_attention
from ui.pages.alarm_facts import unacknowledged_by_severity, views_of
from ui.pages.alarm_views import AlarmView
from ui.pages.artifact_attention import artifact_attention
from ui.pages.audit_attention import audit_attention
from ui.pages.backup_attention import backup_attention
from ui.pages.bridge_facts import attention_to
from ui.pages.catalog_attention import catalog_attention
from ui.pages.certificate_attention import certificate_attention
from ui.pages.clock_attention import clock_attention
from ui.pages.device_list import WRONG_CLOCK, DeviceCounts, read_counts
from ui.pages.disk_attention import disk_attention
from ui.pages.first_run_progress import kit_attention, setup_attention
from ui.pages.format import duration_text, plural
from ui.pages.looks import BROKER, CLOCK, PRESENCE, REGISTRY, STORE
from ui.pages.sites_facts import copies_of, sites_attention
from ui.pages.storage_attention import storage_attention
from ui.pages.telemetry_facts import how_far_behind
from ui.pages.telling_attention import telling_attention
from ui.pages.update_attention import update_attention
from ui.pages.update_facts import UpdateFacts
from ui.pages.views import Attention, OverviewView, StateCount
from ui.pages.watch_attention import watch_attention
from ui.replication import replication
from ui.services import PipelineStatistics, Services
from ui.store_words import store_state, store_text


class OverviewFacts:
    """Asks everybody once and keeps the answer for OVERVIEW_CACHE_MS, one for each scope that somebody looks with."""

    def __init__(self, services: Services, updates: UpdateFacts) -> None:
        self._services = services
        self._updates = updates
        self._counts: dict[Scope, _Kept] = {}
        self._views: dict[Scope, _Kept] = {}
        self._started_mono_ms = services.clock.mono_ms()

    async def get(self, scope: Scope) -> OverviewView:
        """The newest view, with the devices of a scope.

        Raises:
            Unavailable: the catalog did not answer in time.
        """
        view: OverviewView = await self._kept(self._views, scope, self._make).get()
        return view

    async def counts(self, scope: Scope) -> DeviceCounts:
        """Devices of a scope by state; raises as `get` does."""
        counts: DeviceCounts = await self._kept(self._counts, scope, self._read_counts).get()
        return counts

    def _kept(self, kept: dict[Scope, _Kept], scope: Scope, make: Callable[[Scope], Awaitable[Any]]) -> _Kept:
        found = kept.get(scope)
        if found is None:
            if len(kept) >= OVERVIEW_SCOPE_COUNT_MAX:
                del kept[next(iter(kept))]
            found = kept[scope] = _Kept(self._services, lambda: make(scope))
        return found

    async def _read_counts(self, scope: Scope) -> DeviceCounts:
        return await read_counts(self._services.catalog, self._services.live.devices(), scope=scope)

    async def _make(self, scope: Scope) -> OverviewView:
        services = self._services
        counts = await self.counts(scope)
        updates = await self._updates.get(scope)
        alarms, alarm_counts = await services.catalog.read(lambda catalog: _alarms(catalog, scope))
        pipeline = services.pipeline.statistics()
        broker = services.broker.statistics if services.broker.connected else None
        free_bytes, total_bytes = await trio.to_thread.run_sync(_disk, services.config.node.data_dir)
        clock_word = clock_state()
        store_word = store_state(pipeline)
        tiles = [
            StateCount(look=look, count=counts.of(word), url=f"/devices?state={word}")
            for word, look in PRESENCE.items()
        ]
        waiting = counts.of("waiting")
        tiles.append(StateCount(look=REGISTRY["waiting"], count=waiting, url="/devices"))
        head = await trio.to_thread.run_sync(services.log_head)
        sealed_bytes = _number(broker, "log", "sealed_bytes") if broker else None
        copies = copies_of(await replication(services))
        return OverviewView(
            counts=tuple(tiles),
            attention=alarm_attention(alarms, unacknowledged_by_severity(alarm_counts))
            + attention(
                counts=counts,
                store_word=store_word,
                pipeline=pipeline,
                broker_connected=broker is not None,
                clock_word=clock_word,
                free_bytes=free_bytes,
                total_bytes=total_bytes,
                disk_lines=disk_attention(broker, services.scrub() if services.scrub is not None else None)
                + catalog_attention(services.catalog)
                + audit_attention(services.audit),
                is_whole_site=scope is None,
                common_clock_offset_ms=services.live.common_clock_offset_ms(),
            )
            + clock_attention(services.believed, services.clock)
            + update_attention(updates, services.clock.now_ms())
            + (await self._of_the_site() if scope is None else ()),
            rollouts=updates.under_way(),
            message_rate=services.live.message_rate,
            lag_p95_ms=None if pipeline.lag_p95_s is None else round(pipeline.lag_p95_s * 1_000),
            store_look=STORE[store_word],
            store_text=store_text(store_word, pipeline.behind_records),
            rows_total=pipeline.rows_total,
            dead_letters=pipeline.dead_letters,
            broker_look=BROKER["serving" if broker is not None else "away"],
            connections=_number(broker, "plane", "connections") if broker else None,
            log_bytes=None if sealed_bytes is None else sealed_bytes + head.offset,
            log_next_seq=head.next_seq,
            disk_free_bytes=free_bytes,
            disk_total_bytes=total_bytes,
            clock_look=CLOCK[clock_word],
            copies_look=copies[0],
            copies_text=copies[1],
            uptime_ms=services.clock.mono_ms() - self._started_mono_ms,
        )

    async def _of_the_site(self) -> tuple[Attention, ...]:
        services = self._services
        is_anybody_told = await services.catalog.read(lambda catalog: reaches_anybody(catalog, "P1"))
        return (
            telling_attention(is_anybody_told=is_anybody_told)
            + sites_attention(await replication(services))
            + attention_to(await bridges(services))
            + await storage_attention(services)
            + await setup_attention(services.catalog, services.config.node.data_dir)
            + await kit_attention(services.config.node.data_dir)
            + await certificate_attention(services)
            + artifact_attention(services.artifacts.statistics(), services.artifacts.store.room.quota_bytes)
            + backup_attention(
                services.backups.statistics(),
                now_ms=services.clock.now_ms(),
                interval_hours=services.config.backup.interval_hours,
            )
        )


class _Kept:
    """An answer kept for OVERVIEW_CACHE_MS; pages that ask at once get one answer."""

    def __init__(self, services: Services, make: Any) -> None:
        self._clock = services.clock
        self._make = make
        self._value: Any = None
        self._made_at_mono_ms: int | None = None
        self._lock = trio.Lock()

    async def get(self) -> Any:
        async with self._lock:
            now_ms = self._clock.mono_ms()
            if self._made_at_mono_ms is None or now_ms - self._made_at_mono_ms >= OVERVIEW_CACHE_MS:
                self._value = await self._make()
                self._made_at_mono_ms = now_ms
            return self._value


def attention(
    *,
    counts: DeviceCounts,
    store_word: str,
    pipeline: PipelineStatistics,
    broker_connected: bool,
    clock_word: str,
    free_bytes: int,
    total_bytes: int,
    disk_lines: tuple[Attention, ...] = (),
    is_whole_site: bool = True,
    common_clock_offset_ms: int | None = None,
) -> tuple[Attention, ...]:
    """What an operator has to look at, worst first; empty when there is nothing.

    Args:
        disk_lines: What the log's disk, the catalog and the audit ask for (disk_, catalog_ and audit_attention).
        common_clock_offset_ms: What most devices' clocks are off by, if it is the same for all: our own clock's error.
        is_whole_site: Whether whoever looks may see what belongs to no device of theirs.
    """
    lines: list[Attention] = []
    if not broker_connected:
        lines.append(
            Attention(
                tone="bad", text="The broker is away: devices can't deliver. It is being started again."
            )
        )
    if store_word in ("open", "half_open", "behind"):
        text = how_far_behind(store_word, pipeline)
        # Names the store's file and the system's words.
        doing = pipeline.doing if is_whole_site else ""
        lines.append(
            Attention(
                tone="bad" if store_word == "open" else "warn",
                text=f"{text}. Devices notice nothing. {doing}".strip(),
            )
        )
    lines += watch_attention(pipeline.watch, is_whole_site=is_whole_site)
    lines += disk_lines
    if total_bytes and free_bytes * 20 < total_bytes:
        lines.append(
            Attention(tone="bad", text=f"The disk is nearly full: {free_bytes * 100 // total_bytes} % free.")
        )
    if lost := counts.of("lost"):
        lines.append(
            Attention(
                tone="bad",
                text=f"{plural(lost, 'device is', 'devices are')} lost.",
                url="/devices?state=lost",
                action="Show them",
            )
        )
    if waiting := counts.of("waiting"):
        lines.append(
            Attention(
                tone="warn",
                text=f"{plural(waiting, 'device waits', 'devices wait')} for adoption.",
                url="/devices",
                action="Decide",
                needs="devices.operate",
            )
        )
    if pipeline.dead_letters and is_whole_site:
        lines.append(
            Attention(
                tone="warn",
                text=f"{plural(pipeline.dead_letters, 'message', 'messages')} could not be turned into readings.",
                url="/dead-letters",
                action="Look at them",
                needs="dead_letters.read",
            )
        )
    if wrong := counts.of(WRONG_CLOCK):
        lines.append(
            Attention(
                tone="warn",
                text=f"{plural(wrong, 'device has', 'devices have')} a clock that is wrong: their readings are uncertain.",
                url=f"/devices?state={WRONG_CLOCK}",
                action="Show them",
            )
        )
    if common_clock_offset_ms is not None:
        lines.append(
            Attention(
                tone="warn",
                text=f"Most devices' clocks are about {duration_text(abs(common_clock_offset_ms))}"
                f" {'ahead of' if common_clock_offset_ms > 0 else 'behind'} this box's: is its own clock right?",
            )
        )
    if clock_word == "unsynchronized":
        lines.append(
            Attention(
                tone="warn",
                text="This box's clock is not synchronized: times of arrival may be wrong, and lag and devices' clocks are judged by them.",
            )
        )
    return tuple(lines)


def _alarms(catalog: Catalog, scope: Scope) -> tuple[tuple[AlarmView, ...], AlarmCounts]:
    found = catalog.list_alarms(
        states=sorted(UNACKNOWLEDGED), is_set_aside=False, scope=scope, limit=NAMED_COUNT
    )
    return views_of(catalog, found.alarms, scope), catalog.alarm_counts(scope=scope)


def _number(statistics: Mapping[str, Any], *path: str) -> int | None:
    value: Any = statistics
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, int) else None


def _disk(path: Path) -> tuple[int, int]:
    usage = shutil.disk_usage(path)
    return usage.free, usage.total
