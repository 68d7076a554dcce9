"""What becomes of alarms besides what rules find: maintenance, explanations, rules and devices that are gone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from appliance.alarms import judging
from appliance.management.alarm import WAITING, Alarm, Word
from appliance.management.alarms import AlarmState
from appliance.management.rule import RuleScope
from appliance.management.rule_conditions import MissingFraction
from storage.catalog.catalog import Catalog
from tests.acts import ACT
from tests.alarm_kit import (
    BROKER_DOWN,
    FLAP_MS,
    MINUTE_MS,
    NOW_MS,
    SILENT,
    SITE_SILENT,
    WAIT_MS,
    Site,
    a_site,
    definition,
    found,
    id_of,
)

HALL = RuleScope(groups=("hall",))


async def maintain(site: Site, scope: RuleScope, *, from_ms: int = 0, for_ms: int = 60 * MINUTE_MS) -> str:
    at_ms = site.clock.now_ms() + from_ms
    made = await site.catalog.write(
        lambda catalog: catalog.add_maintenance(
            f"m{at_ms}", scope=scope, reason="boiler", from_at_ms=at_ms, until_at_ms=at_ms + for_ms, by="anna"
        ),
        by=ACT,
    )
    await site.desk.settle()
    return made.maintenance_id


def silent(device_id: str, **more: Any) -> Any:
    return found(device_id, "silent", series="", text="no reading for 3 min", **more)


async def silent_alarm(site: Site, device_id: str) -> Alarm:
    return await site.alarm(device_id, "silent", series="")


async def test_within_maintenance_nobody_is_told_and_afterwards_of_what_is_left(tmp_path: Path) -> None:
    async with a_site(tmp_path) as site:
        await site.device("press-1", groups=["hall"])
        await site.device("press-2", groups=["hall"])
        await site.device("press-3")
        await site.find(found("press-2"))
        maintenance_id = await maintain(site, HALL)
        assert (await site.alarm("press-2")).suppressed_by == maintenance_id, "what is active already, too"
        await site.find(found("press-1", at_ms=NOW_MS + 5), found("press-3", at_ms=NOW_MS + 5))
        assert (await site.alarm("press-1")).suppressed_by == maintenance_id
        assert (await site.alarm("press-1")).stands_since_ms is None
        assert not (await site.alarm("press-3")).is_set_aside
        await site.find(found("press-2", is_raised=False, at_ms=NOW_MS + 9))
        await site.pass_time(60 * MINUTE_MS)
        alarm = await site.alarm("press-1")
        assert (alarm.suppressed_by, alarm.stands_since_ms) == ("", site.clock.now_ms())
        assert await site.events("press-1") == ["raise", "stand"]
        assert (await site.alarm("press-2")).state is AlarmState.CLEARED_UNACKNOWLEDGED


async def test_what_began_and_ended_within_maintenance_nobody_has_to_see(tmp_path: Path) -> None:
    async with a_site(tmp_path) as site:
        await site.device("press-1", groups=["hall"])
        await maintain(site, HALL)
        await site.find(found(), found(is_raised=False, at_ms=NOW_MS + 5))
        assert (await site.alarm()).state is AlarmState.NORMAL
        assert await site.events() == ["raise", "clear", "acknowledge"]


async def test_a_planned_maintenance_begins_by_itself_and_can_be_ended(tmp_path: Path) -> None:
    async with a_site(tmp_path) as site:
        await site.find(found())
        maintenance_id = await maintain(site, RuleScope(all=True), from_ms=MINUTE_MS)
        assert not (await site.alarm()).is_set_aside
        await site.pass_time(MINUTE_MS)
        assert (await site.alarm()).suppressed_by == maintenance_id
        await site.pass_time(MINUTE_MS)
        await site.catalog.write(lambda catalog: catalog.end_maintenance(maintenance_id), by=ACT)
        await site.desk.settle()
        assert not (await site.alarm()).is_set_aside
        assert (await site.alarm()).episode == 2, "they had been told, and are told again"


async def test_the_node_itself_is_never_in_maintenance(tmp_path: Path) -> None:
    async with a_site(tmp_path) as site:
        await site.rule("broker", BROKER_DOWN)
        await maintain(site, RuleScope(all=True))
        await site.find(found("", "broker", series="broker"))
        assert not (await site.alarm("", "broker", series="broker")).is_set_aside


async def test_a_site_that_is_silent_is_one_alarm(tmp_path: Path) -> None:
    told: list[str] = []

    def hear(catalog: Catalog, moves: Any) -> None:
        told.extend(move.after.device_id or "site" for move in moves if move.begins_to_stand)

    async with a_site(tmp_path, on_moves=hear) as site:
        await site.rule("silent", SILENT)
        await site.rule("site", SITE_SILENT)
        await site.find(silent("d1"), silent("d2"))
        alarm = await silent_alarm(site, "d1")
        assert (alarm.suppressed_by, alarm.suppressed_until_ms) == (WAITING, NOW_MS + WAIT_MS)
        await site.find(found("", "site", series="", at_ms=NOW_MS + 20_000))
        site_id = id_of("", "site", series="")
        assert (await silent_alarm(site, "d1")).suppressed_by == site_id
        await site.find(silent("d3", at_ms=NOW_MS + 30_000))
        assert (await silent_alarm(site, "d3")).suppressed_by == site_id
        await site.pass_time(10 * MINUTE_MS)
        assert told == ["site"]
        # All but one come back.
        later_ms = site.clock.now_ms()
        await site.find(found("", "site", series="", is_raised=False, at_ms=later_ms))
        await site.find(*(silent(each, is_raised=False, at_ms=later_ms + 5) for each in ("d1", "d2")))
        assert (await silent_alarm(site, "d1")).state is AlarmState.NORMAL
        assert (await silent_alarm(site, "d3")).suppressed_by == WAITING
        await site.pass_time(WAIT_MS)
        assert told == ["site", "d3"]
        assert await site.events("d3", "silent", series="") == ["raise", Word.SUPPRESS, Word.STAND]


async def test_a_single_silent_device_is_told_after_the_wait(tmp_path: Path) -> None:
    async with a_site(tmp_path) as site:
        await site.rule("silent", SILENT)
        await site.find(silent("alone"))
        assert not (await silent_alarm(site, "alone")).is_set_aside, "no rule could explain it"
        await site.rule("site", SITE_SILENT)
        await site.find(silent("d1"))
        await site.pass_time(WAIT_MS - 1)
        assert (await silent_alarm(site, "d1")).suppressed_by == WAITING
        await site.pass_time(1)
        alarm = await silent_alarm(site, "d1")
        assert (alarm.is_set_aside, alarm.stands_since_ms) == (False, NOW_MS + WAIT_MS)


async def test_what_has_waited_where_it_was_found_does_not_wait_again(tmp_path: Path) -> None:
    async with a_site(tmp_path) as site:
        await site.rule("silent", SILENT)
        await site.rule("site", SITE_SILENT)
        await site.find(
            silent("waited", at_ms=NOW_MS - WAIT_MS), silent("ahead", at_ms=NOW_MS + 10 * WAIT_MS)
        )
        assert not (await silent_alarm(site, "waited")).is_set_aside
        assert (await silent_alarm(site, "ahead")).suppressed_until_ms == NOW_MS + WAIT_MS


async def test_heat_is_not_explained_by_silence(tmp_path: Path) -> None:
    async with a_site(tmp_path) as site:
        await site.rule("site", SITE_SILENT)
        await site.find(found("", "site", series=""), found("d1"))
        assert not (await site.alarm("d1")).is_set_aside


async def test_a_group_explains_its_own_devices(tmp_path: Path) -> None:
    async with a_site(tmp_path) as site:
        await site.rule("silent", SILENT)
        await site.rule("groups", definition(MissingFraction(per="group"), severity="P2"))
        await site.device("d1", groups=["hall"])
        await site.device("d2", groups=["yard"])
        await site.find(found("", "groups", group_id="hall", series=""), silent("d1"), silent("d2"))
        assert (await silent_alarm(site, "d1")).suppressed_by == id_of("", "groups", "hall", "")
        assert (await silent_alarm(site, "d2")).suppressed_by == WAITING


@pytest.mark.parametrize("how", ["removed", "off"])
async def test_alarms_of_a_rule_that_is_gone_are_withdrawn(tmp_path: Path, how: str) -> None:
    async with a_site(tmp_path) as site:
        await site.find(found(), found("over"), found("over", is_raised=False, at_ms=NOW_MS + 1))
        if how == "off":
            await site.rule(is_enabled=False)
        else:
            await site.catalog.write(lambda catalog: catalog.execute("DELETE FROM rules"), by=ACT)
        await site.desk.settle()
        for device in ("press-1", "over"):
            assert (await site.alarm(device)).state is AlarmState.NORMAL
        rows = await site.catalog.read(lambda catalog: catalog.alarm_events(id_of(), limit=9))
        assert rows[-1].note == (judging.RULE_OFF if how == "off" else judging.RULE_REMOVED)


async def test_a_changed_rule_has_its_time_to_find_it_again(tmp_path: Path) -> None:
    async with a_site(tmp_path) as site:
        await site.find(found("again"), found("gone"))
        await site.catalog.write(
            lambda catalog: site.desk.book.acknowledge(catalog, [id_of("again")], actor="anna"), by=ACT
        )
        site.clock.advance(1_000)
        await site.rule(what=definition(on_delay_s=60), version=2)
        await site.desk.settle()
        await site.find(found("again", version=2, at_ms=NOW_MS + 90_000))
        await site.pass_time(179_000)
        assert (await site.alarm("gone")).is_active
        site.desk.are_rules_caught_up = lambda: False
        await site.pass_time(1_000)
        assert (await site.alarm("gone")).is_active, "rules are still being rebuilt"
        site.desk.are_rules_caught_up = lambda: True
        await site.pass_time(1_000)
        assert (await site.alarm("gone")).state is AlarmState.NORMAL
        alarm = await site.alarm("again")
        assert (alarm.state, alarm.rule_version) == (AlarmState.ACTIVE_ACKNOWLEDGED, 2)
        assert await site.events("again") == ["raise", "acknowledge", "carry_over"]


async def test_the_time_of_a_changed_rule_runs_out_by_the_clock(tmp_path: Path) -> None:
    async with a_site(tmp_path) as site:
        await site.find(found())
        await site.rule(version=2)
        await site.desk.settle()
        await site.pass_time(FLAP_MS)
        assert (await site.alarm()).state is AlarmState.NORMAL


@pytest.mark.parametrize("state", ["decommissioned", "rejected"])
async def test_alarms_of_a_device_that_is_gone_are_withdrawn(tmp_path: Path, state: str) -> None:
    async with a_site(tmp_path) as site:
        await site.device("press-1")
        await site.find(found(), found("press-2"))
        await site.catalog.write(
            lambda catalog: catalog.execute(
                "UPDATE devices SET state = ?, origin = ?, hlc = ? WHERE device_id = 'press-1'",
                (state, catalog.origin, catalog.hlc),
            ),
            by=ACT,
        )
        await site.desk.settle()
        assert (await site.alarm()).state is AlarmState.NORMAL
        assert (await site.alarm("press-2")).is_active


async def test_alarms_of_a_device_whose_readings_go_are_withdrawn(tmp_path: Path) -> None:
    async with a_site(tmp_path) as site:
        await site.device("press-1")
        await site.find(found())
        site.clock.advance(1_000)
        await site.catalog.write(
            lambda catalog: catalog.request_erasure("press-1", epoch=1, before_seq=5), by=ACT
        )
        await site.desk.settle()
        assert (await site.alarm()).state is AlarmState.NORMAL
        site.clock.advance(1_000)
        await site.find(found(at_ms=NOW_MS + 2 * FLAP_MS))
        assert (await site.alarm()).is_active, "what it sends from now on counts"


async def test_alarms_of_a_device_that_the_rule_is_not_for_any_more_are_withdrawn(tmp_path: Path) -> None:
    async with a_site(tmp_path) as site:
        await site.device("press-1", groups=["hall"])
        await site.rule(what=definition(scope=HALL), version=2)
        await site.find(found(version=2))
        assert (await site.alarm()).is_active
        await site.catalog.write(
            lambda catalog: catalog.execute(
                "UPDATE devices SET groups = '[]', origin = ?, hlc = ?", (catalog.origin, catalog.hlc)
            ),
            by=ACT,
        )
        await site.desk.settle()
        rows = await site.catalog.read(lambda catalog: catalog.alarm_events(id_of(), limit=9))
        assert rows[-1].note == judging.OUT_OF_SCOPE


async def test_shelving_ends_by_itself(tmp_path: Path) -> None:
    async with a_site(tmp_path) as site:
        await site.find(found())
        book, until_ms = site.desk.book, NOW_MS + 60 * MINUTE_MS
        await site.catalog.write(
            lambda catalog: book.shelve(
                catalog, [id_of()], until_ms=until_ms, reason="part is ordered", actor="anna"
            ),
            by=ACT,
        )
        await site.pass_time(60 * MINUTE_MS - 1)
        assert (await site.alarm()).is_shelved
        await site.pass_time(1)
        alarm = await site.alarm()
        assert (alarm.is_shelved, alarm.episode, alarm.stands_since_ms) == (False, 2, until_ms)


async def test_shelving_ends_within_a_maintenance(tmp_path: Path) -> None:
    """Nothing stands for itself in between."""
    async with a_site(tmp_path) as site:
        await site.find(found())
        until_ms = NOW_MS + MINUTE_MS
        await site.catalog.write(
            lambda catalog: site.desk.book.shelve(
                catalog, [id_of()], until_ms=until_ms, reason="x", actor="anna"
            ),
            by=ACT,
        )
        await maintain(site, RuleScope(all=True))
        await site.pass_time(MINUTE_MS)
        alarm = await site.alarm()
        assert (alarm.is_shelved, alarm.episode) == (False, 1)
        assert alarm.suppressed_by


async def test_shelving_ends_also_of_a_rule_that_is_gone(tmp_path: Path) -> None:
    async with a_site(tmp_path) as site:
        await site.find(found())
        await site.catalog.write(
            lambda catalog: site.desk.book.shelve(
                catalog, [id_of()], until_ms=NOW_MS + MINUTE_MS, reason="x", actor="anna"
            ),
            by=ACT,
        )
        await site.catalog.write(lambda catalog: catalog.execute("DELETE FROM rules"), by=ACT)
        await site.pass_time(MINUTE_MS)
        alarm = await site.alarm()
        assert (alarm.state, alarm.is_shelved) == (AlarmState.NORMAL, False)


async def test_many_are_judged_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.alarms.desk.ALARM_APPLY_COUNT_MAX", 3)
    async with a_site(tmp_path) as site:
        await site.find(*(found(f"d{number}") for number in range(10)))
        maintenance_id = await maintain(site, RuleScope(all=True))
        alarms = (await site.catalog.read(lambda catalog: catalog.list_alarms())).alarms
        assert {alarm.suppressed_by for alarm in alarms} == {maintenance_id}
        assert len(alarms) == 10
        await site.pass_time(60 * MINUTE_MS)
        alarms = (await site.catalog.read(lambda catalog: catalog.list_alarms())).alarms
        assert {alarm.suppressed_by for alarm in alarms} == {""}
