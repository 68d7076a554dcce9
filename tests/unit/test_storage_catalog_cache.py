"""Look-ups kept in memory: fresh, forgotten with the commit that changed them, and the last known good in an outage."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from appliance.core.clock import ManualClock, SystemClock
from appliance.core.errors import StorageError, Unavailable
from appliance.core.limits import CACHE_STRIKE_COUNT_MAX
from storage.catalog import AsyncCatalog, Catalog, Change, Device, LookupCache
from tests.acts import ACT

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
TTL_MS = 1_000
GOOD_MS = 60_000
RETRY_MS = 500


@dataclass
class World:
    """A catalog, a cache of its devices, and what goes wrong with reading them."""

    catalog: AsyncCatalog
    clock: ManualClock
    failure: Exception | None = None
    endless: bool = False
    asked: list[tuple[str, ...]] = field(default_factory=list)
    after_reading: threading.Event | None = None
    has_read: threading.Event = field(default_factory=threading.Event)

    def load(self, catalog: Catalog, keys: Sequence[str]) -> dict[str, Device]:
        self.asked.append(tuple(keys))
        if self.failure is not None:
            raise self.failure
        if self.endless:
            catalog.rows(ENDLESS)
        found = {key: device for key in keys if (device := catalog.find_device(key)) is not None}
        if self.after_reading is not None:
            self.has_read.set()
            assert self.after_reading.wait(30)
        return found

    def cache(self, **changes: Any) -> LookupCache[str, Device]:
        arguments: dict[str, Any] = {
            "rows_of": lambda key, _device: (Change("devices", key),),
            "clock": self.clock,
            "ttl_ms": TTL_MS,
            "last_known_good_ms": GOOD_MS,
            "retry_after_ms": RETRY_MS,
            "load_timeout_ms": 5_000,
        } | changes
        return LookupCache("devices", self.catalog, self.load, **arguments)

    async def add(self, *device_ids: str) -> None:
        def write(catalog: Catalog) -> None:
            for device_id in device_ids:
                catalog.add_device(device_id)

        await self.catalog.write(write, by=ACT)


@asynccontextmanager
async def _world(tmp_path: Path) -> AsyncIterator[World]:
    path = tmp_path / "catalog.db"
    async with AsyncCatalog.opened(path, clock=SystemClock(), node_id=bytes(16)) as catalog:
        yield World(catalog=catalog, clock=ManualClock())


def _away() -> Unavailable:
    return Unavailable("It is locked.", hint="Wait.", code="catalog_locked")


async def test_what_was_read_is_served_from_memory_until_its_time_is_over(tmp_path: Path) -> None:
    async with _world(tmp_path) as world:
        cache = world.cache()
        await world.add("a")
        for _ in range(3):
            device = await cache.get("a")
            assert device is not None
            assert device.device_id == "a"
        assert world.asked == [("a",)]
        world.clock.advance(TTL_MS)
        assert await cache.get("a")
        assert world.asked == [("a",), ("a",)]
        numbers = cache.statistics()
        assert (numbers.lookups_total, numbers.hits_total, numbers.loads_total) == (4, 2, 2)
        assert world.catalog.statistics().caches == {"devices": numbers}


async def test_what_is_not_there_is_asked_for_each_time_and_takes_no_room(tmp_path: Path) -> None:
    async with _world(tmp_path) as world:
        cache = world.cache()
        assert await cache.get("a") is None
        assert cache.statistics().entries == 0
        await world.add("a")
        assert await cache.get("a")


async def test_many_are_read_at_once_and_only_those_that_are_not_known(tmp_path: Path) -> None:
    async with _world(tmp_path) as world:
        cache = world.cache()
        await world.add("a", "b")
        await cache.get("a")
        assert set(await cache.get_many(["a", "b", "c", "b"])) == {"a", "b"}
        assert world.asked == [("a",), ("b", "c")]
        assert await cache.get_many([]) == {}


async def test_a_committed_change_is_seen_by_the_next_look(tmp_path: Path) -> None:
    async with _world(tmp_path) as world:
        cache = world.cache()
        await world.add("a", "b")
        await cache.get_many(["a", "b"])
        await world.catalog.write(lambda writer: writer.decommission_device("a"), by=ACT)
        device = await cache.get("a")
        assert device is not None
        assert device.state == "decommissioned"
        assert world.asked == [("a", "b"), ("a",)], "b was not changed"
        assert cache.statistics().forgotten_total == 1


async def test_a_change_that_is_undone_changes_nothing(tmp_path: Path) -> None:
    def failing(writer: Catalog) -> None:
        writer.decommission_device("a")
        raise ZeroDivisionError

    async with _world(tmp_path) as world:
        cache = world.cache()
        await world.add("a")
        await cache.get("a")
        with pytest.raises(ZeroDivisionError):
            await world.catalog.write(failing, by=ACT)
        assert await cache.get("a")
        assert cache.statistics().forgotten_total == 0


async def test_what_changes_while_it_is_read_is_not_kept(tmp_path: Path) -> None:
    async with _world(tmp_path) as world, trio.open_nursery() as nursery:
        cache = world.cache()
        await world.add("a")
        world.after_reading = threading.Event()
        nursery.start_soon(cache.get, "a")
        assert await trio.to_thread.run_sync(world.has_read.wait, 30)
        await world.catalog.write(lambda writer: writer.decommission_device("a"), by=ACT)
        world.after_reading.set()
        with trio.fail_after(30):
            while cache.statistics().loads_total and len(world.asked) < 2:
                device = await cache.get("a")
        assert device is not None
        assert device.state == "decommissioned"


@pytest.mark.parametrize("whole", [False, True])
async def test_what_is_forgotten_while_it_is_read_is_not_kept(tmp_path: Path, whole: bool) -> None:
    async with _world(tmp_path) as world:
        cache = world.cache()
        await world.add("a")
        world.after_reading = threading.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cache.get, "a")
            assert await trio.to_thread.run_sync(world.has_read.wait, 30)
            if whole:
                cache.forget_all()
            else:
                cache.forget("a")
            world.after_reading.set()
        assert cache.statistics().entries == 0


async def test_forgetting_has_it_read_again(tmp_path: Path) -> None:
    async with _world(tmp_path) as world:
        cache = world.cache()
        await world.add("a", "b")
        await cache.get_many(["a", "b"])
        cache.forget("a")
        cache.forget("never known")
        await cache.get_many(["a", "b"])
        cache.forget_all()
        await cache.get("b")
        assert world.asked == [("a", "b"), ("a",), ("b",)]
        assert cache.statistics().forgotten_total == 3


async def test_memory_is_bounded_and_the_one_unused_for_longest_goes(tmp_path: Path) -> None:
    async with _world(tmp_path) as world:
        cache = world.cache(entry_count_max=2)
        await world.add("a", "b", "c")
        await cache.get("a")
        await cache.get("b")
        await cache.get("a")
        await cache.get("c")
        assert cache.statistics().entries == 2
        world.asked.clear()
        await cache.get_many(["a", "c"])
        assert world.asked == []
        await cache.get("b")
        assert world.asked == [("b",)]


@pytest.mark.parametrize("failure", [_away(), StorageError("It is damaged.", hint="Restore it.")])
async def test_after_three_failures_the_last_known_good_is_served(tmp_path: Path, failure: Exception) -> None:
    async with _world(tmp_path) as world:
        cache = world.cache()
        await world.add("a")
        await cache.get("a")
        world.clock.advance(TTL_MS)
        world.failure = failure
        world.asked.clear()
        with capture_logs() as logged:
            for _ in range(5):
                assert await cache.get("a"), "it is known"
        assert len(world.asked) == CACHE_STRIKE_COUNT_MAX, "then it is left alone"
        assert [line["event"] for line in logged] == ["the catalog is away: the last known good is served"]
        numbers = cache.statistics()
        assert numbers.away
        assert (numbers.fallbacks_total, numbers.failures_total) == (5, CACHE_STRIKE_COUNT_MAX)
        assert numbers.fallback_ratio == pytest.approx(5 / 6)


async def test_failures_that_are_not_in_a_row_are_forgiven(tmp_path: Path) -> None:
    async with _world(tmp_path) as world:
        cache = world.cache()
        await world.add("a")
        outcomes: list[Exception | None] = [_away(), _away(), None, _away(), _away(), None]

        def load(catalog: Catalog, keys: Sequence[str]) -> dict[str, Device]:
            world.failure = outcomes.pop(0)
            return world.load(catalog, keys)

        cache._loader = load
        assert await cache.get("a")
        world.clock.advance(TTL_MS)
        assert await cache.get("a")
        assert not cache.statistics().away
        assert cache.statistics().fallbacks_total == 0


async def test_who_is_not_known_is_refused_while_the_catalog_is_away(tmp_path: Path) -> None:
    async with _world(tmp_path) as world:
        cache = world.cache()
        await world.add("a")
        await cache.get("a")
        world.clock.advance(TTL_MS)
        world.failure = _away()
        for keys in (["b"], ["a", "b"]):
            with pytest.raises(Unavailable) as refused:
                await cache.get_many(keys)
            assert refused.value.code == "catalog_unreadable"
            assert refused.value.hint
        assert cache.statistics().refused_total == 2


async def test_the_last_known_good_ends_after_its_minutes(tmp_path: Path) -> None:
    async with _world(tmp_path) as world:
        cache = world.cache()
        await world.add("a")
        await cache.get("a")
        world.clock.advance(TTL_MS)
        world.failure = _away()
        assert await cache.get("a")
        world.clock.advance(GOOD_MS - 1)
        assert await cache.get("a")
        world.clock.advance(1)
        with pytest.raises(Unavailable, match="can't be read for 60 s: It is locked"):
            await cache.get("a")


async def test_one_look_at_a_time_finds_out_that_the_catalog_is_back(tmp_path: Path) -> None:
    async with _world(tmp_path) as world:
        cache = world.cache()
        await world.add("a")
        await cache.get("a")
        world.clock.advance(TTL_MS)
        world.failure = _away()
        await cache.get("a")
        world.asked.clear()
        world.clock.advance(RETRY_MS)
        for _ in range(3):
            await cache.get("a")
        assert len(world.asked) == 1
        world.failure = None
        world.clock.advance(RETRY_MS)
        with capture_logs() as logged:
            assert await cache.get("a")
        assert [line["event"] for line in logged] == ["the catalog is back"]
        assert not cache.statistics().away


async def test_while_one_finds_out_the_others_are_served(tmp_path: Path) -> None:
    async with _world(tmp_path) as world:
        cache = world.cache()
        await world.add("a")
        await cache.get("a")
        world.clock.advance(TTL_MS)
        world.failure = _away()
        await cache.get("a")
        world.failure = None
        world.after_reading = threading.Event()
        world.clock.advance(RETRY_MS)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cache.get, "a")
            assert await trio.to_thread.run_sync(world.has_read.wait, 30)
            with trio.fail_after(60):
                assert await cache.get("a")
            assert cache.statistics().fallbacks_total == 2
            world.after_reading.set()


async def test_what_was_revoked_is_not_served_while_reading_fails(tmp_path: Path) -> None:
    """Writing may work while reading does not: the pools are apart."""
    async with _world(tmp_path) as world:
        cache = world.cache()
        await world.add("a", "b")
        await cache.get_many(["a", "b"])
        world.clock.advance(TTL_MS)
        world.failure = _away()
        assert await cache.get("a")
        await world.catalog.write(lambda writer: writer.decommission_device("a"), by=ACT)
        with pytest.raises(Unavailable):
            await cache.get("a")
        assert await cache.get("b")


async def test_rows_of_this_node_only_are_told_too(tmp_path: Path) -> None:
    """A signed-in browser is in no outbox, and its end holds at once all the same."""
    session_hash = bytes(32)

    def fill(writer: Catalog) -> None:
        writer.add_user("admin", role="admin", password_hash="$argon2id$x")
        writer.open_session(session_hash, user_id="admin", expires_at_ms=2**50, address="", agent="")

    async with _world(tmp_path) as world:
        await world.catalog.write(fill, by=ACT)

        def load(catalog: Catalog, keys: Sequence[bytes]) -> dict[bytes, str]:
            sessions = {key: catalog.find_session(key) for key in keys}
            return {key: session.user_id for key, session in sessions.items() if session is not None}

        cache: LookupCache[bytes, str] = LookupCache(
            "sessions",
            world.catalog,
            load,
            rows_of=lambda key, user_id: (Change("browser_sessions", key.hex()), Change("users", user_id)),
            clock=world.clock,
        )
        assert await cache.get(session_hash) == "admin"
        await world.catalog.write(lambda writer: writer.close_session(session_hash), by=ACT)
        assert await cache.get(session_hash) is None


async def test_a_catalog_that_does_not_answer_costs_a_bounded_time(tmp_path: Path) -> None:
    async with _world(tmp_path) as world:
        cache = world.cache(load_timeout_ms=50)
        await world.add("a")
        await cache.get("a")
        world.clock.advance(TTL_MS)
        world.endless = True
        with trio.fail_after(60):
            assert await cache.get("a")
            with pytest.raises(Unavailable):
                await cache.get("b")
        assert cache.statistics().failures_total == CACHE_STRIKE_COUNT_MAX


async def test_the_share_of_fallbacks_is_of_the_last_minute(tmp_path: Path) -> None:
    async with _world(tmp_path) as world:
        cache = world.cache(last_known_good_ms=10**9)
        await world.add("a")
        await cache.get("a")
        world.clock.advance(TTL_MS)
        world.failure = _away()
        await cache.get("a")
        assert cache.statistics().fallback_ratio == 0.5
        world.clock.advance(70_000)
        assert cache.statistics().fallback_ratio == 0.0
        await cache.get("a")
        assert cache.statistics().fallback_ratio == 1.0


async def test_two_caches_of_one_name_are_a_mistake(tmp_path: Path) -> None:
    async with _world(tmp_path) as world:
        world.cache()
        with pytest.raises(AssertionError):
            world.cache()
