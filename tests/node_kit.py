"""A node's services for tests: real catalog, keys, passwords and limiter; a stand-in for what needs a broker or DuckDB."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import argon2
import httpx
import numpy as np
from starlette.types import ASGIApp

from appliance.alarms.book import AlarmBook
from appliance.alarms.desk import AlarmDesk
from appliance.core.arrays import F64, I64, U8
from appliance.core.believed_time import BelievedTime
from appliance.core.clock import ManualClock
from appliance.core.config import Config, NodeConfig
from appliance.core.errors import HomeportError, Unavailable
from appliance.device_requests.listeners import Listeners
from appliance.identity import Passwords, SetupCode, SiteKeys, tls
from appliance.management.firmware_report import FirmwareReport
from appliance.management.mapping import DEFAULT_MAPPINGS
from appliance.management.mapping_history import MappingHistory, MappingSet
from appliance.management.readings import ValueKind
from appliance.pipeline.backlog import BacklogStatistics
from appliance.pipeline.kept_messages import KeptMessages
from appliance.pipeline.lag import LagStatistics, LagWindow
from appliance.pipeline.mapping_desk import MappingDesk
from appliance.pipeline.mapping_sets import MappingSets
from appliance.pipeline.try_out import TryOuts
from appliance.pipeline.watch_statistics import WatchFeedStatistics
from appliance.run.artifacts_wiring import open_desk as open_artifacts
from appliance.run.drilling_wiring import make_drills
from appliance.run.notifications_wiring import make_notifications
from appliance.twins.room import TwinRoom
from storage.catalog import AsyncCatalog
from storage.log.reader import LogReader
from storage.telemetry.sql_box import SqlAnswer, SqlStatistics
from tests.acts import ACT
from tests.broker_stand_in import STATISTICS, AnsweringBroker
from tests.ca_kit import certificate_services
from tests.keeper_stand_in import Keeper
from tests.letter_kit import grouped
from tests.watch_numbers import UP_TO_DATE
from ui.app import create_app
from ui.audit_desk import AuditDesk
from ui.auth import LocalTrust
from ui.backup_desk import BackupDesk
from ui.live.hub import Hub
from ui.people import PeopleServices
from ui.rate_limit import RateLimits
from ui.rate_limit_streams import StreamPlaces
from ui.services import Services
from ui.sign_in import SignInLimiter
from ui.telemetry_question import Aggregation, Source, TopAggregation

NOW_MS = 1_772_000_000_000
PASSWORD = "a quiet sentence about tea"
QUICK = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
BASE = "https://box.test"
NO_SET = MappingSet(number=0, epoch=0, from_seq=1, mappings=DEFAULT_MAPPINGS)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveDevice:
    device_id: str
    presence: str = "online"
    presence_since_ms: int | None = NOW_MS - 60_000
    presence_reason: str | None = None
    last_seen_at_ms: int | None = NOW_MS - 1_000
    last_reading_at_ms: int | None = NOW_MS - 2_000
    address: str | None = "10.0.0.5"
    watermark_at_ms: int | None = None
    watermark_received_at_ms: int | None = None
    expect_ms: int | None = None
    clock_offset_ms: int | None = None
    firmware: FirmwareReport | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    metric: str
    value: float | int | str | bool | None
    observed_at_ms: int = NOW_MS - 3_000
    received_at_ms: int = NOW_MS - 2_000
    quality: int = 0
    is_kept_copy: bool = False

    @property
    def counts_at_ms(self) -> int | None:
        return None if self.is_kept_copy else self.received_at_ms


@dataclass
class Live:
    by_id: dict[str, LiveDevice] = field(default_factory=dict)
    values: dict[str, dict[str, Value]] = field(default_factory=dict)
    message_rate: float = 12.5
    common_offset_ms: int | None = None

    def common_clock_offset_ms(self) -> int | None:
        return self.common_offset_ms

    def devices(self) -> Mapping[str, LiveDevice]:
        return self.by_id

    def device(self, device_id: str, /) -> LiveDevice:
        return self.by_id.get(device_id) or LiveDevice(
            device_id=device_id,
            presence="never_seen",
            presence_since_ms=None,
            last_seen_at_ms=None,
            last_reading_at_ms=None,
            address=None,
        )

    def newest(self, device_id: str, /) -> Mapping[str, Value]:
        return self.values.get(device_id, {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    device: str = ""
    metric: str
    at_ms: Sequence[int] = ()
    value: Sequence[float | int | str | bool | None] = ()
    min: Sequence[float | None] = ()
    max: Sequence[float | None] = ()
    count: Sequence[int] = ()
    quality: Sequence[int] = ()
    truncated: bool = False
    sources: Sequence[Source] = ()


@dataclass(frozen=True, slots=True)
class TopEntry:
    device: str
    metric: str
    value: float
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    device: str
    metric: str
    at_ms: I64
    kind: U8
    number: F64
    text: Any
    quality: U8


def columns_of(
    device: str,
    metric: str,
    at_ms: Sequence[int],
    values: Sequence[float | str | bool],
    quality: Sequence[int] = (),
) -> Columns:
    """Readings of one metric as the store's reader has them; of good quality if not said otherwise."""
    kinds = [
        ValueKind.TEXT
        if isinstance(v, str)
        else ValueKind.BOOLEAN
        if isinstance(v, bool)
        else ValueKind.NUMBER
        for v in values
    ]
    return Columns(
        device=device,
        metric=metric,
        at_ms=np.array(at_ms, np.int64),
        kind=np.array(kinds, np.uint8),
        number=np.array([0.0 if isinstance(v, str) else float(v) for v in values]),
        text=np.array([v if isinstance(v, str) else "" for v in values], object),
        quality=np.array(quality or [0] * len(values), np.uint8),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    epoch: int
    seq: int
    received_at_ms: int = NOW_MS
    device: str = "d1"
    topic: str = "dm/d1/telemetry"
    client_id: str = "c1"
    reason: str = "bad_json"
    detail: str = "it ends early"
    payload: bytes | None = b"{"
    payload_bytes: int = 1


@dataclass
class Telemetry:
    points: list[Points] = field(default_factory=list)
    letters: list[Letter] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    batches: list[Columns | HomeportError] = field(default_factory=list)
    failure: HomeportError | None = None
    tops: list[TopEntry] = field(default_factory=list)
    before_batch: Callable[[int], Awaitable[None]] | None = None
    streams_open: int = 0

    async def query_many(
        self,
        series: Sequence[tuple[str, str]],
        from_ms: int,
        to_ms: int,
        *,
        aggregation: Aggregation,
        interval_ms: int | None,
        limit_total: int,
    ) -> Sequence[Points]:
        self.asked.append(
            {
                "series": list(series),
                "from_ms": from_ms,
                "to_ms": to_ms,
                "aggregation": aggregation,
                "interval_ms": interval_ms,
                "limit_total": limit_total,
            }
        )
        if self.failure is not None:
            raise self.failure
        by_series = {(points.device, points.metric): points for points in self.points}
        return [by_series.get(one, Points(device=one[0], metric=one[1])) for one in series]

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
    ) -> Sequence[TopEntry]:
        self.asked.append(
            {
                "metrics": metrics,
                "aggregation": aggregation,
                "from_ms": from_ms,
                "to_ms": to_ms,
                "count": count,
                "lowest": lowest,
                "devices": devices,
            }
        )
        return self.tops

    def stream(
        self, devices: Sequence[str], metrics: Sequence[str], from_ms: int, to_ms: int
    ) -> AsyncIterator[Columns]:
        self.asked.append(
            {"devices": list(devices), "metrics": list(metrics), "from_ms": from_ms, "to_ms": to_ms}
        )
        return _Batches(self)

    parquet_path: Path | None = None

    async def write(self, devices: Sequence[str], metrics: Sequence[str], from_ms: int, to_ms: int) -> Path:
        self.asked.append(
            {"devices": list(devices), "metrics": list(metrics), "from_ms": from_ms, "to_ms": to_ms}
        )
        assert self.parquet_path is not None
        return self.parquet_path

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
    ) -> Sequence[Points]:
        self.asked.append(
            {
                "device": device,
                "metrics": tuple(metrics),
                "from_ms": from_ms,
                "to_ms": to_ms,
                "aggregation": aggregation,
                "interval_ms": interval_ms,
                "limit": limit,
            }
        )
        by_metric = {points.metric: points for points in self.points}
        return [by_metric.get(metric, Points(metric=metric)) for metric in metrics]

    async def letter_groups(self, limit: int) -> Sequence[Any]:
        return grouped(self.letters)[:limit]

    async def dead_letters(self, limit: int, before: tuple[int, int] | None) -> Sequence[Letter]:
        older = [one for one in self.letters if before is None or (one.epoch, one.seq) < before]
        return sorted(older, key=lambda one: (one.epoch, one.seq), reverse=True)[:limit]


