"""Rules in the node: real rules over a real store, followed by what the catalog says of devices."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.lowlevel
import trio.testing

from appliance.core.clock import ManualClock
from appliance.core.config import WatchConfig
from appliance.core.errors import Unavailable
from appliance.management.audit import Act
from appliance.management.watched import Membership
from appliance.pipeline.store_work import StoreWork
from appliance.run import watch_wiring
from appliance.run.watch_wiring import MembershipKeeper, StoreOutbox, make_watch, open_watch
from storage.catalog import AsyncCatalog
from storage.telemetry.alarm_outbox import AlarmOutbox
from storage.telemetry.batch import WatchPart
from storage.telemetry.store import TelemetryStore
from tests.unit.test_storage_telemetry_alarm_outbox import transition

pytestmark = pytest.mark.trio


def opened(folder: Path) -> Any:
    return AsyncCatalog.opened(folder / "c.db", clock=ManualClock(), node_id=bytes(16))


async def test_switched_off_rules_can_be_changed_and_nobody_watches(tmp_path: Path) -> None:
    async with opened(tmp_path) as catalog:
        parts = await open_watch(WatchConfig(enabled=False), catalog, lambda: (1, 5), may_tick=lambda: True)
        assert parts.watched is None
        await parts.run()
        async with parts.rules.changing() as position:
            assert position == (1, 5)


async def test_the_real_rules_begin_and_save(tmp_path: Path) -> None:
    async with opened(tmp_path) as catalog:
        parts = await open_watch(WatchConfig(), catalog, lambda: (1, 5), may_tick=lambda: True)
        assert parts.watched is not None
    watch = make_watch(WatchConfig(lateness_ms=5_000))

    class Names:
        def __len__(self) -> int:
            return 1

        def name_of(self, series_id: int, /) -> tuple[str, str]:
            return "", ""

    watch.begin(Names(), (), None)
    watch.begin(Names(), (), watch.save())
    assert watch.tick(1_700_000_000_000, epoch=1, seq=1) == []
    assert watch.statistics().rules.rules == 0


async def test_where_devices_belong_is_told_again_when_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_wiring, "GATHER_S", 0)
    monkeypatch.setattr(watch_wiring, "RETRY_S", 0)
    told: list[Membership] = []
    has_pump = trio.Event()

    def tell(membership: Membership) -> None:
        told.append(membership)
        if "pump" in membership.devices:
            has_pump.set()

    async with opened(tmp_path) as catalog, trio.open_nursery() as nursery:
        keeper = MembershipKeeper(catalog, tell)
        await keeper.look()
        failures = [Unavailable("away", hint="", code="catalog_away")]
        read = catalog.read

        async def failing(call: Callable[[Any], Any], **more: Any) -> Any:
            if failures:
                raise failures.pop()
            return await read(call, **more)

        monkeypatch.setattr(catalog, "read", failing)
        nursery.start_soon(keeper.run)
        await trio.testing.wait_all_tasks_blocked()
        await catalog.write(lambda writer: writer.add_device("pump"), by=Act(action="device.add"))
        with trio.fail_after(60):
            await has_pump.wait()
        nursery.cancel_scope.cancel()
    assert "pump" not in told[0].devices


async def test_a_device_that_comes_before_anybody_follows_is_told_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_wiring, "GATHER_S", 0)
    told: list[Membership] = []
    is_told = trio.Event()

    def tell(membership: Membership) -> None:
        told.append(membership)
        if len(told) == 2:
            is_told.set()

    async with opened(tmp_path) as catalog, trio.open_nursery() as nursery:
        keeper = MembershipKeeper(catalog, tell)
        await keeper.look()
        await catalog.write(lambda writer: writer.add_device("pump"), by=Act(action="device.add"))
        nursery.start_soon(keeper.run)
        with trio.fail_after(60):
            await is_told.wait()
        nursery.cancel_scope.cancel()
    assert ["pump" in each.devices for each in told] == [False, True]


async def test_the_outbox_is_asked_between_two_batches(tmp_path: Path) -> None:
    store = TelemetryStore.open(tmp_path / "t.duckdb")
    AlarmOutbox(store).put(WatchPart(transitions=[transition(1), transition(2)]))
    store_id = AlarmOutbox(store).store_id()
    work = StoreWork(lambda: None)
    outbox = StoreOutbox(work)

    async def turn() -> None:
        async def in_thread(call: Callable[[], None]) -> None:
            call()

        while True:
            await work.turn(in_thread, store)
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(turn)
        found = await outbox.read_after("another store", 1, 10)
        assert (found.store_id, [number for number, _ in found.rows]) == (store_id, [1, 2])
        found = await outbox.read_after(store_id, 1, 10)
        assert [number for number, _ in found.rows] == [2]
        await outbox.forget_through("another store", 2)
        assert AlarmOutbox(store).waiting() == 2
        await outbox.forget_through(store_id, 2)
        assert AlarmOutbox(store).waiting() == 0
        nursery.cancel_scope.cancel()
    store.close()
