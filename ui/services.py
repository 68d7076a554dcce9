"""What pages, API, health and metrics are given: one frozen value, made by the composition root.

Where the concrete class belongs to another room it is named here as a Protocol, so that this room and its tests
need nothing of DuckDB or the broker.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import trio

from appliance.alarms.desk import AlarmDesk
from appliance.alarms.rule_desk import RuleChanges
from appliance.core.believed_time import BelievedTime
from appliance.core.clock import Clock
from appliance.core.config import Config
from appliance.core.limits import DEVICE_IMPORT_CONCURRENCY_MAX
from appliance.identity import Passwords, SetupCode, SiteKeys, TlsIdentity
from appliance.identity.crl import CrlKeeper
from appliance.identity.issuing import Issuing
from appliance.management.freshness import stale_after_ms
from appliance.management.replication_state import ReplicationState
from appliance.notifications.desk import NotificationDesk
from appliance.pipeline.lag import LagStatistics
from appliance.pipeline.mapping_desk import MappingDesk
from appliance.pipeline.try_out import TryOuts
from appliance.pipeline.watch_statistics import WatchFeedStatistics
from appliance.tracing.desk import TracingDesk
from appliance.twins.room import TwinRoom
from appliance.updates.delivery import FirmwareStatistics
from appliance.updates.desk import Updates
from broker.bridge.statistics import BridgeStatistics
from storage.catalog import AsyncCatalog
from storage.site.statistics import SiteStatistics
from storage.telemetry.sql_box import SqlAnswer
from ui.absent_services import no_fleet, no_replicator, no_shipper, nobody_else
from ui.artifact_desk import ArtifactDesk
from ui.audit_desk import AuditDesk
from ui.backup_desk import BackupDesk
from ui.device_port_numbers import DevicePortNumbers
from ui.drill_desk import DrillDesk
from ui.letters import DeadLetter, LetterGroup
from ui.live.hub import Hub
from ui.live_values import DeviceLive as DeviceLive
from ui.live_values import LiveView as LiveView
from ui.live_values import NewestValue as NewestValue
from ui.people import PeopleServices
from ui.rate_limit import RateLimits
from ui.rate_limit_streams import StreamPlaces
from ui.sign_in import SignInLimiter
from ui.site_reading import SiteReadingDesk
from ui.telemetry_exports import TelemetryExports
from ui.telemetry_file import Columns
from ui.telemetry_question import Aggregation, Source, TopAggregation


class SeriesData(Protocol):
    """A metric's points in order of time. `min` and `max` are filled for the aggregation `band`, `quality` for `raw`, `count` for the
    others."""

    @property
    def device(self) -> str: ...
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
    def count(self) -> Sequence[int]: ...
    @property
    def quality(self) -> Sequence[int]: ...
    @property
    def truncated(self) -> bool: ...
    @property
    def sources(self) -> Sequence[Source]:
        """What was read for the whole answer."""


class TopSeries(Protocol):
    """One of the series with the highest (or lowest) value over a range."""

    @property
    def device(self) -> str: ...
    @property
    def metric(self) -> str: ...
    @property
    def value(self) -> float: ...
    @property
    def count(self) -> int: ...


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
    async def query_many(
        self,
        series: Sequence[tuple[str, str]],
        from_ms: int,
        to_ms: int,
        *,
        aggregation: Aggregation,
        interval_ms: int | None,
        limit_total: int,
    ) -> Sequence[SeriesData]: ...
    async def top(
        self,
        metrics: str,
        aggregation: TopAggregation,
        from_ms: int,
        to_ms: int,
        count: int,
        *,
        lowest: bool,
        devices: Sequence[str] | None,
    ) -> Sequence[TopSeries]: ...
    def stream(
        self, devices: Sequence[str], metrics: Sequence[str], from_ms: int, to_ms: int
    ) -> AsyncIterator[Columns]: ...
    async def dead_letters(self, limit: int, before: tuple[int, int] | None) -> Sequence[DeadLetter]:
        """The newest first; `before` is the (epoch, seq) of the last one of the page before."""

    async def letter_groups(self, limit: int) -> Sequence[LetterGroup]:
        """The group with the newest letter first."""


class SqlQuestions(Protocol):
    """Questions in SQL (storage.telemetry.sql_box.SqlBox), with their own limiter and limits."""

    async def ask(self, text: str) -> SqlAnswer: ...
    def statistics(self) -> Any: ...


class ParquetExports(Protocol):
    """Makes Parquet files of readings (storage.telemetry.parquet_export)."""

    async def write(self, devices: Sequence[str], metrics: Sequence[str], from_ms: int, to_ms: int) -> Path:
        """A file; the caller removes it."""


class PipelineStatistics(Protocol):
    """How far the store is behind the log (appliance.pipeline); further numbers come out as metrics."""

    @property
    def lag_s(self) -> float: ...
    @property
    def lag_p95_s(self) -> float | None: ...
    @property
    def ingestion_lag(self) -> LagStatistics: ...
    @property
    def pipeline_lag(self) -> LagStatistics: ...
    @property
    def behind_records(self) -> int: ...
    @property
    def rows_total(self) -> int: ...
    @property
    def dead_letters_total(self) -> int: ...
    @property
    def dead_letters(self) -> int:
        """Those that are kept, and were not read again with success."""

    @property
    def watch(self) -> WatchFeedStatistics | None:
        """How rules and anomalies keep up; None where they are switched off."""

    @property
    def breaker(self) -> str: ...
    @property
    def state(self) -> str:
        """starting, running, catching_up, rebuilding, waiting or stopped."""

    @property
    def behind_since_ms(self) -> int | None:
        """Arrival of the last record before the first that is not in the store, UTC ms; None while nothing is behind."""

    @property
    def complete_seq(self) -> int:
        """All records of the log before it are in the store."""

    @property
    def doing(self) -> str:
        """What is wrong and what is done about it, in sentences; "" when nothing is."""

    @property
    def backlog(self) -> BacklogStatistics:
        """Older records that follow while new ones are stored."""


class BacklogStatistics(Protocol):
    """How far a backlog has come, in records (appliance.pipeline.backlog)."""

    @property
    def records(self) -> int: ...
    @property
    def total(self) -> int: ...
    @property
    def done(self) -> int: ...
    @property
    def left_s(self) -> float | None: ...


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


class ArchiveKeeper(Protocol):
    """What keeps the archive (appliance.pipeline.keeper.Keeper). Days are counted since 1970-01-01 UTC."""

    def days(self) -> Sequence[Any]:
        """appliance.pipeline.keeper_statistics.DayView of each day, the oldest first."""

    def statistics(self) -> Any:
        """appliance.pipeline.keeper_statistics.KeeperStatistics."""

    @property
    def size(self) -> Any:
        """storage.archive.sizes.StoreSize."""

    def forecast(self, disk_room_bytes: int, /) -> Any:
        """appliance.pipeline.keeper_forecast.Forecast."""

    async def verify(self, day: int, /) -> Sequence[Any]: ...
    async def restore(self, day: int, until_day: int, /) -> int: ...
    def restore_soon(self, day: int, until_day: int, /) -> None: ...


ReadinessCheck = Callable[[], Awaitable[str]]
"""Returns what is well in a few words; raises HomeportError with what isn't."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """See the module's docstring.

    Attributes:
        version: Of the program.
        believed: How late it is as far as can be believed, and whether the clock is.
        started_at_ms: When the node process started, UTC ms.
        keeper: The archive's, or None until there is one.
        scrub: The scrubber's numbers, or None while it is off.
        rooms: Statistics of rooms whose numbers have no metric of their own, by name.
        store: The store's statistics, or None until it is open. replays: Those of dead letters that are read again, likewise.
        log_head: Reads the durable head; may block for a moment, so it is called in a thread.
        readiness: By dependency: broker, log, store, catalog, pipeline. ui.health has the usual ones.
        replication: Asks the replicator how safe this box's data is; None where it belongs to no fleet. Raises where it does not answer.
        site: How far the logs of the site's other boxes are read.
        seal_with: Has the replicator seal what goes to the cloud with a generation of the key. Raises as the replicator says.
        decommission_node: Has the replicator take a node out for good, for a reason. Raises as the replicator says.
        mark_lost: Has it mark records lost (ui/lost_marking.py). Raises likewise, and NotFound where there is no fleet.
        site_reading: On a cloud node, reads at sites; None where nothing is wired.
        bridge_report: Reads what the bridge process last reported; blocks for a moment, so it is called in a thread.
        idempotency_keys_in_use: Hashes of the keys of requests that are being carried out.
        streams: Who has how many live pages open.
        firmware: How firmware gets to devices (appliance.updates.delivery), or None where nothing delivers it.
        device_port: Numbers of the devices' HTTPS port, or None while it is off.
        wake_updates: Tells the engine that somebody changed a rollout.
        updates: Executions, as people and devices see them, or None until there is an engine.
        tracing: Where readings and requests spent their time.
        stopping: Set when the node drains: streams to pages end then.
        hub: What open pages listen to.
        twins: What devices should be and do.
        mappings: By which messages are read, and the way to change it. try_outs: Tries one on what the log has.
        rules: Holds evaluation up while rules are changed. alarms: What moves them.
        notifications: Who is told of alarms, and what came of it.
        imports: Lists of devices that may be read at the same time.
        rule_try_turn: Rules that may be tried at the same time.
        exports: Files of readings that are being made. parquet: Makes those that are Parquet.
    """

    config: Config
    version: str
    clock: Clock
    started_at_ms: int
    believed: BelievedTime
    catalog: AsyncCatalog
    live: LiveView
    telemetry: TelemetryReader
    sql: SqlQuestions
    parquet: ParquetExports
    pipeline: PipelineStatus
    log_head: Callable[[], Any]
    broker: BrokerStatus
    keys: SiteKeys
    issuing: Issuing
    crl: CrlKeeper
    passwords: Passwords
    people: PeopleServices
    setup_code: SetupCode
    sign_in_limiter: SignInLimiter
    audit: AuditDesk
    backups: BackupDesk
    drills: DrillDesk
    artifacts: ArtifactDesk
    rate_limits: RateLimits
    streams: StreamPlaces
    tls: TlsIdentity
    readiness: Mapping[str, ReadinessCheck]
    hub: Hub
    twins: TwinRoom
    mappings: MappingDesk
    rules: RuleChanges
    alarms: AlarmDesk
    notifications: NotificationDesk
    try_outs: TryOuts
    keeper: ArchiveKeeper | None = None
    store: Callable[[], Any] | None = None
    replays: Callable[[], Any] | None = None
    rooms: Mapping[str, Callable[[], Any]] = field(default_factory=dict)
    scrub: Callable[[], Mapping[str, int]] | None = None
    enrolment: Callable[[], Mapping[str, int]] | None = None
    bridge_report: Callable[[], Sequence[BridgeStatistics]] | None = None
    replication: Callable[[], Awaitable[ReplicationState | None]] = no_fleet
    site: Callable[[], SiteStatistics] | None = None
    decommission_node: Callable[[str, str], Awaitable[Mapping[str, Any]]] = no_replicator
    seal_with: Callable[[int], Awaitable[Mapping[str, Any]]] = no_shipper
    mark_lost: Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]] = nobody_else
    site_reading: SiteReadingDesk | None = None
    idempotency_keys_in_use: set[bytes] = field(default_factory=set)
    imports: trio.CapacityLimiter = field(
        default_factory=lambda: trio.CapacityLimiter(DEVICE_IMPORT_CONCURRENCY_MAX)
    )
    rule_try_turn: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(1))
    exports: TelemetryExports = field(default_factory=TelemetryExports)
    device_port: Callable[[], DevicePortNumbers] | None = None
    firmware: Callable[[], FirmwareStatistics] | None = None
    wake_updates: Callable[[], None] = lambda: None
    updates: Updates | None = None
    tracing: TracingDesk = field(default_factory=TracingDesk)
    stopping: trio.Event = field(default_factory=trio.Event)

    @property
    def node_name(self) -> str:
        return self.config.node.name

    @property
    def stale_after_ms(self) -> int:
        """Of a device that doesn't say how often it reports."""
        return self.config.devices.stale_after_s * 1000

    def stale_after_ms_of(self, device_id: str) -> int:
        """From which age on a device's values are stale."""
        return stale_after_ms(self.live.device(device_id).expect_ms, self.stale_after_ms)
