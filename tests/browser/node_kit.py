"""A node with real catalog, identity, hub, app and HTTPS server, and a live view and a store that tests set by hand.

It runs in a thread with its own trio loop, so that tests can drive a browser in the main thread. `FakeLive` and
`FakeTelemetry` are held to the same expectations as the real ones in tests/contracts/test_live_view.py.
"""

from __future__ import annotations

import math
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import trio
from hypercorn.config import Config as ServerConfig
from hypercorn.trio import serve
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from appliance.alarms.book import AlarmBook
from appliance.alarms.desk import AlarmDesk
from appliance.core.believed_time import BelievedTime
from appliance.core.bridge_config import BridgeConfig, BridgeTopicConfig
from appliance.core.clock import SystemClock
from appliance.core.config import ApiConfig, Config, DevicesConfig, NodeConfig
from appliance.core.errors import HomeportError, Unavailable
from appliance.device_requests.listeners import Listeners
from appliance.device_requests.router import Router
from appliance.identity import Passwords, SetupCode, SiteKeys
from appliance.identity import tls as tls_identity
from appliance.management.firmware_report import FirmwareReport
from appliance.management.replication_state import ReplicationState
from appliance.pipeline.backlog import BacklogStatistics
from appliance.pipeline.kept_messages import KeptMessages
from appliance.pipeline.lag import LagStatistics, LagWindow
from appliance.pipeline.mapping_desk import MappingDesk
from appliance.pipeline.rule_set_desk import RuleSetDesk
from appliance.pipeline.try_out import TryOuts
from appliance.pipeline.watch_statistics import WatchFeedStatistics
from appliance.run.artifacts_wiring import open_desk as open_artifacts
from appliance.run.drilling_wiring import make_drills
from appliance.run.notifications_wiring import make_notifications
from appliance.run.twins_wiring import twin_room
from appliance.updates.desk import Updates
from appliance.updates.engine import Engine
from appliance.updates.surroundings import Surroundings
from broker.bridge.statistics import BridgeStatistics
from storage.catalog import AsyncCatalog, Catalog
from storage.log.reader import LogReader
from storage.site.statistics import SiteStatistics
from tests.acts import ACT
from tests.broker_stand_in import STATISTICS, AnsweringBroker
from tests.browser.fleet_world import AT_CLOUD, FLEET, READ
from tests.ca_kit import certificate_services
from tests.keeper_stand_in import Keeper
from tests.letter_kit import grouped
from tests.node_kit import Columns, Sql, TopEntry, columns_of
from tests.twin_kit import Pushes
from tests.updates_kit import SeenHealth
from tests.watch_numbers import UP_TO_DATE
from ui.app import create_app
from ui.audit_desk import AuditDesk
from ui.backup_desk import BackupDesk
from ui.live import Hub
from ui.people import PeopleServices
from ui.rate_limit import RateLimits
from ui.rate_limit_streams import StreamPlaces
from ui.services import Services
from ui.sign_in import SignInLimiter
from ui.telemetry_question import Aggregation, Source, TopAggregation

T = TypeVar("T")
PASSWORD = "correct horse battery"
STALE_AFTER_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveDevice:
    device_id: str
    presence: str = "never_seen"
    presence_since_ms: int | None = None
    presence_reason: str = ""
    last_seen_at_ms: int | None = None
    last_reading_at_ms: int | None = None
    address: str = ""
    watermark_at_ms: int | None = None
    watermark_received_at_ms: int | None = None
    expect_ms: int | None = None
    clock_offset_ms: int | None = None
    firmware: FirmwareReport | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveValue:
    metric: str
    value: float | int | str | bool | None
    observed_at_ms: int
    received_at_ms: int
    quality: int = 0
    is_kept_copy: bool = False

    @property
    def counts_at_ms(self) -> int | None:
        return None if self.is_kept_copy else self.received_at_ms


@dataclass(frozen=True, slots=True)
class Changed:
    devices: frozenset[str]
    everything: bool = False


class FakeSubscription:
    def __init__(self) -> None:
        self._devices: set[str] = set()
        self._event = trio.Event()

    def note(self, device_id: str) -> None:
        self._devices.add(device_id)
        self._event.set()

    async def wait(self) -> Changed:
        await self._event.wait()
        self._event = trio.Event()
        devices, self._devices = frozenset(self._devices), set()
        return Changed(devices)


