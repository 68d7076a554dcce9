"""The Overview's numbers, put together at most once a second however many pages are open."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import trio

from appliance.core.limits import OVERVIEW_CACHE_MS
from ui.bridges import bridges
from ui.pages.bridge_facts import attention_to
from ui.pages.clock_state import clock_state
from ui.pages.device_list import DeviceCounts, read_counts
from ui.pages.disk_attention import disk_attention
from ui.pages.format import count_text, plural
from ui.pages.looks import BROKER, CLOCK, PRESENCE, REGISTRY, STORE
from ui.pages.views import Attention, OverviewView, StateCount
from ui.services import PipelineStatistics, Services

BEHIND_LAG_S: Final = 5.0
"""Beyond this the page says that the store is behind: the bound that the platform's review asks for."""


class OverviewFacts:
    """Asks everybody once and keeps the answer for OVERVIEW_CACHE_MS."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._counts = _Kept(services, self._read_counts)
        self._view = _Kept(services, self._make)
        self._started_mono_ms = services.clock.mono_ms()

    async def get(self) -> OverviewView:
        """The newest view.

        Raises:
            Unavailable: the catalog did not answer in time.
        """
        view: OverviewView = await self._view.get()
        return view

    async def counts(self) -> DeviceCounts:
        """Devices by state; raises as `get` does."""
        counts: DeviceCounts = await self._counts.get()
        return counts

    async def _read_counts(self) -> DeviceCounts:
        return await read_counts(self._services.catalog, self._services.live.devices())

    async def _make(self) -> OverviewView:
        services = self._services
        counts = await self.counts()
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
        return OverviewView(
            counts=tuple(tiles),
            attention=attention(
                counts=counts,
                store_word=store_word,
                pipeline=pipeline,
                broker_connected=broker is not None,
                clock_word=clock_word,
                free_bytes=free_bytes,
                total_bytes=total_bytes,
                disk_lines=disk_attention(broker, services.scrub() if services.scrub is not None else None),
            )
            + attention_to(await bridges(services)),
            message_rate=services.live.message_rate,
            lag_p95_ms=None if pipeline.lag_p95_s is None else round(pipeline.lag_p95_s * 1_000),
            store_look=STORE[store_word],
            store_text=store_text(store_word, pipeline.behind_records),
            rows_total=pipeline.rows_total,
            dead_letters_total=pipeline.dead_letters_total,
            broker_look=BROKER["serving" if broker is not None else "away"],
            connections=_number(broker, "plane", "connections") if broker else None,
            log_bytes=None if sealed_bytes is None else sealed_bytes + head.offset,
            log_next_seq=head.next_seq,
            disk_free_bytes=free_bytes,
            disk_total_bytes=total_bytes,
            clock_look=CLOCK[clock_word],
            uptime_ms=services.clock.mono_ms() - self._started_mono_ms,
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


def store_state(pipeline: PipelineStatistics) -> str:
    """A key of looks.STORE: the breaker's state, or "behind" with a closed one."""
    breaker = str(pipeline.breaker)
    if breaker != "closed":
        return breaker
    return "behind" if (pipeline.lag_p95_s or 0.0) > BEHIND_LAG_S else "closed"


def store_text(store_word: str, behind_records: int) -> str:
    """What the operator is to know about the readings: above all that they are safe."""
    if store_word == "closed":
        return "up to date"
    return f"readings are safe, not yet searchable, {count_text(behind_records)} behind"


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
) -> tuple[Attention, ...]:
    """What an operator has to look at, worst first; empty when there is nothing.

    Args:
        disk_lines: What the log's disk asks for (disk_attention).
    """
    lines: list[Attention] = []
    if not broker_connected:
        lines.append(
            Attention(
                tone="bad", text="The broker is away: devices can't deliver. It is being started again."
            )
        )
    if store_word in ("open", "half_open", "behind"):
        text = store_text(store_word, pipeline.behind_records)
        lines.append(
            Attention(
                tone="bad" if store_word == "open" else "warn",
                text=f"{text[0].upper()}{text[1:]}. Devices notice nothing.",
            )
        )
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
            )
        )
    if pipeline.dead_letters_total:
        lines.append(
            Attention(
                tone="warn",
                text=f"{plural(pipeline.dead_letters_total, 'message', 'messages')} could not be turned into readings.",
                url="/dead-letters",
                action="Look at them",
            )
        )
    if clock_word == "unsynchronized":
        lines.append(
            Attention(
                tone="warn", text="This box's clock is not synchronized: times of arrival may be wrong."
            )
        )
    return tuple(lines)


def _number(statistics: Mapping[str, Any], *path: str) -> int | None:
    value: Any = statistics
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, int) else None


def _disk(path: Path) -> tuple[int, int]:
    usage = shutil.disk_usage(path)
    return usage.free, usage.total
