"""The desk: what waits in the outbox becomes alarms once, whatever is repeated or begun anew; who hears of it; what goes wrong."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.alarms import book as book_module
from appliance.alarms import desk as desk_module
from appliance.alarms.desk import AlarmDesk
from appliance.alarms.outbox import NoOutbox, OutboxRows
from appliance.core.errors import StorageError, Unavailable, UsageError
from appliance.core.limits_alarms import ALARM_EVENT_AGE_MS_MAX, ALARM_OUTBOX_LOOK_MS, ALARM_TIDY_INTERVAL_MS
from appliance.management.alarm import AlarmMove
from appliance.management.alarms import AlarmState
from storage.catalog.alarms import AlarmCursor
from storage.catalog.catalog import Catalog
from tests.acts import ACT
from tests.alarm_kit import FLAP_MS, NOW_MS, MemoryOutbox, a_site, definition, found, id_of


async def test_what_rules_find_becomes_an_alarm_and_leaves_the_outbox(tmp_path: Path) -> None:
    async with a_site(tmp_path) as site:
        await site.find(found(), found("press-2", at_ms=NOW_MS + 1))
        alarm = await site.alarm()
        assert (alarm.state, alarm.rule_name, alarm.severity) == (
            AlarmState.ACTIVE_UNACKNOWLEDGED,
            "Rule hot",
            "P2",
        )
        assert alarm.text == "81.5 °C above 80 °C"
        assert site.outbox.rows == []
        await site.find(found(is_raised=False, at_ms=NOW_MS + 60_000))
        assert (await site.alarm()).state is AlarmState.CLEARED_UNACKNOWLEDGED
        counts = await site.desk.counts()
        assert counts.by_severity == {"P2": {"active_unacknowledged": 1, "cleared_unacknowledged": 1}}
        statistics = site.desk.statistics()
        assert (statistics.taken_over, statistics.moves, statistics.failing) == (3, 3, "")


async def test_a_crash_before_the_outbox_forgets_changes_nothing(tmp_path: Path) -> None:
    async with a_site(tmp_path) as site:
        site.outbox.forgets = False
        await site.find(found(), found(is_raised=False, at_ms=NOW_MS + 5), found(at_ms=NOW_MS + 9))
        before = await site.events()
        again = AlarmDesk(site.catalog, site.desk.book, clock=site.clock, outbox=site.outbox)
        await again.load()
        await again.settle()
        assert await site.events() == before == ["raise", "clear", "raise"]
        assert again.statistics().taken_over == 0, "it had been taken over"


async def test_a_store_that_was_begun_anew_finds_it_all_again_and_nobody_hears_it_twice(
    tmp_path: Path,
) -> None:
    heard: list[AlarmMove] = []
    async with a_site(tmp_path, on_moves=lambda catalog, moves: heard.extend(moves)) as site:
        first = (found(seq=10), found(is_raised=False, at_ms=NOW_MS + 5, seq=20))
        await site.find(*first)
        by_the_clock = found("press-2", at_ms=NOW_MS + 6, seq=20)
        await site.find(by_the_clock)
        count = len(heard)
        site.outbox.begin_anew("s2")
        new = found("press-3", at_ms=NOW_MS + 7, seq=20)
        await site.find(*first, by_the_clock, new, found(at_ms=NOW_MS + 2 * FLAP_MS, seq=30))
        assert [move.after.device_id for move in heard[count:]] == ["press-3", "press-1"]
        cursor = await site.catalog.read(lambda catalog: catalog.alarm_cursor())
        assert cursor == AlarmCursor(
            store_id="s2",
            number=5,
            epoch=1,
            seq=30,
            noted_at_ms=NOW_MS,
            began_epoch=1,
            began_seq=20,
            began_noted_at_ms=NOW_MS,
        ), "what comes after that is known by its number"


async def test_what_is_new_before_what_was_found_already_is_an_alarm_all_the_same(tmp_path: Path) -> None:
    """After a start rules go on from their checkpoint, with devices where they are now: they may find what they hadn't."""
    async with a_site(tmp_path) as site:
        await site.find(found("press-1", at_ms=NOW_MS - 60, seq=90))
        await site.find(found("press-2", at_ms=NOW_MS - 5, seq=40))
        alarms = await site.catalog.read(lambda catalog: catalog.alarms_of_ids({id_of("press-2")}))
        assert id_of("press-2") in alarms


