"""Commands in the catalog: every move, what meets, bounds, what is kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import Conflict, LimitExceeded, NotFound, UsageError
from appliance.core.limits_twins import (
    COMMAND_ANSWER_GRACE_MS,
    COMMAND_KEPT_MS,
    COMMAND_OPEN_COUNT_MAX,
)
from appliance.management.audit import SYSTEM, Act, Actor
from appliance.management.commands import CommandAnswer, CommandState, CommandWish
from storage.catalog import Catalog
from storage.catalog import commands as module
from storage.catalog.commands import Command

REBOOT = CommandWish(method="reboot", params={"delay_s": 5})
NOW = CommandWish(method="reboot", when_away="refuse")
OK = CommandAnswer(ok=True, result={"up_s": 3})


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(now_ms=1_700_000_000_000)


@pytest.fixture
def catalog(tmp_path: Path, clock: ManualClock) -> Iterator[Catalog]:
    opened = Catalog.open(tmp_path / "catalog.db", clock=clock, node_id=bytes(16))
    opened.add_device("pump")
    yield opened
    opened.close()


def add(catalog: Catalog, command_id: str, wish: CommandWish = REBOOT, device_id: str = "pump") -> Command:
    return catalog.add_command(command_id, device_id, wish, created_by="ada")


def state(catalog: Catalog, command_id: str) -> str:
    return str(catalog.get_command("pump", command_id).state)


def send(catalog: Catalog) -> list[str]:
    return [each.command_id for each in catalog.send_due_commands(["pump"], limit=10)]


def test_a_command_is_queued_sent_and_answered(catalog: Catalog, clock: ManualClock) -> None:
    made = add(catalog, "c1")
    assert (made.state, made.params, made.created_by) == (CommandState.QUEUED, {"delay_s": 5}, "ada")
    assert made.expires_at_ms == made.created_at_ms + 60_000
    assert catalog.has_queued_commands(["x", "pump"])
    clock.advance(10)
    (sent,) = catalog.send_due_commands(["pump"], limit=10)
    assert sent.command_id == "c1"
    assert send(catalog) == []
    assert not catalog.has_queued_commands(["pump"])
    clock.advance(10)
    done = catalog.answer_command("pump", "c1", OK)
    assert (done.state, done.result, done.is_late) == (CommandState.SUCCEEDED, {"up_s": 3}, False)
    assert (done.sent_at_ms, done.ended_at_ms) == (made.created_at_ms + 10, made.created_at_ms + 20)
    again = catalog.answer_command("pump", "c1", CommandAnswer(ok=False, error="no"))
    assert (again.state, again.result, again.error) == (CommandState.SUCCEEDED, {"up_s": 3}, "")


def test_a_device_can_say_that_it_did_not(catalog: Catalog) -> None:
    add(catalog, "c1")
    send(catalog)
    failed = catalog.answer_command("pump", "c1", CommandAnswer(ok=False, error="valve stuck"))
    assert (failed.state, failed.error) == (CommandState.FAILED, "valve stuck")


def test_commands_are_said_in_their_order_and_only_to_who_was_asked_for(catalog: Catalog) -> None:
    catalog.add_device("fan")
    for command_id in ("z", "a", "m"):
        add(catalog, command_id)
    add(catalog, "f", device_id="fan")
    assert [each.command_id for each in catalog.send_due_commands(["pump"], limit=2)] == ["z", "a"]
    assert send(catalog) == ["m"]
    assert [each.command_id for each in catalog.send_due_commands(["fan"], limit=2)] == ["f"]


def test_what_waits_too_long_expires_and_what_got_no_answer_is_unanswered(
    catalog: Catalog, clock: ManualClock
) -> None:
    add(catalog, "told")
    send(catalog)
    add(catalog, "waits")
    assert catalog.next_command_deadline_ms() == clock.now_ms() + 60_000
    assert catalog.end_overdue_commands(limit=10) == []
    clock.advance(60_000)
    assert send(catalog) == []
    assert catalog.end_overdue_commands(limit=10) == ["pump"]
    assert (state(catalog, "told"), state(catalog, "waits")) == ("sent", "expired")
    assert catalog.next_command_deadline_ms() == clock.now_ms() + COMMAND_ANSWER_GRACE_MS
    clock.advance(COMMAND_ANSWER_GRACE_MS)
    catalog.end_overdue_commands(limit=10)
    assert state(catalog, "told") == "unanswered"
    assert catalog.next_command_deadline_ms() is None
    late = catalog.answer_command("pump", "told", OK)
    assert (late.state, late.is_late, late.result) == (CommandState.UNANSWERED, True, {"up_s": 3})
    with pytest.raises(Conflict) as never_said:
        catalog.answer_command("pump", "waits", OK)
    assert never_said.value.code == "command_not_sent"


def test_what_nobody_got_waits_again_or_is_refused_as_it_was_to_be(catalog: Catalog) -> None:
    add(catalog, "may-wait")
    add(catalog, "now", NOW)
    assert send(catalog) == ["may-wait", "now"]
    catalog.put_back_commands(["may-wait", "now"])
    waits, refused = catalog.get_command("pump", "may-wait"), catalog.get_command("pump", "now")
    assert (waits.state, waits.sent_at_ms, waits.ended_at_ms) == (CommandState.QUEUED, None, None)
    assert refused.state is CommandState.REFUSED
    assert "went away" in refused.error
    assert send(catalog) == ["may-wait"]


def test_an_answer_that_came_meanwhile_is_not_put_back(catalog: Catalog) -> None:
    add(catalog, "c1")
    send(catalog)
    catalog.answer_command("pump", "c1", OK)
    catalog.put_back_commands(["c1"])
    assert state(catalog, "c1") == "succeeded"


def test_only_what_was_not_said_can_be_taken_back(catalog: Catalog) -> None:
    add(catalog, "c1")
    assert catalog.cancel_command("pump", "c1").state is CommandState.CANCELED
    with pytest.raises(Conflict) as ended:
        catalog.cancel_command("pump", "c1")
    assert ended.value.code == "command_ended"
    add(catalog, "c2")
    send(catalog)
    with pytest.raises(Conflict) as sent:
        catalog.cancel_command("pump", "c2")
    assert sent.value.code == "command_sent"


def test_commands_of_others_are_not_there(catalog: Catalog) -> None:
    add(catalog, "c1")
    for asked in (("fan", "c1"), ("pump", "c9")):
        with pytest.raises(NotFound):
            catalog.get_command(*asked)
        with pytest.raises(NotFound):
            catalog.answer_command(*asked, OK)


def test_only_active_devices_are_commanded_and_ended_ones_keep_nothing_waiting(catalog: Catalog) -> None:
    with pytest.raises(NotFound):
        add(catalog, "c1", device_id="nobody")
    catalog.note_first_contact(["new"], at_ms=1)
    with pytest.raises(Conflict) as waiting:
        add(catalog, "c1", device_id="new")
    assert waiting.value.code == "device_waiting"
    add(catalog, "c2")
    catalog.decommission_device("pump")
    assert catalog.end_overdue_commands(limit=10) == ["pump"]
    ended = catalog.get_command("pump", "c2")
    assert (ended.state, ended.error) == (CommandState.CANCELED, module.GONE)
    with pytest.raises(Conflict) as gone:
        add(catalog, "c3")
    assert gone.value.code == "device_decommissioned"


def test_a_device_has_so_many_open_and_a_bad_wish_is_refused(catalog: Catalog) -> None:
    with pytest.raises(UsageError):
        add(catalog, "c1", CommandWish(method="a b"))
    for number in range(COMMAND_OPEN_COUNT_MAX):
        add(catalog, f"c{number}")
    with pytest.raises(LimitExceeded) as full:
        add(catalog, "more")
    assert full.value.code == "commands_open"
    catalog.cancel_command("pump", "c0")
    add(catalog, "more")


def test_a_page_has_the_newest_first(catalog: Catalog) -> None:
    for number in range(5):
        add(catalog, f"c{number}")
    catalog.cancel_command("pump", "c4")
    first = catalog.list_commands("pump", limit=2)
    assert [each.command_id for each in first.commands] == ["c4", "c3"]
    second = catalog.list_commands("pump", limit=3, before=first.next_before)
    assert [each.command_id for each in second.commands] == ["c2", "c1", "c0"]
    assert second.next_before is None
    canceled = catalog.list_commands("pump", states=[CommandState.CANCELED])
    assert [each.command_id for each in canceled.commands] == ["c4"]
    with pytest.raises(UsageError):
        catalog.list_commands("pump", limit=0)
    assert catalog.count_commands()[CommandState.QUEUED] == 4


def test_ended_ones_are_kept_for_a_time_and_up_to_a_number(
    catalog: Catalog, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def remove(device_ids: list[str], limit: int) -> int:
        return catalog.remove_old_commands(
            device_ids, before_ms=clock.now_ms() - COMMAND_KEPT_MS, limit=limit
        )

    add(catalog, "old")
    catalog.cancel_command("pump", "old")
    add(catalog, "open", CommandWish(method="x", expires_in_ms=7 * 86_400_000))
    clock.advance(COMMAND_KEPT_MS + 1)
    assert remove([], 10) == 1
    assert remove([], 10) == 0
    monkeypatch.setattr(module, "COMMAND_KEPT_COUNT_MAX", 2)
    for number in range(4):
        add(catalog, f"c{number}")
        catalog.cancel_command("pump", f"c{number}")
    assert remove(["fan"], 10) == 0
    assert remove(["fan", "pump"], 1) == 1
    assert remove(["pump"], 10) == 1
    assert [each.command_id for each in catalog.list_commands("pump").commands] == ["c3", "c2", "open"]


def test_what_people_do_is_in_the_audit_and_what_happens_by_itself_is_not(catalog: Catalog) -> None:
    before = len(catalog.rows("SELECT 1 FROM audit"))
    with catalog.transaction(Act(action="command.send", actor=Actor(name="ada", kind="user"))):
        add(catalog, "c1")
    with catalog.transaction(Act(action="command.move", actor=SYSTEM)):
        send(catalog)
        catalog.answer_command("pump", "c1", OK)
    entries = catalog.rows("SELECT actor, object_kind, object_id, after FROM audit ORDER BY seq")[before:]
    assert [tuple(each)[:3] for each in entries] == [("ada", "command", "c1")]
    assert "delay_s" in entries[0]["after"]