@dataclass
class Sql:
    """Questions in SQL: what was asked, and what is answered; an error is raised instead."""

    answer: SqlAnswer = field(
        default_factory=lambda: SqlAnswer(
            columns=(("n", "INTEGER"),), rows=((1,),), cut_by="", duration_ms=1.5
        )
    )
    error: HomeportError | None = None
    asked: list[str] = field(default_factory=list)

    async def ask(self, text: str) -> SqlAnswer:
        self.asked.append(text)
        if self.error is not None:
            raise self.error
        return self.answer

    def statistics(self) -> SqlStatistics:
        return SqlStatistics(
            running=0,
            waiting=0,
            questions_total=len(self.asked),
            refused_total=0,
            timeouts_total=0,
            busy_total=0,
            interrupted_total=0,
            busy_ms_total=0,
        )


class _Batches:
    """The batches of a test, one after another; `streams_open` counts those that are being read."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._number = 0

    def __aiter__(self) -> AsyncIterator[Columns]:
        return self

    async def __anext__(self) -> Columns:
        number, self._number = self._number, self._number + 1
        if number >= len(self._telemetry.batches):
            raise StopAsyncIteration
        self._telemetry.streams_open += 1
        try:
            if self._telemetry.before_batch is not None:
                await self._telemetry.before_batch(number)
        finally:
            self._telemetry.streams_open -= 1
        batch = self._telemetry.batches[number]
        if isinstance(batch, HomeportError):
            raise batch
        return batch


@dataclass
class Broker(AnsweringBroker):
    statistics: dict[str, Any] = field(default_factory=lambda: deepcopy(STATISTICS))
    history: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    revoked: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)

    async def revoke(self, principal: str) -> None:
        if not self.connected:
            raise Unavailable("The broker is not connected.", hint="Wait.")
        self.revoked.append(principal)

    async def access_changed(self, principal: str) -> None:
        if not self.connected:
            raise Unavailable("The broker is not connected.", hint="Wait.")
        self.changed.append(principal)


def lag_of(lags_ms: Sequence[int]) -> LagStatistics:
    """What a window says of messages with these lags."""
    window = LagWindow()
    window.add(0, NOW_MS, [(NOW_MS - lag_ms, 1) for lag_ms in lags_ms])
    return window.statistics(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineNumbers:
    lag_s: float = 0.2
    lag_p95_s: float | None = 0.3
    ingestion_lag: LagStatistics = field(default_factory=lambda: lag_of([300] * 20))
    pipeline_lag: LagStatistics = field(default_factory=lambda: lag_of([300] * 20))
    behind_records: int = 7
    rows_total: int = 500
    messages_total: int = 100
    dead_letters_total: int = 2
    dead_letters: int = 2
    breaker: str = "closed"
    state: str = "running"
    behind_since_ms: int | None = None
    watch: WatchFeedStatistics | None = UP_TO_DATE
    complete_seq: int = 8
    doing: str = ""
    backlog: BacklogStatistics = field(default_factory=BacklogStatistics)
    batches_total: int = 9


@dataclass
class Pipeline:
    numbers: PipelineNumbers = field(default_factory=PipelineNumbers)

    def statistics(self) -> PipelineNumbers:
        return self.numbers


@dataclass(frozen=True, slots=True)
class LogHead:
    next_seq: int = 42
    epoch: int = 1
    offset: int = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """Everything a test may want to turn."""

    services: Services
    clock: ManualClock
    live: Live
    telemetry: Telemetry
    sql: Sql
    broker: Broker
    pipeline: Pipeline
    app: ASGIApp

    @property
    def catalog(self) -> AsyncCatalog:
        return self.services.catalog

    def with_services(self, **changes: Any) -> Node:
        """The same node with other services."""
        services = replace(self.services, **changes)
        return replace(self, services=services, app=create_app(services, with_pages=False))

    @asynccontextmanager
    async def client(
        self, *, local: bool = False, address: str = "192.0.2.7", base: str = BASE
    ) -> AsyncIterator[httpx.AsyncClient]:
        """A client of the app: from the network, or over the node's Unix socket."""
        app = LocalTrust(self.app) if local else self.app
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False, client=(address, 4711))
        async with httpx.AsyncClient(transport=transport, base_url=base) as client:
            yield client

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[httpx.AsyncClient]:
        """A browser that is signed in as `admin`; sends its CSRF token with every request."""
        await self.add_admin()
        async with self.client() as client:
            answer = await client.post("/api/v1/session", json={"user_id": "admin", "password": PASSWORD})
            assert answer.status_code == 201, answer.text
            client.headers["x-csrf-token"] = answer.json()["csrf_token"]
            yield client

    async def add_admin(self) -> None:
        password_hash = QUICK.hash(PASSWORD)
        await self.catalog.write(
            lambda catalog: catalog.add_user("admin", role="admin", password_hash=password_hash), by=ACT
        )


