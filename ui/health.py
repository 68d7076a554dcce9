"""Is this node alive, and can it do its work? For systemd, load balancers and people.

`/health/live` answers 200 while the event loop turns. `/health/ready` asks each dependency, all at once and each for
at most 5 s, and answers 503 and which one fails. What works and wants attention all the same (a pool of connections that
is nearly used up) is `degraded`: 200, since taking the box out of service would help nobody. Both are open, because whoever watches has no session; what exactly
is wrong (`detail`, `hint`) is told to the signed-in and to local programs only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import structlog
import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from appliance.alarms.desk import AlarmDesk
from appliance.core.errors import HomeportError, Unavailable
from appliance.core.limits import HEALTH_CHECK_TIMEOUT_MS, READINESS_LAG_MS_MAX
from appliance.pipeline.watch_statistics import WatchState
from storage.catalog import AsyncCatalog
from ui.auth import identify, services_of
from ui.metrics import metrics_endpoint
from ui.metrics_catalog import DEVICE_CREDENTIALS, credentials_of
from ui.problem import RETRY_AFTER_S
from ui.services import BrokerStatus, PipelineStatus, ReadinessCheck

log = structlog.get_logger(__name__)


class Dependency(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """One dependency's state; `code` says which error it is, `degraded` that it works and wants attention."""

    name: str
    ok: bool
    degraded: bool = False
    code: str = ""
    detail: str = ""
    hint: str = ""


class Readiness(msgspec.Struct, kw_only=True, frozen=True):
    """The answer of /health/ready."""

    ready: bool
    degraded: bool
    dependencies: tuple[Dependency, ...]


class Degraded(HomeportError):  # noqa: N818 - the word that the answer has
    """It works, and somebody has to look at it."""

    default_code = "degraded"


async def check(name: str, probe: ReadinessCheck, *, timeout_ms: int = HEALTH_CHECK_TIMEOUT_MS) -> Dependency:
    """Ask one dependency, for at most `timeout_ms`."""
    with trio.move_on_after(timeout_ms / 1000) as waiting:
        try:
            return Dependency(name=name, ok=True, detail=await probe())
        except Degraded as found:
            return Dependency(
                name=name, ok=True, degraded=True, code=found.code, detail=found.message, hint=found.hint
            )
        except HomeportError as error:
            return Dependency(name=name, ok=False, code=error.code, detail=error.message, hint=error.hint)
    assert waiting.cancelled_caught
    return Dependency(
        name=name,
        ok=False,
        code="no_answer",
        detail=f"It did not answer within {timeout_ms // 1000} s.",
        hint="Look at the machine's load and disk, and at the log of the node.",
    )


async def readiness(checks: dict[str, ReadinessCheck]) -> Readiness:
    """Ask all dependencies at the same time."""
    found: dict[str, Dependency] = {}

    async def ask(name: str, probe: ReadinessCheck) -> None:
        found[name] = await check(name, probe)

    async with trio.open_nursery() as nursery:
        for name, probe in checks.items():
            nursery.start_soon(ask, name, probe)
    dependencies = tuple(found[name] for name in checks)
    return Readiness(
        ready=all(one.ok for one in dependencies),
        degraded=any(one.degraded or not one.ok for one in dependencies),
        dependencies=dependencies,
    )


async def live(request: Request) -> Response:
    """The event loop turns."""
    return Response(b'{"live":true}', media_type="application/json")


async def ready(request: Request) -> Response:
    """All dependencies work, or which doesn't."""
    services = services_of(request)
    answer = await readiness(dict(services.readiness))
    for one in answer.dependencies:
        if not one.ok:
            log.warning("not ready", dependency=one.name, code=one.code, detail=one.detail)
    if not await _may_see_details(request):
        answer = Readiness(
            ready=answer.ready,
            degraded=answer.degraded,
            dependencies=tuple(
                Dependency(name=one.name, ok=one.ok, degraded=one.degraded, code=one.code)
                for one in answer.dependencies
            ),
        )
    return Response(
        msgspec.json.encode(answer),
        status_code=200 if answer.ready else 503,
        headers={} if answer.ready else {"retry-after": str(RETRY_AFTER_S)},
        media_type="application/json",
    )


async def _may_see_details(request: Request) -> bool:
    try:
        return await identify(request) is not None
    except HomeportError:
        # The catalog that knows the sessions is what fails; the answer must come all the same.
        return False


def routes() -> list[BaseRoute]:
    """Everything below /health."""
    return [
        Route("/live", live, methods=["GET"]),
        Route("/ready", ready, methods=["GET"]),
        Route("/metrics", metrics_endpoint, methods=["GET"]),
    ]


def broker_check(broker: BrokerStatus) -> ReadinessCheck:
    """The control connection to the broker stands."""

    async def probe() -> str:
        await trio.lowlevel.checkpoint()
        if not broker.connected:
            raise Unavailable(
                "The broker process is not connected.",
                hint="It is restarted by itself; if it stays so, look at 'homeport status' and the log.",
                code="broker_away",
            )
        return "connected"

    return probe


def log_check(log_head: Callable[[], Any]) -> ReadinessCheck:
    """The durable head can be read.

    Args:
        log_head: Blocking; raises OSError or HomeportError.
    """

    async def probe() -> str:
        try:
            # A stuck disk must not hold the answer up: the thread is left behind and ends by itself.
            head = await trio.to_thread.run_sync(log_head, abandon_on_cancel=True)
        except OSError as error:
            raise Unavailable(
                f"The log's head can't be read: {error}.",
                hint="Look at the disk that holds the data folder.",
                code="log_unreadable",
            ) from error
        return f"next record {head.next_seq}"

    return probe