async def test_a_box_that_was_restored_without_its_log_raises_alarms(tmp_path: Path) -> None:
    async with a_site(tmp_path) as site:
        await site.find(found(seq=5_000_000))
        site.clock.advance(60_000)
        site.outbox.begin_anew("s2")
        later_ms = site.clock.now_ms()
        await site.find(found("press-2", at_ms=later_ms, seq=7))
        # The second of them is seen a while after it happened.
        site.clock.advance(60_000)
        await site.find(
            found("press-3", at_ms=later_ms + 1, seq=8), found("press-4", at_ms=later_ms + 2, seq=9)
        )
        for device in ("press-2", "press-3", "press-4"):
            assert (await site.alarm(device)).is_active


async def test_one_device_does_not_take_the_room_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(book_module, "ALARM_DEVICE_COUNT_MAX", 2)
    async with a_site(tmp_path) as site:
        await site.find(*(found("d1", series=f"made-up-{number}") for number in range(4)))
        await site.find(
            found("d1", series="made-up-5"), found("d2"), *(found("", series=str(n)) for n in range(3))
        )
        alarms = (await site.catalog.read(lambda catalog: catalog.list_alarms())).alarms
        assert sorted(alarm.device_id for alarm in alarms) == ["", "", "", "d1", "d1", "d2"]
        assert site.desk.statistics().refused_full == 3


async def test_of_a_rule_that_is_gone_nothing_is_raised(tmp_path: Path) -> None:
    async with a_site(tmp_path) as site:
        await site.rule("off", is_enabled=False)
        await site.find(found(rule_id="gone"), found(rule_id="off"), found("d9", is_raised=False))
        assert (await site.catalog.read(lambda catalog: catalog.count_all_alarms())) == 0
        assert site.desk.statistics().without_rule == 2
        assert site.desk.statistics().unchanged == 1


async def test_pages_hear_of_it(tmp_path: Path) -> None:
    async with a_site(tmp_path) as site:
        heard: list[Collection[str]] = []
        stop = site.desk.subscribe(heard.append)
        await site.find(found())
        assert heard == [{id_of()}]
        await site.catalog.write(
            lambda catalog: site.desk.book.acknowledge(catalog, [id_of()], actor="anna"), by=ACT
        )
        assert len(heard) == 2
        stop()
        await site.find(found(is_raised=False, at_ms=NOW_MS + 5))
        assert len(heard) == 2


async def test_the_hook_is_part_of_the_transaction(tmp_path: Path) -> None:
    def refuse(catalog: Catalog, moves: Sequence[AlarmMove]) -> None:
        raise StorageError("no room", hint="", code="disk_full")

    async with a_site(tmp_path, on_moves=refuse) as site:
        site.outbox.put(found())
        site.desk.wake()
        assert not await site.desk.work_once()
        assert (await site.catalog.read(lambda catalog: catalog.count_all_alarms())) == 0
        assert len(site.outbox.rows) == 1, "it waits"
        assert site.desk.statistics().failing == "no room"
        site.desk.book.on_moves = book_module.nobody
        await site.desk.settle()
        assert (await site.alarm()).is_active
        assert (site.desk.statistics().failures, site.desk.statistics().failing) == (1, "")


async def test_a_store_that_is_away_is_waited_for(tmp_path: Path) -> None:
    async with a_site(tmp_path) as site:
        site.outbox.failure = Unavailable("the store is away", hint="", code="store_away")
        site.outbox.put(found())
        site.desk.wake()
        assert not await site.desk.work_once()
        site.outbox.failure = None
        await site.desk.settle()
        assert (await site.alarm()).is_active
        site.outbox.failure = UsageError("a mistake of ours", hint="", code="x")
        site.desk.wake()
        with pytest.raises(UsageError):
            await site.desk.work_once()


