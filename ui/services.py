"""What pages, API, health and metrics are given: one frozen value, made by the composition root.

Where the concrete class belongs to another room it is named here as a Protocol, so that this room and its tests
need nothing of DuckDB or the broker.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import trio

from appliance.core.clock import Clock
from appliance.core.config import Config
from appliance.identity import Passwords, SetupCode, SiteKeys, TlsIdentity
from broker.bridge.statistics import BridgeStatistics
from storage.catalog import AsyncCatalog
from ui.live.hub import Hub
from ui.sign_in import SignInLimiter

Aggregation = Literal["raw", "mean", "min", "max", "count", "band"]


class DeviceLive(Protocol):
    """What is known of a device now (appliance.pipeline.live.DeviceLive). Times are UTC ms."""

    @property
    def device_id(self) -> str: ...
    @property
    def presence(self) -> str: ...
    @property
    def presence_since_ms(self) -> int | None: ...
    @property
    def presence_reason(self) -> str | None: ...
    @property
    def last_seen_at_ms(self) -> int | None: ...
    @property
    def last_reading_at_ms(self) -> int | None: ...
    @property
    def address(self) -> str | None: ...


class NewestValue(Protocol):
    """The newest value of one metric (appliance.pipeline.live.NewestValue). Times are UTC ms."""

    @property
    def metric(self) -> str: ...
    @property
    def value(self) -> float | int | str | bool | None: ...
    @property
    def observed_at_ms(self) -> int: ...
    @property
    def received_at_ms(self) -> int: ...
    @property
    def quality(self) -> int: ...


class LiveView(Protocol):
    """The newest of everything in memory, read from the event loop without waiting (appliance.pipeline.live.LiveView)."""

    @property
    def message_rate(self) -> float: ...
    def devices(self) -> Mapping[str, DeviceLive]: ...
    def device(self, device_id: str, /) -> DeviceLive | None: ...
    def newest(self, device_id: str, /) -> Mapping[str, NewestValue]: ...


class SeriesData(Protocol):
    """A metric's points in order of time. `min` and `max` are filled for the aggregation `band` only."""

    @property
    def metric(self) -> str: ...
    @property
    def at_ms(self) -> Sequence[int]: ...
    @property
    def value(self) -> Sequence[float | int | str | bool | None]: ...
    @property
    def min(self) -> Sequence[float | None]: ...
    @property
    def max(self) -> Sequence[float | None]: ...
    @property
    def truncated(self) -> bool: ...


class DeadLetter(Protocol):
    """A message that could not be turned into readings (storage.telemetry.DeadLetter)."""

    @property
    def epoch(self) -> int: ...
    @property
    def seq(self) -> int: ...
    @property
    def received_at_ms(self) -> int: ...
    @property
    def device(self) -> str: ...
    @property
    def topic(self) -> str: ...
    @property
    def client_id(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def detail(self) -> str: ...
    @property
    def payload(self) -> bytes | None: ...
    @property
    def payload_bytes(self) -> int: ...


class TelemetryReader(Protocol):
    """Queries of the time-series store (storage.telemetry.TelemetryReader), with its own limiter and time limit."""

    async def query(
        self,
        device: str,
        metrics: Sequence[str],
        from_ms: int,
        to_ms: int,
        *,
        aggregation: Aggregation,
        interval_ms: int | None,
        limit: int,
    ) -> Sequence[SeriesData]: ...
    async def dead_letters(self, limit: int, before: tuple[int, int] | None) -> Sequence[DeadLetter]:
        """The newest first; `before` is the (epoch, seq) of the last one of the page before."""


class PipelineStatistics(Protocol):
    """How far the store is behind the log (appliance.pipeline); further numbers come out as metrics."""

    @property
    def lag_s(self) -> float: ...
    @property
    def lag_p95_s(self) -> float | None: ...
    @property
    def behind_records(self) -> int: ...
    @property
    def rows_total(self) -> int: ...
    @property
    def dead_letters_total(self) -> int: ...
    @property
    def breaker(self) -> str: ...


class PipelineStatus(Protocol):
    """The pipeline, for its numbers (appliance.pipeline.Pipeline)."""

    def statistics(self) -> PipelineStatistics: ...


class BrokerStatus(Protocol):
    """The node's link to the broker process (broker.link.BrokerLink)."""

    @property
    def connected(self) -> bool: ...
    @property
    def statistics(self) -> Mapping[str, Any]: ...
    @property
    def history(self) -> Sequence[tuple[float, Mapping[str, Any]]]:
        """The newest statistics with their monotonic time, seconds, the oldest first; empty while it is away."""

    async def ask(self, question: str, **fields: Any) -> dict[str, Any]:
        """Raises Unavailable, or what the broker says."""

    async def revoke(self, principal: str) -> None: ...
    async def access_changed(self, principal: str) -> None: ...


ReadinessCheck = Callable[[], Awaitable[str]]
"""Returns what is well in a few words; raises HomeportError with what isn't."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """See the module's docstring.

    Attributes:
        version: Of the program.
        started_at_ms: When the node process started, UTC ms.
        scrub: The scrubber's numbers, or None while it is off.
        store: The store's statistics, or None until it is open.
        log_head: Reads the durable head; may block for a moment, so it is called in a thread.
        readiness: By dependency: broker, log, store, catalog, pipeline. ui.health has the usual ones.
        bridge_report: Reads what the bridge process last reported; blocks for a moment, so it is called in a thread.
        stopping: Set when the node drains: streams to pages end then.
        hub: What open pages listen to.
    """

    config: Config
    version: str
    clock: Clock
    started_at_ms: int
    catalog: AsyncCatalog
    live: LiveView
    telemetry: TelemetryReader
    pipeline: PipelineStatus
    log_head: Callable[[], Any]
    broker: BrokerStatus
    keys: SiteKeys
    passwords: Passwords
    setup_code: SetupCode
    sign_in_limiter: SignInLimiter
    tls: TlsIdentity
    readiness: Mapping[str, ReadinessCheck]
    hub: Hub
    store: Callable[[], Any] | None = None
    scrub: Callable[[], Mapping[str, int]] | None = None
    bridge_report: Callable[[], Sequence[BridgeStatistics]] | None = None
    stopping: trio.Event = field(default_factory=trio.Event)

    @property
    def node_name(self) -> str:
        return self.config.node.name

    @property
    def stale_after_ms(self) -> int:
        return self.config.devices.stale_after_s * 1000