class FakeLive:
    """A live view whose contents a test sets. Used from the node's loop (`TestNode.call`)."""

    def __init__(self) -> None:
        self.rate = 0.0
        self._devices: dict[str, LiveDevice] = {}
        self._newest: dict[str, dict[str, LiveValue]] = {}
        self._subscriptions: set[FakeSubscription] = set()

    @property
    def message_rate(self) -> float:
        return self.rate

    def common_clock_offset_ms(self) -> int | None:
        return None

    def devices(self) -> Mapping[str, LiveDevice]:
        return self._devices

    def device(self, device_id: str, /) -> LiveDevice:
        return self._devices.get(device_id) or LiveDevice(device_id=device_id)

    def newest(self, device_id: str, /) -> Mapping[str, LiveValue]:
        return self._newest.get(device_id, {})

    @contextmanager
    def subscribe(self) -> Iterator[FakeSubscription]:
        subscription = FakeSubscription()
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)

    def set_device(self, device_id: str, **changes: Any) -> None:
        self._devices[device_id] = replace(self.device(device_id), **changes)
        for subscription in self._subscriptions:
            subscription.note(device_id)

    def set_value(self, device_id: str, value: LiveValue) -> None:
        self._newest.setdefault(device_id, {})[value.metric] = value
        self.set_device(
            device_id, last_seen_at_ms=value.received_at_ms, last_reading_at_ms=value.received_at_ms
        )

    def forget(self) -> None:
        self._devices.clear()
        self._newest.clear()


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    device: str = ""
    metric: str
    at_ms: list[int]
    value: list[float | int | str | bool | None]
    min: list[float | None]
    max: list[float | None]
    count: Sequence[int] = ()
    quality: Sequence[int] = ()
    truncated: bool = False
    sources: Sequence[Source] = ("minutes", "readings")


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    epoch: int = 0
    seq: int = 1
    received_at_ms: int = 1_700_000_000_000
    device: str = ""
    topic: str = "dm/x/telemetry"
    client_id: str = ""
    reason: str = "bad_json"
    detail: str = ""
    payload: bytes | None = b"{"
    payload_bytes: int = 1


def swing(at_ms: int) -> float:
    """Between 16 and 24, once a day, with a little of its own every hour."""
    return 20 + 4 * math.sin(at_ms / 3_600_000 * math.pi / 12) + 0.4 * math.sin(at_ms / 600_000)


class FakeTelemetry:
    """A day with a slow swing in it and two hours missing, for any metric; dead letters as set.

    Attributes:
        asked: How often telemetry was asked for. failure: What any question ends with, None for an answer.
    """

    def __init__(self) -> None:
        self.letters: list[Letter] = []
        self.asked = 0
        self.failure: HomeportError | None = None

    async def query_many(
        self,
        series: Sequence[tuple[str, str]],
        from_ms: int,
        to_ms: int,
        *,
        aggregation: Aggregation,
        interval_ms: int | None,
        limit_total: int,
    ) -> list[Series]:
        self.asked += 1
        if self.failure is not None:
            raise self.failure
        found = []
        for number, (device, metric) in enumerate(series):
            (one,) = await self.query(
                device,
                [metric],
                from_ms,
                to_ms,
                aggregation="band",
                interval_ms=interval_ms or 60_000,
                limit=limit_total // len(series),
            )
            value = [v + 3 * number for v in one.value if isinstance(v, float)]
            low: list[float | None] = [v - 0.7 for v in value] if aggregation == "band" else []
            high: list[float | None] = [v + 0.9 for v in value] if aggregation == "band" else []
            found.append(replace(one, device=device, value=list(value), min=low, max=high))
        return found

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
    ) -> list[TopEntry]:
        await trio.lowlevel.checkpoint()
        return [TopEntry(device, metrics, 21.5, 1) for device in devices or ("press-0",)][:count]

    async def stream(
        self, devices: Sequence[str], metrics: Sequence[str], from_ms: int, to_ms: int
    ) -> AsyncIterator[Columns]:
        """The same swing, every 5 minutes."""
        await trio.lowlevel.checkpoint()
        for device in devices:
            for metric in metrics or ("t",):
                at_ms = list(range(from_ms, to_ms, 300_000))
                yield columns_of(device, metric, at_ms, [swing(at) for at in at_ms])

    async def write(self, devices: Sequence[str], metrics: Sequence[str], from_ms: int, to_ms: int) -> Path:
        raise Unavailable("This stand-in writes no Parquet.", hint="Ask a real store.")

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
    ) -> list[Series]:
        await trio.lowlevel.checkpoint()
        assert aggregation == "band"
        assert interval_ms is not None
        hour_ms = 3_600_000
        at_ms = [
            at for at in range(from_ms, to_ms, interval_ms) if not 8 * hour_ms < to_ms - at < 10 * hour_ms
        ][:limit]
        mean = [swing(at) for at in at_ms]
        return [
            Series(
                metric=metric,
                at_ms=at_ms,
                value=list(mean),
                min=[v - 0.7 for v in mean],
                max=[v + 0.9 for v in mean],
            )
            for metric in metrics
        ]

    async def letter_groups(self, limit: int) -> Sequence[Any]:
        await trio.lowlevel.checkpoint()
        return grouped(self.letters)[:limit]

    async def dead_letters(self, limit: int, before: tuple[int, int] | None) -> list[Letter]:
        await trio.lowlevel.checkpoint()
        newest_first = sorted(self.letters, key=lambda letter: (letter.epoch, letter.seq), reverse=True)
        return [x for x in newest_first if before is None or (x.epoch, x.seq) < before][:limit]