async def test_without_being_told_the_desk_looks_now_and_then(tmp_path: Path) -> None:
    async with a_site(tmp_path) as site:
        site.outbox.put(found())
        await site.pass_time(ALARM_OUTBOX_LOOK_MS - 1)
        assert len(site.outbox.rows) == 1
        await site.pass_time(1)
        assert (await site.alarm()).is_active


async def test_a_store_that_does_not_answer_holds_nothing_else_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk_module, "ALARM_OUTBOX_TIMEOUT_MS", 1)

    class Silent(MemoryOutbox):
        async def read_after(self, store_id: str, number: int, limit: int) -> OutboxRows:
            await trio.sleep_forever()
            raise AssertionError

    async with a_site(tmp_path) as site:
        await site.find(found())
        until_ms = NOW_MS + 60_000
        await site.catalog.write(
            lambda catalog: site.desk.book.shelve(
                catalog, [id_of()], until_ms=until_ms, reason="x", actor="anna"
            ),
            by=ACT,
        )
        site.desk.outbox = Silent()
        site.desk.wake()
        await site.pass_time(60_000)
        assert not (await site.alarm()).is_shelved
        assert "did not say in time" in site.desk.statistics().failing


async def test_run_works_until_it_is_cancelled(tmp_path: Path) -> None:
    async with a_site(tmp_path) as site, trio.open_nursery() as nursery:
        await nursery.start(site.desk.run)
        site.outbox.put(found())
        site.desk.wake()
        heard = trio.Event()
        site.desk.subscribe(lambda ids: heard.set())
        with trio.fail_after(60):
            await heard.wait()
        assert (await site.alarm()).is_active
        nursery.cancel_scope.cancel()


async def test_new_alarms_count_against_an_update_of_firmware(tmp_path: Path) -> None:
    async with a_site(tmp_path) as site:
        await site.rule("mild", definition(severity="P3"))
        since_ms = NOW_MS + 1_000
        await site.find(found("old", at_ms=since_ms - 1), found("mild", rule_id="mild", at_ms=since_ms + 5))
        await site.find(found("new", at_ms=since_ms))
        for desk in (site.desk, AlarmDesk(site.catalog, site.desk.book, clock=site.clock)):
            await desk.load()
            assert desk.has_new("new", since_ms)
            assert not desk.has_new("old", since_ms)
            assert not desk.has_new("mild", since_ms)
            assert not desk.has_new("unknown", 0)


async def test_too_many_alarms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book_module, "ALARM_COUNT_MAX", 2)
    async with a_site(tmp_path) as site:
        await site.find(found("d1"), found("d1", is_raised=False, at_ms=NOW_MS + 1), found("d2"))
        await site.find(found("d3"))
        devices = await site.catalog.read(
            lambda catalog: sorted(each.device_id for each in catalog.list_alarms().alarms)
        )
        assert devices == ["d2", "d3"], "what is over made room"
        await site.find(found("d4"))
        assert site.desk.statistics().refused_full == 1
        assert site.desk.statistics().removed == 1


async def test_old_events_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk_module, "ALARM_APPLY_COUNT_MAX", 2)
    async with a_site(tmp_path) as site:
        await site.find(found(), found(is_raised=False, at_ms=NOW_MS + 1))
        await site.find(found(at_ms=NOW_MS + 2))
        site.clock.advance(ALARM_EVENT_AGE_MS_MAX + ALARM_TIDY_INTERVAL_MS)
        await site.desk.settle()
        assert await site.events() == []
        assert (await site.alarm()).is_active


async def test_without_rules_there_is_nothing_to_take_over() -> None:
    outbox: Any = NoOutbox()
    assert (await outbox.read_after("s", 7, 10)).rows == ()
    await outbox.forget_through("s", 7)
