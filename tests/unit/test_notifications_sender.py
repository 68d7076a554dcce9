"""The sender: on disk before it is sent, retries, order within an alarm, slow targets, what a killed node was sending."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from appliance.core.clock import ManualClock
from appliance.core.limits_notifications import (
    NOTIFICATION_GIVE_UP_MS,
    NOTIFICATION_RETRY_MS_MAX,
)
from appliance.management.audit import Act
from appliance.management.notification_targets import Mqtt
from appliance.notifications import sender
from appliance.notifications.sender import GONE, Sender, retry_ms
from appliance.notifications.sent import Sent
from storage.catalog import AsyncCatalog, notifications
from storage.catalog.catalog import Catalog
from storage.catalog.notifications import NewNotification, Notification
from tests.acts import ACT
from tests.notification_kit import OK, REFUSED, SILENT, RememberingWay, new, running

NOW_MS = 1_772_000_000_000


@dataclass
class Scene:
    catalog: AsyncCatalog
    clock: ManualClock
    way: RememberingWay
    sender: Sender

    async def make(self, *wanted: NewNotification) -> None:
        await self.catalog.write(lambda catalog: catalog.make_notifications(wanted), by=ACT)
        self.sender.wake()

    async def row(self, key: str) -> Notification:
        return await self.catalog.read(lambda catalog: catalog.get_notification(key))

    async def until(self, holds: Callable[[], bool]) -> None:
        with trio.fail_after(60):
            while not holds():  # noqa: ASYNC110 - rows change on disk, which tells no event
                await trio.sleep(0.01)

    async def until_state(self, key: str, *states: str) -> Notification:
        with trio.fail_after(60):
            while (row := await self.row(key)).state not in states:  # noqa: ASYNC110 - the same
                await trio.sleep(0.01)
        return row

    async def turn(self, ms: int) -> None:
        """Time passes, and the sender looks."""
        self.clock.advance(ms)
        self.sender.wake()


@asynccontextmanager
async def scene(folder: Path, *targets: str) -> AsyncIterator[Scene]:
    clock = ManualClock(NOW_MS)
    async with AsyncCatalog.opened(folder / "catalog.db", clock=clock, node_id=bytes(16)) as catalog:
        for target in targets or ("anna",):
            await catalog.write(
                lambda writer, name=target: writer.add_target(  # type: ignore[misc]
                    name, name=name.title(), settings=Mqtt(topic=f"a/{name}"), secret_sealed=b""
                ),
                by=ACT,
            )
        way = RememberingWay()
        yield Scene(catalog, clock, way, Sender(catalog, way, clock=clock, random=lambda: 0.0))


def test_pauses_double_up_to_a_quarter_of_an_hour_less_a_random_part() -> None:
    assert [retry_ms(n, lambda: 0.0) for n in (1, 2, 3)] == [1_000, 2_000, 4_000]
    assert retry_ms(500, lambda: 0.0) == NOTIFICATION_RETRY_MS_MAX
    assert retry_ms(1, lambda: 1.0) == 500


async def test_it_is_on_disk_as_sending_before_it_is_sent(tmp_path: Path) -> None:
    async with scene(tmp_path) as it, running(it.sender):
        it.way.hold["anna"] = trio.Event()
        await it.make(new("k1"))
        await it.until(lambda: bool(it.way.sent))
        row = await it.row("k1")
        assert (row.state, row.attempts) == ("sending", 1)
        it.way.hold["anna"].set()
        row = await it.until_state("k1", "sent")
        assert row.outcome == OK.words
        assert row.sent_at_ms == NOW_MS
        assert it.sender.statistics().attempts == {("mqtt", "sent"): 1}


async def test_what_a_killed_node_was_sending_is_sent_again_under_its_key(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        await it.make(new("k1"))
        await it.catalog.write(lambda catalog: catalog.begin_next_notification("anna", NOW_MS), by=ACT)
        async with running(it.sender):
            row = await it.until_state("k1", "sent")
        assert row.attempts == 2
        assert it.way.sent == [("anna", "k1")]


async def test_a_slow_target_holds_nobody_else_up(tmp_path: Path) -> None:
    async with scene(tmp_path, "slow", "quick") as it, running(it.sender):
        it.way.hold["slow"] = trio.Event()
        await it.make(*(new(f"s{n}", "slow") for n in range(3)), *(new(f"q{n}", "quick") for n in range(60)))
        for number in range(60):
            await it.until_state(f"q{number}", "sent")
        assert it.way.keys("slow") == ["s0"]
        it.way.hold["slow"].set()
        await it.until_state("s2", "sent")


async def test_a_target_that_is_silent_waits_for_itself_and_is_hurried_when_it_answers(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path) as it, running(it.sender):
        it.way.answers["anna"] = [SILENT, SILENT, OK]
        await it.make(new("k1"), new("k2"))
        await it.until(lambda: len(it.way.sent) == 1)
        row = await it.until_state("k1", "waiting")
        assert row.error == SILENT.words
        assert row.next_at_ms == NOW_MS + 1_000
        assert it.sender.statistics().pausing == 1
        await it.turn(500)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert len(it.way.sent) == 1
        await it.turn(500)
        await it.until(lambda: len(it.way.sent) == 2)
        await it.until(lambda: it.sender.statistics().sending == 0)
        await it.turn(2_000)
        for key in ("k1", "k2"):
            await it.until_state(key, "sent")
        assert it.sender.statistics().pausing == 0
        assert it.sender.statistics().attempts["mqtt", "failed"] == 2


async def test_one_that_is_refused_keeps_no_other_from_being_sent(tmp_path: Path) -> None:
    async with scene(tmp_path) as it, running(it.sender):
        it.way.answers["anna"] = [REFUSED, OK]
        await it.make(new("bad", alarm_id="a1"), new("good", alarm_id="a2"))
        await it.until_state("good", "sent")
        assert (await it.row("bad")).state == "waiting"
        await it.turn(1_000)
        await it.until_state("bad", "sent")


async def test_what_is_told_of_an_alarm_keeps_its_order(tmp_path: Path) -> None:
    async with scene(tmp_path) as it, running(it.sender):
        it.way.answers["anna"] = [REFUSED, OK]
        await it.make(new("raised", alarm_id="a1"), new("over", alarm_id="a1", step="cleared"))
        await it.until(lambda: bool(it.way.sent))
        await it.until_state("raised", "waiting")
        await it.until(lambda: it.sender.statistics().sending == 0)
        assert it.way.keys("anna") == ["raised"]
        await it.turn(1_000)
        await it.until_state("over", "sent")
        assert it.way.keys("anna") == ["raised", "raised", "over"]


async def test_what_the_receiver_asks_to_wait_for_is_waited_for(tmp_path: Path) -> None:
    async with scene(tmp_path) as it, running(it.sender):
        busy = Sent(is_sent=False, words="HTTP 429", is_answer=True, retry_after_s=120)
        it.way.answers["anna"] = [busy, OK]
        await it.make(new("k1"))
        await it.until(lambda: bool(it.way.sent))
        row = await it.until_state("k1", "waiting")
        assert row.next_at_ms == NOW_MS + 120_000


async def test_what_nobody_took_for_a_day_is_given_up(tmp_path: Path) -> None:
    async with scene(tmp_path) as it, running(it.sender):
        it.way.answers["anna"] = [REFUSED]
        await it.make(new("k1"))
        for attempt in range(1, 12):
            await it.until(lambda count=attempt: len(it.way.sent) == count)  # type: ignore[misc]
            await it.until_state("k1", "waiting")
            await it.turn(NOTIFICATION_RETRY_MS_MAX)
        await it.until(lambda: len(it.way.sent) == 12)
        await it.until_state("k1", "waiting")
        await it.turn(NOTIFICATION_GIVE_UP_MS)
        row = await it.until_state("k1", "given_up")
        assert row.error == "HTTP 400"
        assert it.sender.statistics().given_up == {"mqtt": 1}


async def test_a_clock_set_right_by_years_gives_nothing_up(tmp_path: Path) -> None:
    async with scene(tmp_path) as it, running(it.sender):
        it.way.answers["anna"] = [REFUSED]
        await it.make(new("k1"))
        await it.until(lambda: bool(it.way.sent))
        await it.until_state("k1", "waiting")
        await it.turn(50 * 365 * 86_400_000)
        await it.until(lambda: len(it.way.sent) == 2)
        assert (await it.until_state("k1", "waiting", "given_up")).state == "waiting"
        await it.turn(-50 * 365 * 86_400_000)
        await it.until(lambda: len(it.way.sent) == 3)


async def test_a_target_that_is_off_gets_nothing(tmp_path: Path) -> None:
    async with scene(tmp_path) as it, running(it.sender):
        await it.catalog.write(lambda catalog: catalog.edit_target("anna", is_enabled=False), by=ACT)
        await it.make(new("k1"), new("k2", "nobody"))
        for key in ("k1", "k2"):
            assert (await it.until_state(key, "withdrawn")).outcome == GONE
        assert it.way.sent == []


async def test_an_attempt_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "NOTIFICATION_ATTEMPT_TIMEOUT_S", 0.05)
    async with scene(tmp_path) as it:
        it.way.hold["anna"] = trio.Event()
        target = await it.catalog.read(lambda catalog: catalog.get_target("anna"))
        assert target is not None
        row = await it.sender.try_now(target, new("t1", step="test/1"), by=Act(action="test"))
        assert (row.state, row.attempts) == ("given_up", 1)
        assert "No answer within" in row.error
        it.way.hold["anna"].set()
        assert target is not None
        row = await it.sender.try_now(target, new("t2", step="test/2"), by=Act(action="test"))
        assert (row.state, row.outcome) == ("sent", OK.words)


async def test_too_many_for_a_target_are_given_up_at_once_and_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifications, "NOTIFICATION_WAITING_COUNT_MAX", 3)
    async with scene(tmp_path) as it:
        await it.make(*(new(f"k{n}") for n in range(3)))
        await it.make(new("more"), new("other", "bert"))
        assert (await it.row("more")).state == "given_up"
        assert "wait for this target" in (await it.row("more")).error
        assert (await it.row("other")).state == "waiting"


async def test_one_that_nothing_can_be_made_of_holds_nobody_up(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path, "anna", "bert") as it, running(it.sender):
        it.way.defects["bad"] = KeyError("title")
        await it.make(new("bad"), new("good"), new("other", "bert"))
        for key in ("good", "other"):
            await it.until_state(key, "sent")
        row = await it.until_state("bad", "waiting")
        assert row.error == "A defect of Homeport: KeyError: 'title'."
        assert row.next_at_ms == NOW_MS + 1_000
        assert it.sender.statistics().pausing == 0, "the target is there"
        del it.way.defects["bad"]
        await it.turn(1_000)
        await it.until_state("bad", "sent")


async def test_a_try_that_nothing_can_be_made_of_says_so(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        it.way.defects["try"] = ValueError("no")
        target = await it.catalog.read(lambda catalog: catalog.find_target("anna"))
        assert target is not None
        row = await it.sender.try_now(target, new("try"), by=ACT)
        assert (row.state, row.error) == ("given_up", "A defect of Homeport: ValueError: no.")


async def test_a_target_that_nothing_can_be_made_of_pauses_and_all_others_are_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = Catalog.begin_next_notification

    def fails(catalog: Catalog, target_id: str, now_ms: int) -> Notification | None:
        if target_id == "anna":
            raise KeyError(target_id)
        return begin(catalog, target_id, now_ms)

    monkeypatch.setattr(Catalog, "begin_next_notification", fails)
    async with scene(tmp_path, "anna", "bert") as it, running(it.sender):
        await it.make(new("k1"), new("k2", "bert"))
        await it.until_state("k2", "sent")
        await it.until(lambda: it.sender.statistics().pausing == 1)
        assert (await it.row("k1")).state == "waiting", "as it was: the transaction is no more"
        await it.make(new("k3", "bert"))
        await it.until_state("k3", "sent")
        monkeypatch.undo()
        await it.turn(1_000)
        await it.until_state("k1", "sent")