class AtTheHead:
    """Rules are changed at one and the same place of the log."""

    @asynccontextmanager
    async def changing(self) -> AsyncIterator[tuple[int, int]]:
        yield 1, 4_711


@asynccontextmanager
async def running_node(tmp_path: Path, *, with_pages: bool = False, **changes: Any) -> AsyncIterator[Node]:
    """Services over an empty catalog, and the app on them."""
    clock = ManualClock(now_ms=NOW_MS)
    live, telemetry, sql, broker, pipeline = Live(), Telemetry(), Sql(), Broker(), Pipeline()
    keys = SiteKeys.load_or_create(tmp_path)
    config = Config(node=NodeConfig(name="box", data_dir=tmp_path, run_dir=tmp_path))
    async with AsyncCatalog.opened(tmp_path / "catalog.db", clock=clock, node_id=keys.node_id) as catalog:
        issuing, crl = certificate_services(tmp_path, keys, catalog, clock)
        await crl.refresh()
        services = Services(
            config=config,
            version="0.1.0",
            clock=clock,
            believed=BelievedTime(clock),
            started_at_ms=NOW_MS - 5_000,
            catalog=catalog,
            live=live,
            telemetry=telemetry,
            sql=sql,
            parquet=telemetry,
            pipeline=pipeline,
            log_head=LogHead,
            broker=broker,
            keys=keys,
            issuing=issuing,
            crl=crl,
            passwords=Passwords(QUICK),
            people=PeopleServices.load(
                tmp_path, catalog, keys, clock=clock, session_hours=config.ui.session_hours
            ),
            setup_code=SetupCode(clock=clock),
            audit=AuditDesk(catalog=catalog, keys=keys, clock=clock, data_dir=tmp_path),
            backups=BackupDesk(config, keys, catalog, clock=clock),
            drills=make_drills(config, catalog, clock),
            artifacts=open_artifacts(config, catalog, keys, clock),
            sign_in_limiter=SignInLimiter(clock=clock),
            rate_limits=RateLimits(config.api, clock=clock),
            streams=StreamPlaces(count_max=config.api.streams_per_user_max),
            tls=tls.load_or_create(
                tmp_path, keys, node_name="box", clock=clock, names=("box.test",), addresses=("127.0.0.1",)
            ),
            readiness={},
            hub=Hub(clock=clock),
            twins=TwinRoom(catalog, Listeners(), clock=clock),
            # Not `opened`, whose first set would be the first entry of every test's audit.
            mappings=MappingDesk(
                catalog, LogReader(tmp_path / "log"), [], MappingSets(MappingHistory([NO_SET]))
            ),
            rules=AtTheHead(),
            alarms=AlarmDesk(catalog, AlarmBook(clock=clock, flap_ms=600_000, wait_ms=90_000), clock=clock),
            notifications=make_notifications(config, catalog, keys, broker, clock=clock).desk,
            try_outs=TryOuts(KeptMessages(LogReader(tmp_path / "log"), clock.mono_ms)),
            keeper=Keeper(),
        )
        services = replace(services, **changes)
        yield Node(
            services=services,
            clock=clock,
            live=live,
            telemetry=telemetry,
            sql=sql,
            broker=broker,
            pipeline=pipeline,
            app=create_app(services, with_pages=with_pages),
        )