@dataclass(slots=True)
class PipelineNumbers:
    lag_s: float = 0.05
    lag_p95_s: float | None = 0.12
    ingestion_lag: LagStatistics = field(default_factory=lambda: LagWindow().statistics(0))
    pipeline_lag: LagStatistics = field(default_factory=lambda: LagWindow().statistics(0))
    behind_records: int = 0
    rows_total: int = 1_234_567
    messages_total: int = 250_000
    dead_letters_total: int = 0
    dead_letters: int = 0
    breaker: str = "closed"
    state: str = "running"
    behind_since_ms: int | None = None
    watch: WatchFeedStatistics | None = UP_TO_DATE
    complete_seq: int = 8
    doing: str = ""
    backlog: BacklogStatistics = field(default_factory=BacklogStatistics)


@dataclass(slots=True)
class FakePipeline:
    numbers: PipelineNumbers = field(default_factory=PipelineNumbers)

    def statistics(self) -> PipelineNumbers:
        return self.numbers


@dataclass
class FakeBroker(AnsweringBroker):
    revoked: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)

    @property
    def statistics(self) -> Mapping[str, Any]:
        return STATISTICS

    @property
    def history(self) -> list[tuple[float, Mapping[str, Any]]]:
        before = {
            "plane": {**STATISTICS["plane"], "received_messages": 245_180, "received_bytes": 40_000_000}
        }
        return [(100.0, before), (110.0, STATISTICS)] if self.connected else []

    async def revoke(self, principal: str) -> None:
        await trio.lowlevel.checkpoint()
        self.revoked.append(principal)

    async def access_changed(self, principal: str) -> None:
        await trio.lowlevel.checkpoint()
        self.changed.append(principal)


@dataclass(frozen=True, slots=True)
class Head:
    epoch: int = 0
    next_seq: int = 250_001
    offset: int = 12_345_678