def disk_check(broker: BrokerStatus) -> ReadinessCheck:
    """The log's disk takes what devices publish, as the broker says; its own check says whether that is there."""

    async def probe() -> str:
        await trio.lowlevel.checkpoint()
        log = broker.statistics.get("log")
        house = log.get("housekeeping") if isinstance(log, Mapping) else None
        if not isinstance(house, Mapping):
            return "not known"
        level, used_percent = str(house.get("disk_level_name")), 100 * float(house.get("disk_used_ratio", 0))
        if level in ("hold", "read_only"):
            raise Unavailable(
                f"The disk is {used_percent:.0f} % full: readings are not acknowledged, devices keep them.",
                hint="Free space on the disk that holds node.data_dir; it goes on by itself (docs/OPERATIONS.md).",
                code=f"disk_{level}",
            )
        return f"level {level}, {used_percent:.0f} % used"

    return probe


def catalog_check(catalog: AsyncCatalog) -> ReadinessCheck:
    """The catalog answers a query."""

    async def probe() -> str:
        found = await catalog.read(
            lambda reader: reader.schema_version, timeout_ms=HEALTH_CHECK_TIMEOUT_MS // 2
        )
        return f"schema {found}"

    return probe


def pools_check(catalog: AsyncCatalog) -> ReadinessCheck:
    """No pool of the catalog is nearly used up, and nobody keeps a connection for too long."""

    async def probe() -> str:
        await trio.lowlevel.checkpoint()
        alarms = catalog.watch.alarms()
        if alarms:
            raise Degraded(
                " ".join(f"{alarm.sentence()[0].upper()}{alarm.sentence()[1:]}" for alarm in alarms),
                hint="Look at the load and at the disk that holds the catalog; what comes next may be refused.",
                code="catalog_pool_alarm",
            )
        return "with room"

    return probe


def caches_check(catalog: AsyncCatalog, broker: BrokerStatus) -> ReadinessCheck:
    """Who signs in is looked up in the catalog, not only in memory: people by the node, devices by the broker."""

    async def probe() -> str:
        await trio.lowlevel.checkpoint()
        away = [name for name, cache in catalog.statistics().caches.items() if cache.away]
        if not credentials_of(broker.statistics).get("readable", True):
            away.append(DEVICE_CREDENTIALS)
        if away:
            raise Degraded(
                f"The catalog can't be read: {', '.join(away)} are served from memory, for some minutes at most.",
                hint="Look at the disk that holds the catalog, and which program has catalog.db open (fuser).",
                code="cache_fallback",
            )
        return "up to date"

    return probe


def updates_check(catalog: AsyncCatalog) -> ReadinessCheck:
    """Nobody waits for a person after an update, and every device runs what its last one ended with.

    A catalog that is away is told by its own check, once: here it is only not known.
    """

    async def probe() -> str:
        try:
            numbers = await catalog.read(
                lambda reader: reader.update_numbers(), timeout_ms=HEALTH_CHECK_TIMEOUT_MS // 2
            )
        except Unavailable:
            return "not known while the catalog is away"
        found = numbers.sentences()
        if found:
            raise Degraded(
                " ".join(found),
                hint="Look at the page Work queue, or at 'homeport work-queue list' and 'homeport work-queue drift'.",
                code="updates_need_a_hand",
            )
        return "nobody needs a hand"

    return probe


def alarms_check(desk: AlarmDesk) -> ReadinessCheck:
    """What rules find becomes alarms: nothing holds the desk up."""

    async def probe() -> str:
        await trio.lowlevel.checkpoint()
        failing = desk.statistics().failing
        if failing:
            raise Degraded(
                f"Alarms are not brought up to date: {failing}",
                hint="What is found waits and is not lost; look at what is wrong with the store or the catalog.",
                code="alarms_waiting",
            )
        return "up to date"

    return probe


def pipeline_check(pipeline: PipelineStatus, *, lag_ms_max: int = READINESS_LAG_MS_MAX) -> ReadinessCheck:
    """The pipeline keeps up: its lag (`lag_s`) is bounded."""

    async def probe() -> str:
        await trio.lowlevel.checkpoint()
        lag_s = float(pipeline.statistics().lag_s)
        if lag_s * 1000 > lag_ms_max:
            raise Unavailable(
                f"Readings are {lag_s:.0f} s from being searchable; they are safe in the log.",
                hint="Look at the store's state on the Overview; it catches up by itself.",
                code="pipeline_behind",
            )
        return f"{lag_s:.1f} s behind"

    return probe


def watch_check(pipeline: PipelineStatus) -> ReadinessCheck:
    """Rules and anomalies are evaluated, or on their way there."""

    async def probe() -> str:
        await trio.lowlevel.checkpoint()
        watch = pipeline.statistics().watch
        if watch is None:
            return "switched off"
        if watch.state is WatchState.FAILED:
            raise Unavailable(
                f"{watch.incident}. Readings go on, alarms that are active stay.",
                hint="It is tried again by itself; look at the node's log, and switch off the rule that was changed last.",
                code="rules_failed",
            )
        return watch.doing

    return probe


def store_check(pipeline: PipelineStatus) -> ReadinessCheck:
    """The store takes what the pipeline writes: its breaker is closed."""

    async def probe() -> str:
        await trio.lowlevel.checkpoint()
        breaker = str(pipeline.statistics().breaker)
        if breaker != "closed":
            raise Unavailable(
                "The time-series store does not take readings; they are safe in the log.",
                hint="It is tried again by itself; look at the disk's free space and the node's log.",
                code="store_unavailable",
            )
        return f"breaker {breaker}"

    return probe
