"""A node's services for tests: real catalog, keys, passwords and limiter; a stand-in for what needs a broker or DuckDB."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import argon2
import httpx
from starlette.types import ASGIApp

from appliance.core.clock import ManualClock
from appliance.core.config import Config, NodeConfig
from appliance.core.errors import Unavailable
from appliance.identity import Passwords, SetupCode, SiteKeys, tls
from storage.catalog import AsyncCatalog
from tests.broker_stand_in import STATISTICS, AnsweringBroker
from ui.app import create_app
from ui.auth import LocalTrust
from ui.live.hub import Hub
from ui.services import Aggregation, Services
from ui.sign_in import SignInLimiter

NOW_MS = 1_772_000_000_000
PASSWORD = "a quiet sentence about tea"
QUICK = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
BASE = "https://box.test"


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveDevice:
    device_id: str
    presence: str = "online"
    presence_since_ms: int | None = NOW_MS - 60_000
    presence_reason: str | None = None
    last_seen_at_ms: int | None = NOW_MS - 1_000
    last_reading_at_ms: int | None = NOW_MS - 2_000
    address: str | None = "10.0.0.5"


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    metric: str
    value: float | int | str | bool | None
    observed_at_ms: int = NOW_MS - 3_000
    received_at_ms: int = NOW_MS - 2_000
    quality: int = 0


@dataclass
class Live:
    by_id: dict[str, LiveDevice] = field(default_factory=dict)
    values: dict[str, dict[str, Value]] = field(default_factory=dict)
    message_rate: float = 12.5

    def devices(self) -> Mapping[str, LiveDevice]:
        return self.by_id

    def device(self, device_id: str, /) -> LiveDevice | None:
        return self.by_id.get(device_id)

    def newest(self, device_id: str, /) -> Mapping[str, Value]:
        return self.values.get(device_id, {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    metric: str
    at_ms: Sequence[int] = ()
    value: Sequence[float | int | str | bool | None] = ()
    min: Sequence[float | None] = ()
    max: Sequence[float | None] = ()
    truncated: bool = False


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

    async def dead_letters(self, limit: int, before: tuple[int, int] | None) -> Sequence[Letter]:
        older = [one for one in self.letters if before is None or (one.epoch, one.seq) < before]
        return sorted(older, key=lambda one: (one.epoch, one.seq), reverse=True)[:limit]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineNumbers:
    lag_s: float = 0.2
    lag_p95_s: float | None = 0.3
    behind_records: int = 7
    rows_total: int = 500
    messages_total: int = 100
    dead_letters_total: int = 2
    breaker: str = "closed"
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
            lambda catalog: catalog.add_user("admin", role="admin", password_hash=password_hash)
        )


@asynccontextmanager
async def running_node(tmp_path: Path, *, with_pages: bool = False, **changes: Any) -> AsyncIterator[Node]:
    """Services over an empty catalog, and the app on them."""
    clock = ManualClock(now_ms=NOW_MS)
    live, telemetry, broker, pipeline = Live(), Telemetry(), Broker(), Pipeline()
    keys = SiteKeys.load_or_create(tmp_path)
    config = Config(node=NodeConfig(name="box", data_dir=tmp_path, run_dir=tmp_path))
    async with AsyncCatalog.opened(tmp_path / "catalog.db", clock=clock, node_id=keys.node_id) as catalog:
        services = Services(
            config=config,
            version="0.1.0",
            clock=clock,
            started_at_ms=NOW_MS - 5_000,
            catalog=catalog,
            live=live,
            telemetry=telemetry,
            pipeline=pipeline,
            log_head=LogHead,
            broker=broker,
            keys=keys,
            passwords=Passwords(QUICK),
            setup_code=SetupCode(clock=clock),
            sign_in_limiter=SignInLimiter(clock=clock),
            tls=tls.load_or_create(
                tmp_path, node_name="box", clock=clock, names=("box.test",), addresses=("127.0.0.1",)
            ),
            readiness={},
            hub=Hub(clock=clock),
        )
        services = replace(services, **changes)
        yield Node(
            services=services,
            clock=clock,
            live=live,
            telemetry=telemetry,
            broker=broker,
            pipeline=pipeline,
            app=create_app(services, with_pages=with_pages),
        )