class TestNode:
    """Starts with `start()`; `call` runs a function in its loop; `stop_server`/`start_server` are a crash and a restart."""

    __test__ = False

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="test-node", daemon=True)
        self._failure: BaseException | None = None
        self.live = FakeLive()
        self.telemetry = FakeTelemetry()
        self.sql = Sql()
        self.pipeline = FakePipeline()
        self.broker = FakeBroker()
        self.bridges: list[BridgeStatistics] = [
            BridgeStatistics(name="cloud", address="mqtt.example.com:8883", state="connected"),
            BridgeStatistics(name="hall", address="127.0.0.1:1883", state="connected"),
        ]
        self.has_peers = self.is_cloud = False
        self.services: Services
        self.port = 0
        self._speaking = trio.Event()
        self._speaking.set()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(30), "the node did not start"
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        trio.from_thread.run_sync(self._closing.set, trio_token=self._token)
        self._thread.join(20)
        assert not self._thread.is_alive(), "the node did not stop"

    def call(self, fn: Callable[[], T]) -> T:
        """Run a quick function in the node's loop."""
        return trio.from_thread.run_sync(fn, trio_token=self._token)

    def catalog(self, fn: Callable[[Catalog], T]) -> T:
        """Write to the node's catalog."""

        async def write() -> T:
            return await self.services.catalog.write(fn, by=ACT)

        return trio.from_thread.run(write, trio_token=self._token)

    def stop_server(self) -> None:
        async def stop() -> None:
            self._stopping.set()
            await self._stopped.wait()

        trio.from_thread.run(stop, trio_token=self._token)

    def start_server(self) -> None:
        trio.from_thread.run(self._start_server, trio_token=self._token)

    def fall_silent(self) -> None:
        """From now on streams stay open and nothing is sent on them."""
        self._speaking = trio.Event()

    def speak_again(self) -> None:
        """End the silence, for new streams too."""
        self._speaking.set()

    def _run(self) -> None:
        try:
            trio.run(self._main)
        except BaseException as error:
            self._failure = error
            raise
        finally:
            self._ready.set()

    async def _replication(self) -> ReplicationState | None:
        return AT_CLOUD if self.is_cloud else FLEET if self.has_peers else None

    async def _main(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._closing = trio.Event()
        clock = SystemClock()
        self.hub = Hub(clock=clock, source=self.live)
        self.listeners, self.pushes = Listeners(), Pushes()
        keys = SiteKeys.load_or_create(self._data_dir)
        self.tls = tls_identity.load_or_create(
            self._data_dir,
            keys,
            node_name="plant-4",
            clock=clock,
            names=["localhost"],
            addresses=["127.0.0.1"],
        )
        async with (
            AsyncCatalog.opened(self._data_dir / "catalog.db", clock=clock, node_id=keys.node_id) as catalog,
            trio.open_nursery() as nursery,
        ):
            self._nursery = nursery
            issuing, crl = certificate_services(self._data_dir, keys, catalog, clock)
            config = Config(
                node=NodeConfig(name="plant-4", data_dir=self._data_dir, run_dir=self._data_dir),
                devices=DevicesConfig(stale_after_s=STALE_AFTER_S),
                bridge=tuple(BridgeConfig(name=each.name) for each in self.bridges),
                bridge_topic=tuple(
                    BridgeTopicConfig(bridge=each.name, topic="site/+/a-rather-long-topic/#")
                    for each in self.bridges
                ),
            )
            engine = Engine(
                catalog,
                clock=clock,
                surroundings=Surroundings(clock, health=SeenHealth(), random=lambda: 0.5),
            )
            self.services = Services(
                config=config,
                updates=Updates(engine, catalog, clock=clock),
                wake_updates=engine.look_soon,
                bridge_report=lambda: self.bridges,
                replication=self._replication,
                site=lambda: READ if self.has_peers else SiteStatistics(),
                version="0.1.0",
                clock=clock,
                believed=BelievedTime(clock),
                started_at_ms=clock.now_ms(),
                catalog=catalog,
                live=self.live,
                telemetry=self.telemetry,
                sql=self.sql,
                parquet=self.telemetry,
                pipeline=self.pipeline,
                log_head=Head,
                broker=self.broker,
                keys=keys,
                issuing=issuing,
                crl=crl,
                passwords=Passwords(),
                people=PeopleServices.load(self._data_dir, catalog, keys, clock=clock, session_hours=12),
                setup_code=SetupCode(clock=clock),
                audit=AuditDesk(catalog=catalog, keys=keys, clock=clock, data_dir=self._data_dir),
                backups=BackupDesk(config, keys, catalog, clock=clock),
                drills=make_drills(config, catalog, clock),
                artifacts=open_artifacts(config, catalog, keys, clock),
                sign_in_limiter=SignInLimiter(clock=clock),
                rate_limits=RateLimits(ApiConfig(), clock=clock),
                streams=StreamPlaces(count_max=ApiConfig().streams_per_user_max),
                tls=self.tls,
                readiness={},
                hub=self.hub,
                twins=twin_room(catalog, Router(clock=clock), self.listeners, self.hub, clock, trio.Event()),
                keeper=Keeper(),
                mappings=await MappingDesk.opened(catalog, LogReader(self._data_dir / "log"), []),
                rules=await RuleSetDesk.opened(catalog, lambda: (1, 1)),
                notifications=make_notifications(config, catalog, keys, self.broker, clock=clock).desk,
                alarms=AlarmDesk(
                    catalog, AlarmBook(clock=clock, flap_ms=60_000, wait_ms=60_000), clock=clock
                ),
                try_outs=TryOuts(KeptMessages(LogReader(self._data_dir / "log"), clock.mono_ms)),
            )
            await nursery.start(self.hub.run)
            await nursery.start(engine.run)
            nursery.start_soon(self.services.twins.run)
            self.listeners.link = self.pushes
            await nursery.start(self.services.backups.run)
            await nursery.start(self.services.alarms.run)
            await self._start_server()
            self._ready.set()
            await self._closing.wait()
            self.services.stopping.set()
            self._stopping.set()
            await self._stopped.wait()
            nursery.cancel_scope.cancel()

    def _mutable(self, app: ASGIApp) -> ASGIApp:
        """The app, whose streams are held back while the node is silent."""

        async def held_back(scope: Scope, receive: Receive, send: Send) -> None:
            async def send_unless_silent(message: Message) -> None:
                if scope["path"].startswith("/live/"):
                    await self._speaking.wait()
                await send(message)

            await app(scope, receive, send_unless_silent if scope["type"] == "http" else send)

        return held_back

    async def _start_server(self) -> None:
        listener = socket.create_server(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        config = ServerConfig()
        config.bind = [f"fd://{os.dup(listener.fileno())}"]
        listener.close()
        config.certfile = config.keyfile = str(self.tls.path)
        config.graceful_timeout = 0.2
        config.accesslog = None
        config.errorlog = None
        self._stopping, self._stopped = trio.Event(), trio.Event()
        app = self._mutable(create_app(self.services))

        async def run(*, task_status: trio.TaskStatus[Any] = trio.TASK_STATUS_IGNORED) -> None:
            await serve(app, config, shutdown_trigger=self._stopping.wait, task_status=task_status)  # type: ignore[arg-type]
            self._stopped.set()

        await self._nursery.start(run)
