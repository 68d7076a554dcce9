"""What is told of alarms, with the alarm desk that moves them and a real catalog: in the transaction of the move, and later."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.alarms.book import AlarmBook
from appliance.core.errors import UsageError
from appliance.core.limits_notifications import NOTIFICATION_DIGEST_ALARM_COUNT_MAX
from appliance.management.escalation import key_of
from appliance.management.notification_body import subject
from appliance.management.on_call import Member, Plan
from appliance.management.quiet_hours import WeeklyTime
from appliance.management.rule import RuleScope
from appliance.management.rule_transition import Transition
from appliance.notifications.sender import Sender
from storage.catalog.catalog import Catalog
from tests.acts import ACT
from tests.alarm_kit import FLAP_MS, MINUTE_MS, NOW_MS, WAIT_MS, definition
from tests.alarm_kit import found as found_of
from tests.alarm_kit import id_of as id_of_rule
from tests.notification_kit import RememberingWay, a_told_site, running

HOUR_MS = 60 * MINUTE_MS


def found(device_id: str = "press-1", rule_id: str = "urgent", **more: Any) -> Transition:
    return found_of(device_id, rule_id, **more)


def id_of(device_id: str = "press-1", rule_id: str = "urgent") -> str:
    return id_of_rule(device_id, rule_id)


async def test_p1_is_told_in_the_transaction_that_raises_it(tmp_path: Path) -> None:
    async with a_told_site(tmp_path) as told:
        await told.on_call()
        await told.site.rule("urgent", definition(severity="P1"))
        await told.site.device("press-1")
        await told.site.find(found())
        (row,) = await told.rows()
        assert (row.step, row.target_id, row.state) == ("raised", "anna", "waiting")
        assert row.notification_id == key_of(id_of(), 1, "raised", "anna")
        (body,) = await told.bodies()
        assert body.key == row.notification_id
        assert body.link == f"https://box:8443/alarms/{id_of()}"
        assert subject(body) == "Plant: [P1] press-1 temperature: Rule urgent"
        assert body.alarm is not None
        assert body.alarm.text == "81.5 °C above 80 °C"
        await told.pass_time(15 * MINUTE_MS)
        assert await told.steps() == ["raised anna", "repeated/1 anna"]


async def test_what_is_told_is_not_there_without_the_alarm(tmp_path: Path) -> None:
    """The hook's notifications are of the desk's transaction: undone with it."""
    async with a_told_site(tmp_path) as told:
        await told.on_call()
        await told.site.rule("urgent", definition(severity="P1"))
        told.site.outbox.put(found())
        rows = (await told.site.outbox.read_after("s1", 0, 10)).rows

        def apply(catalog: object) -> None:
            told.site.desk.book.apply(catalog, [each for _, each in rows])  # type: ignore[arg-type]
            raise UsageError("The disk is full.")

        with pytest.raises(UsageError):
            await told.site.catalog.write(apply, by=ACT)
        assert await told.rows() == ()


async def test_p2_waits_an_hour_and_is_over_after_the_flap_time(tmp_path: Path) -> None:
    async with a_told_site(tmp_path) as told:
        await told.on_call()
        await told.site.find(found(rule_id="hot"))
        assert await told.rows() == ()
        await told.pass_time(HOUR_MS)
        assert await told.steps() == ["raised anna"]
        await told.site.find(found(rule_id="hot", is_raised=False, at_ms=NOW_MS + HOUR_MS))
        await told.pass_time(9 * MINUTE_MS)
        assert await told.steps() == ["raised anna"]
        await told.pass_time(MINUTE_MS)
        assert await told.steps() == ["raised anna", "cleared anna"]
        over = (await told.bodies())[-1]
        assert "Over: " in subject(over)


async def test_acknowledged_withdraws_what_still_waits_and_nothing_that_was_sent(tmp_path: Path) -> None:
    async with a_told_site(tmp_path) as told:
        await told.on_call()
        await told.site.rule("urgent", definition(severity="P1"))
        await told.site.find(found(), found("press-2"))
        first = await told.site.catalog.write(
            lambda catalog: catalog.begin_next_notification("anna", NOW_MS), by=ACT
        )
        assert first is not None
        await told.site.catalog.write(
            lambda catalog: catalog.end_notification(first.notification_id, "sent"), by=ACT
        )
        ids = [id_of("press-1"), id_of("press-2")]
        await told.site.catalog.write(
            lambda catalog: told.site.desk.book.acknowledge(catalog, ids, actor="anna", note="", scope=None),
            by=ACT,
        )
        states = sorted(row.state for row in await told.rows())
        assert states == ["sent", "withdrawn"]
        await told.pass_time(HOUR_MS)
        assert len(await told.rows()) == 2
        # Only who was told is told that it is over.
        clear = [found(device, is_raised=False, at_ms=NOW_MS + HOUR_MS) for device in ("press-1", "press-2")]
        await told.site.find(*clear)
        await told.pass_time(10 * MINUTE_MS)
        assert [row.alarm_id for row in await told.rows() if row.step == "cleared"] == [first.alarm_id]


async def test_lists_are_for_the_devices_of_their_scope(tmp_path: Path) -> None:
    async with a_told_site(tmp_path) as told:
        await told.target("bert")
        await told.site.device("press-1", groups=["north"], tags=["hot"])
        await told.site.device("press-2")
        await told.on_call("north", "bert", scope=RuleScope(groups=("north",)))
        await told.on_call("all", "anna")
        await told.site.rule("urgent", definition(severity="P1"))
        await told.site.find(found("press-1"), found("press-2"))
        by_alarm = {(row.alarm_id == id_of("press-1"), row.target_id) for row in await told.rows()}
        assert by_alarm == {(True, "anna"), (True, "bert"), (False, "anna")}


async def test_a_target_that_is_off_is_not_told_and_two_lists_tell_once(tmp_path: Path) -> None:
    async with a_told_site(tmp_path) as told:
        await told.target("off", is_enabled=False)
        await told.on_call("l1", "anna", "off")
        await told.on_call("l2", "anna")
        await told.site.rule("urgent", definition(severity="P1"))
        await told.site.find(found())
        assert await told.steps() == ["raised anna"]


async def test_when_nobody_is_on_call_all_are_told_and_it_is_said(tmp_path: Path) -> None:
    async with a_told_site(tmp_path) as told:
        never = (WeeklyTime(days=("mon",), from_="00:00", to="00:01"),)
        await told.on_call("l1", members=(Member(name="Anna", targets=("anna",), times=never),))
        await told.site.rule("urgent", definition(severity="P1"))
        await told.site.find(found())
        (body,) = await told.bodies()
        assert body.fallback
        assert body.on_call == "l1"


async def test_a_digest_tells_of_p3_once(tmp_path: Path) -> None:
    async with a_told_site(tmp_path) as told:
        await told.on_call()
        await told.look()
        await told.site.rule("urgent", definition(severity="P3"))
        await told.site.device("press-1")
        await told.site.find(found("press-1"), found("press-2"), found("press-3"))
        ids = [id_of("press-3")]
        await told.site.catalog.write(
            lambda catalog: told.site.desk.book.acknowledge(catalog, ids, actor="anna", note="", scope=None),
            by=ACT,
        )
        assert await told.rows() == ()
        await told.pass_time(24 * HOUR_MS)
        (row,) = await told.rows()
        assert row.step.startswith("digest/l1/")
        (body,) = await told.bodies()
        assert body.key == row.notification_id
        assert sorted(each.device_id for each in body.alarms) == ["press-1", "press-2"]
        assert body.link == "https://box:8443/alarms"
        await told.pass_time(48 * HOUR_MS)
        assert len(await told.rows()) == 1


async def test_a_digest_has_a_bound_and_says_how_many_more_there_are(tmp_path: Path) -> None:
    async with a_told_site(tmp_path) as told:
        await told.on_call("l1", "anna", P2=Plan(in_digest=True))
        await told.look()
        count = NOTIFICATION_DIGEST_ALARM_COUNT_MAX + 7
        await told.site.find(*(found(f"d{number}", "hot", text="x" * 900) for number in range(count)))
        await told.pass_time(24 * HOUR_MS)
        (body,) = await told.bodies()
        assert (len(body.alarms), body.more_count) == (NOTIFICATION_DIGEST_ALARM_COUNT_MAX, 7)
        (row,) = await told.rows()
        assert len(row.body.encode()) < 128 * 1024


async def test_shelved_is_not_told_until_its_shelf_ends(tmp_path: Path) -> None:
    async with a_told_site(tmp_path) as told:
        await told.on_call()
        await told.site.rule("urgent", definition(severity="P1"))
        await told.site.find(found())
        until_ms = told.site.clock.now_ms() + HOUR_MS
        await told.site.catalog.write(
            lambda catalog: told.site.desk.book.shelve(
                catalog, [id_of()], until_ms=until_ms, reason="known", actor="anna", scope=None
            ),
            by=ACT,
        )
        assert await told.steps(states=True) == ["raised anna withdrawn"]
        await told.pass_time(30 * MINUTE_MS)
        assert len(await told.rows()) == 1
        await told.pass_time(31 * MINUTE_MS)
        assert (await told.steps(states=True))[1:] == ["raised anna waiting"]


async def test_a_change_of_lists_is_looked_at(tmp_path: Path) -> None:
    """Whoever comes onto a list is told with the next step, not of the past."""
    async with a_told_site(tmp_path) as told:
        await told.site.rule("urgent", definition(severity="P1"))
        await told.site.find(found())
        await told.on_call()
        await told.pass_time(MINUTE_MS)
        await told.site.catalog.write(told.telling.look_at_all, by=ACT)
        await told.look()
        assert await told.rows() == ()
        assert await told.site.catalog.read(told.telling.next_at_ms) == NOW_MS + 15 * MINUTE_MS
        await told.pass_time(14 * MINUTE_MS)
        assert await told.steps() == ["repeated/1 anna"]


async def test_an_alarm_that_is_gone_is_forgotten(tmp_path: Path) -> None:
    async with a_told_site(tmp_path) as told:
        await told.on_call()
        await told.site.find(found(rule_id="hot"))
        await told.site.catalog.write(lambda catalog: catalog.execute("DELETE FROM alarms"), by=ACT)
        await told.pass_time(HOUR_MS)
        assert await told.rows() == ()
        removed = await told.site.catalog.write(
            lambda catalog: catalog.remove_escalations_without_alarm(), by=ACT
        )
        assert removed == 1


async def test_moves_of_an_alarm_that_was_removed_at_once_tell_nobody(tmp_path: Path) -> None:
    async with a_told_site(tmp_path) as told:
        await told.on_call()
        seen: list[int] = []

        def hook(catalog: object, moves: object) -> None:
            catalog.execute("DELETE FROM alarms")  # type: ignore[attr-defined]
            told.telling.on_moves(catalog, moves)  # type: ignore[arg-type]
            seen.append(1)

        told.site.desk.book.on_moves = hook
        await told.site.find(found(rule_id="hot"))
        assert seen
        assert await told.rows() == ()


async def test_without_an_address_there_is_no_link(tmp_path: Path) -> None:
    async with a_told_site(tmp_path) as told:
        await told.on_call()
        await told.site.rule("urgent", definition(severity="P1"))
        await told.site.catalog.write(
            lambda catalog: catalog.set_setting("site.base_url", "https://plant.example.org"), by=ACT
        )
        await told.site.find(found())
        (body,) = await told.bodies()
        assert body.link.startswith("https://plant.example.org/alarms/")
        key = await told.site.catalog.read(lambda catalog: told.telling.try_body(catalog, "k", "test/1"))
        assert "https://plant.example.org/alarms/notifications" in key


async def test_what_was_acknowledged_while_the_node_was_stopped_is_not_told(tmp_path: Path) -> None:
    """A command moves the alarm with a book of its own, which tells nobody."""
    async with a_told_site(tmp_path) as told:
        await told.on_call()
        await told.site.rule("urgent", definition(severity="P1"))
        await told.site.find(found())
        book = AlarmBook(clock=told.site.clock, flap_ms=FLAP_MS, wait_ms=WAIT_MS)
        await told.site.catalog.write(
            lambda catalog: book.acknowledge(catalog, [id_of()], actor="anna"), by=ACT
        )
        await told.pass_time(HOUR_MS)
        assert await told.steps(states=True) == ["raised anna withdrawn"]


async def test_a_target_that_is_away_is_told_of_the_newest_repetition_only(tmp_path: Path) -> None:
    async with a_told_site(tmp_path) as told:
        await told.on_call()
        await told.site.rule("urgent", definition(severity="P1"))
        await told.site.find(found())
        for _ in range(3):
            await told.pass_time(15 * MINUTE_MS)
        assert await told.steps(states=True) == [
            "raised anna waiting",
            "repeated/1 anna withdrawn",
            "repeated/2 anna withdrawn",
            "repeated/3 anna waiting",
        ]


async def test_a_list_and_a_target_of_a_newer_release_keep_no_alarm_from_being_told(tmp_path: Path) -> None:
    async with a_told_site(tmp_path) as told:
        await told.target("new")
        await told.on_call("l1", "anna", "new")
        await told.on_call("l2", "anna")

        def write(catalog: Catalog) -> None:
            marks = (catalog.origin, catalog.hlc)
            catalog.execute(
                "UPDATE on_call_lists SET definition = '{\"new\": 1}', origin = ?, hlc = ? WHERE list_id = 'l2'",
                marks,
            )
            catalog.execute(
                'UPDATE notification_targets SET settings = \'{"kind": "mqtt", "new": 1}\', origin = ?, hlc = ? '
                "WHERE target_id = 'new'",
                marks,
            )

        await told.site.catalog.write(write, by=ACT)
        await told.site.rule("urgent", definition(severity="P1"))
        await told.site.find(found())
        assert await told.steps() == ["raised anna", "raised new"]
        way = RememberingWay()
        sender = Sender(told.site.catalog, way, clock=told.site.clock, random=lambda: 0.0)
        async with running(sender):
            with trio.fail_after(60):
                while "ing" in str(await told.steps(states=True)):  # noqa: ASYNC110 - rows on disk, waiting or sending
                    await trio.sleep(0.01)
        assert await told.steps(states=True) == ["raised anna sent", "raised new withdrawn"]
