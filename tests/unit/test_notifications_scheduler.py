"""The scheduler: wakes when something is due, when lists change, and when the catalog failed; writes nothing while nothing is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from appliance.core.errors import Unavailable
from appliance.core.limits_notifications import NOTIFICATION_AGE_MS_MAX
from appliance.notifications.scheduler import Scheduler
from storage.catalog.catalog import Catalog
from storage.catalog.database import Change
from tests.acts import ACT
from tests.alarm_kit import MINUTE_MS, found
from tests.notification_kit import ToldSite, a_told_site, new

HOUR_MS = 60 * MINUTE_MS


async def until(holds: Callable[[], bool]) -> None:
    with trio.fail_after(60):
        while not holds():  # noqa: ASYNC110 - numbers tell no event
            await trio.sleep(0.01)


async def test_it_makes_what_comes_due_and_sleeps_meanwhile(tmp_path: Path) -> None:
    async with a_told_site(tmp_path) as told, trio.open_nursery() as nursery:
        await told.on_call()
        scheduler = Scheduler(told.site.catalog, told.telling, clock=told.site.clock)
        stop = told.site.catalog.subscribe(scheduler.note)
        nursery.start_soon(scheduler.run)
        await told.site.find(found())
        told.site.clock.advance(HOUR_MS)
        scheduler.note((Change("alarms", "x"),))
        await until(lambda: scheduler.statistics().made == 1)
        assert await told.steps() == ["raised anna"]
        before = await settled(told)
        scheduler.note((Change("alarms", "x"),))
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert await changes(told) == before
        stop()
        nursery.cancel_scope.cancel()


async def settled(told: ToldSite) -> int:
    """The last change, once what was begun is written."""
    before = -1
    while (now := await changes(told)) != before:
        before = now
        await trio.sleep(0.2)
    return now


async def changes(told: ToldSite) -> int:
    rows = await told.site.catalog.read(lambda reader: reader.rows("SELECT hlc FROM change_clock"))
    return int(rows[0][0])


async def test_a_catalog_that_fails_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.notifications.scheduler._RETRY_S", 0.01)
    async with a_told_site(tmp_path) as told, trio.open_nursery() as nursery:
        await told.on_call()
        await told.site.find(found())
        told.site.clock.advance(HOUR_MS)
        real, failed = told.telling.is_due, [2]

        def is_due(reader: Catalog) -> bool:
            if failed[0]:
                failed[0] -= 1
                raise Unavailable("The catalog is locked.", hint="Wait.")
            return real(reader)

        monkeypatch.setattr(told.telling, "is_due", is_due)
        scheduler = Scheduler(told.site.catalog, told.telling, clock=told.site.clock)
        nursery.start_soon(scheduler.run)
        await until(lambda: scheduler.statistics().made == 1)
        assert scheduler.statistics().failures == 2
        nursery.cancel_scope.cancel()


async def test_a_change_of_lists_has_all_looked_at_anew(tmp_path: Path) -> None:
    async with a_told_site(tmp_path) as told, trio.open_nursery() as nursery:
        await told.site.find(found())  # P2, and no list
        scheduler = Scheduler(told.site.catalog, told.telling, clock=told.site.clock)
        stop = told.site.catalog.subscribe(scheduler.note)
        nursery.start_soon(scheduler.run)
        await told.on_call()
        with trio.fail_after(60):
            while await told.site.catalog.read(Catalog.next_escalation_at_ms) is None:  # noqa: ASYNC110 - a row
                await trio.sleep(0.01)
        stop()
        nursery.cancel_scope.cancel()


async def test_old_ones_go_and_open_ones_stay(tmp_path: Path) -> None:
    async with a_told_site(tmp_path) as told, trio.open_nursery() as nursery:
        wanted = [new("old"), new("open")]
        await told.site.catalog.write(lambda catalog: catalog.make_notifications(wanted), by=ACT)
        begun = await told.site.catalog.write(
            lambda catalog: catalog.begin_next_notification("anna", told.site.clock.now_ms()), by=ACT
        )
        assert begun is not None
        await told.site.catalog.write(
            lambda catalog: catalog.end_notification(begun.notification_id, "sent"), by=ACT
        )
        told.site.clock.advance(NOTIFICATION_AGE_MS_MAX + 1)
        scheduler = Scheduler(told.site.catalog, told.telling, clock=told.site.clock)
        nursery.start_soon(scheduler.run)
        await until(lambda: scheduler.statistics().removed == 1)
        assert [row.state for row in await told.rows()] == ["waiting"]
        nursery.cancel_scope.cancel()
