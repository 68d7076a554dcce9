"""/health: alive, ready, and which dependency isn't."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio

from appliance.core.errors import LogDamaged, Unavailable
from appliance.core.limits import CATALOG_READER_COUNT, POOL_ALARM_COUNT
from storage.catalog import Catalog, LookupCache
from tests.node_kit import Broker, LogHead, Pipeline, PipelineNumbers, running_node
from ui import health
from ui.services import ReadinessCheck


async def _well() -> str:
    await trio.lowlevel.checkpoint()
    return "fine"


async def _ill() -> str:
    await trio.lowlevel.checkpoint()
    raise Unavailable("It sleeps.", hint="Wake it.", code="asleep")


async def test_alive_whatever_else_is_the_matter(tmp_path: Path) -> None:
    async with running_node(tmp_path, readiness={"store": _ill}) as node, node.client() as client:
        answer = await client.get("/health/live")
        assert (answer.status_code, answer.json()) == (200, {"live": True})


async def test_ready_when_all_are_well(tmp_path: Path) -> None:
    async with (
        running_node(tmp_path, readiness={"store": _well, "log": _well}) as node,
        node.client() as client,
    ):
        answer = await client.get("/health/ready")
        assert answer.status_code == 200
        assert answer.json() == {
            "ready": True,
            "degraded": False,
            "dependencies": [{"name": "store", "ok": True}, {"name": "log", "ok": True}],
        }


async def test_not_ready_names_who_fails_and_tells_the_box_why(tmp_path: Path) -> None:
    async with running_node(tmp_path, readiness={"store": _ill, "log": _well}) as node:
        async with node.client() as client:
            answer = await client.get("/health/ready")
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "2"
            assert answer.json()["dependencies"] == [
                {"name": "store", "ok": False, "code": "asleep"},
                {"name": "log", "ok": True},
            ]
        async with node.client(local=True) as local:
            failing = (await local.get("/health/ready")).json()["dependencies"][0]
            assert (failing["detail"], failing["hint"]) == ("It sleeps.", "Wake it.")


async def test_a_closed_catalog_still_gives_an_answer(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        node = node.with_services(readiness={"catalog": health.catalog_check(node.catalog)})
        async with node.client() as client:
            client.cookies.set("__Host-homeport", "something")
            assert (await client.get("/health/ready")).status_code == 200
            await node.catalog.aclose()
            answer = await client.get("/health/ready")
            assert (answer.status_code, answer.json()["dependencies"][0]["code"]) == (503, "catalog_closed")


async def test_who_does_not_answer_is_given_five_seconds(autojump_clock: trio.testing.MockClock) -> None:
    checks: dict[str, ReadinessCheck] = {
        "stuck": trio.sleep_forever,
        "also": trio.sleep_forever,
        "well": _well,
    }
    started = trio.current_time()
    answer = await health.readiness(checks)
    assert trio.current_time() - started == pytest.approx(5)
    assert [(one.name, one.ok, one.code) for one in answer.dependencies] == [
        ("stuck", False, "no_answer"),
        ("also", False, "no_answer"),
        ("well", True, ""),
    ]


async def test_the_broker_is_ready_while_connected() -> None:
    broker = Broker()
    assert (await health.check("broker", health.broker_check(broker))).ok
    broker.connected = False
    assert (await health.check("broker", health.broker_check(broker))).code == "broker_away"


async def test_the_disk_is_ready_while_it_takes_what_devices_publish() -> None:
    broker = Broker(statistics={})
    assert (await health.check("disk", health.disk_check(broker))).detail == "not known"
    for level, code in (("ok", ""), ("low", ""), ("hold", "disk_hold"), ("read_only", "disk_read_only")):
        house = {"disk_level_name": level, "disk_used_ratio": 0.9}
        broker.statistics = {"log": {"housekeeping": house}}
        found = await health.check("disk", health.disk_check(broker))
        assert (found.ok, found.code) == (not code, code)
        assert "90 %" in found.detail


async def test_the_log_is_ready_while_its_head_can_be_read() -> None:
    assert (await health.check("log", health.log_check(LogHead))).detail == "next record 42"

    def missing() -> LogHead:
        raise FileNotFoundError("head")

    def damaged() -> LogHead:
        raise LogDamaged("The head is damaged.", hint="Look.")

    assert (await health.check("log", health.log_check(missing))).code == "log_unreadable"
    assert (await health.check("log", health.log_check(damaged))).code == "log_damaged"


async def test_the_pipeline_is_ready_while_it_keeps_up() -> None:
    assert (await health.check("pipeline", health.pipeline_check(Pipeline()))).ok
    late = Pipeline(PipelineNumbers(lag_s=61.0))
    found = await health.check("pipeline", health.pipeline_check(late))
    assert (found.ok, found.code) == (False, "pipeline_behind")


async def test_what_works_and_wants_attention_is_degraded_and_still_ready(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        node = node.with_services(readiness={"catalog_pools": health.pools_check(node.catalog)})
        gate = threading.Event()
        async with (
            trio.open_nursery() as nursery,
            node.client() as stranger,
            node.client(local=True) as local,
        ):
            assert (await stranger.get("/health/ready")).json()["degraded"] is False
            for _ in range(CATALOG_READER_COUNT):
                nursery.start_soon(node.catalog.read, lambda _: gate.wait(30))
            await trio.testing.wait_all_tasks_blocked()
            node.catalog.watch.look()
            for _ in range(POOL_ALARM_COUNT):
                node.clock.advance(1_000)
                node.catalog.watch.look()
            answer = await stranger.get("/health/ready")
            assert answer.status_code == 200
            assert answer.json() == {
                "ready": True,
                "degraded": True,
                "dependencies": [
                    {"name": "catalog_pools", "ok": True, "degraded": True, "code": "catalog_pool_alarm"}
                ],
            }
            told = (await local.get("/health/ready")).json()["dependencies"][0]
            assert "100 % of the catalog's connections (api) are in use" in told["detail"]
            assert "tests/unit/test_ui_health.py" in told["detail"], "where it was borrowed"
            assert told["hint"]
            gate.set()


async def test_a_cache_that_serves_from_memory_is_degraded(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:

        def load(catalog: Catalog, keys: Sequence[str]) -> dict[str, str]:
            raise Unavailable("It is locked.", hint="Wait.")

        cache: LookupCache[str, str] = LookupCache(
            "tested", node.catalog, load, rows_of=lambda key, _: (), clock=node.clock
        )
        probe = health.caches_check(node.catalog, node.broker)
        assert await probe() == "up to date"
        with pytest.raises(Unavailable):
            await cache.get("a")
        with pytest.raises(health.Degraded, match="tested are served from memory") as found:
            await probe()
        assert (found.value.code, bool(found.value.hint)) == ("cache_fallback", True)


async def test_a_broker_that_lets_devices_in_from_memory_is_degraded(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        probe = health.caches_check(node.catalog, node.broker)
        assert await probe() == "up to date"
        node.broker.statistics["credentials"]["readable"] = False
        with pytest.raises(health.Degraded, match="device_credentials are served from memory"):
            await probe()
        node.broker.statistics.clear()
        assert await probe() == "up to date", (
            "nothing is known of a broker that is away; its own check says so"
        )
