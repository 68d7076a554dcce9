"""The watch at the log's positions: live, behind, failing, waiting, by the rules of each position."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec
import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import StorageError
from appliance.pipeline import watch_feed
from appliance.pipeline.rule_sets import RuleSets
from appliance.pipeline.watch_statistics import WatchFeedStatistics, WatchState
from storage.log.columns import Kind
from storage.log.writer import LogWriter
from storage.telemetry.alarm_outbox import AlarmOutbox
from storage.telemetry.database import run
from tests.log_kit import Record, append, open_log
from tests.watch_kit import NOW, SILENT_MS, SmallEvaluator, WatchedByHand, version

pytestmark = pytest.mark.trio
HOURS_S = 3 * 3_600


class Scene:
    """A device, the log of what it sends, and the store that is filled from it."""

    def __init__(self, folder: Path, sets: RuleSets | None = None) -> None:
        self.clock = ManualClock(NOW)
        self.log: LogWriter = open_log(folder / "log")
        self.sent = 0
        self.by_hand = WatchedByHand(folder / "t.duckdb", folder / "log", self.clock, sets)

    def send(self, *values: float, at_s: float = 0) -> int:
        """One reading a second of arrival; gives the next sequence of the log."""
        records = []
        for number, value in enumerate(values):
            self.sent += 1
            at_ms = NOW + round(1_000 * (at_s + number))
            body = {"ts": at_ms, "seq": self.sent, "boot_id": "b", "v": {"t": value}}
            records.append(Record(msgspec.json.encode(body), b"dm/a/telemetry", at_ms, principal="a"))
        return append(self.log, records).next_seq

    def statistics(self) -> WatchFeedStatistics:
        return self.by_hand.watch.feed.statistics(self.by_hand.reading.cursor)

    def found(self) -> Sequence[tuple[str, int, bool]]:
        return [
            (rule, (at_ms - NOW) // 1_000, is_raised) for rule, _, at_ms, is_raised, _ in self.by_hand.found()
        ]

    async def later(self, ms: int) -> None:
        self.clock.advance(ms)
        await self.by_hand.to_the_end()


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    found = Scene(tmp_path)
    yield found
    found.log.close()
    found.by_hand.close()


async def test_what_is_found_is_in_the_transaction_of_its_readings(scene: Scene) -> None:
    scene.send(1, 9, 9, 1, 1)
    assert await scene.by_hand.step()
    assert scene.found() == [], "an earlier reading may still come"
    scene.send(1, at_s=6)
    assert await scene.by_hand.step()
    assert scene.found() == [("above", 1, True), ("above", 3, False)]
    assert scene.by_hand.told == 1
    with scene.by_hand.store.reading() as connection:
        rows = run(connection, "SELECT epoch, seq FROM alarm_outbox")
    cursor = scene.by_hand.reading.cursor
    assert rows == [(cursor.epoch, cursor.next_seq)] * 2
    assert scene.statistics().state is WatchState.UP_TO_DATE


async def test_the_clock_decides_when_nothing_comes(scene: Scene) -> None:
    scene.send(1)
    await scene.later(SILENT_MS + 1_000)
    assert scene.found() == [], "a second for what is under way, and a second of lateness"
    await scene.later(2_000)
    assert scene.found() == [("silent", 30, True)]
    assert scene.by_hand.checkpoint_seq() is not None, "the log doesn't tell what the clock decided"


async def test_the_clock_decides_nothing_while_the_broker_is_away(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.by_hand.watch.feed._may_tick = lambda: False
    scene.send(1)
    await scene.later(10 * SILENT_MS)
    assert scene.found() == []
    started = NOW + 10 * SILENT_MS
    append(scene.log, [Record(b"", b"", started, Kind.BROKER_STARTED, "", "")])
    scene.send(1, at_s=10 * SILENT_MS / 1_000 + 20)
    await scene.by_hand.to_the_end()
    assert scene.found() == []
    scene.log.close()
    scene.by_hand.close()


async def test_a_clock_that_leaps_ahead_makes_nobody_silent(scene: Scene) -> None:
    scene.send(1)
    await scene.later(5_000)
    scene.clock.set_wall(scene.clock.now_ms() + HOURS_S * 1_000)
    await scene.later(1_000)
    # What was under way when the clock leapt, and arrived before.
    scene.send(1, at_s=5)
    await scene.later(1_000)
    await scene.later(SILENT_MS - 5_000)
    assert scene.found() == []
    assert scene.statistics().watch.seen_total == 2, "nothing began anew"
    await scene.later(10_000)
    ((rule, at_s, is_raised),) = scene.found()
    assert (rule, is_raised) == ("silent", True)
    assert HOURS_S + SILENT_MS / 1_000 <= at_s - 5 <= HOURS_S + SILENT_MS / 1_000 + 5, "from the leap on"


@pytest.mark.parametrize("is_marked", [True, False])
async def test_where_the_log_says_that_the_clock_leapt_a_replay_finds_nobody_silent(
    scene: Scene, *, is_marked: bool
) -> None:
    scene.send(1, 1)
    if is_marked:
        append(scene.log, [Record(b"", b"", NOW + HOURS_S * 1_000, Kind.CLOCK_AHEAD, "", "")])
    scene.send(1, 1, at_s=HOURS_S + 1)
    scene.send(1, at_s=HOURS_S + 9)
    for _ in range(2):
        while await scene.by_hand.step():
            pass
        assert bool(scene.found()) is not is_marked
        scene.by_hand.restart()
        while await scene.by_hand.look():
            pass


async def test_a_restart_goes_on_from_the_checkpoint(scene: Scene) -> None:
    scene.send(1, 9, 9)
    await scene.later(61_000)
    assert scene.by_hand.checkpoint_seq() == scene.by_hand.reading.cursor.next_seq
    scene.send(9, 1, 1, 1, at_s=61)
    await scene.by_hand.step()
    before = scene.found()
    scene.by_hand.restart()
    assert scene.statistics().state is WatchState.REBUILDING
    assert scene.statistics().doing == "rebuilding, 0%"
    while await scene.by_hand.look():
        pass
    statistics = scene.statistics()
    assert statistics.state is WatchState.UP_TO_DATE
    assert statistics.rebuild_s is not None
    assert scene.found() == before
    assert statistics.found_again_total == 2


async def test_readings_are_stored_while_the_state_is_rebuilt(scene: Scene) -> None:
    scene.send(1, 1, 1)
    await scene.by_hand.step()
    scene.by_hand.restart()
    scene.send(9, 9, 9, at_s=3)
    await scene.by_hand.step()
    assert scene.by_hand.reading.totals.readings == 6
    assert scene.found() == []
    await scene.later(10_000)
    assert scene.found() == [("above", 3, True)]


async def test_a_new_rule_holds_from_its_record_on(tmp_path: Path) -> None:
    sets = RuleSets([version(1, 5.0)])
    scene = Scene(tmp_path, sets)
    from_seq = scene.send(4, 9, 4)
    await scene.by_hand.step()
    sets.add([version(2, 3.0, from_seq=from_seq)])
    scene.send(4, 4, 4, at_s=3)
    await scene.later(10_000)
    versions = [(at_ms - NOW, is_raised, number) for _, _, at_ms, is_raised, number in scene.by_hand.found()]
    assert versions == [(1_000, True, 1), (2_000, False, 1), (3_000, True, 2)]
    scene.by_hand.restart()
    await scene.by_hand.to_the_end()
    assert len(scene.by_hand.found()) == 3, "a replay evaluates each record by the rules of its time"
    scene.log.close()
    scene.by_hand.close()


async def test_a_mistake_in_a_rule_stops_no_reading(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.send(1, 9, 1, SmallEvaluator.poison, 1)
    await scene.by_hand.step()
    scene.send(1, 1, at_s=6)
    await scene.by_hand.step()
    assert scene.by_hand.reading.totals.readings == 7
    statistics = scene.statistics()
    assert statistics.state is WatchState.FAILED
    assert "ZeroDivisionError: poison" in statistics.doing
    # From the checkpoint it comes upon the same; then it goes on from the head.
    await scene.by_hand.look()
    scene.send(1, 9, 9, 1, 1, at_s=8)
    await scene.by_hand.step()
    assert scene.statistics().failures_total == 2
    await scene.by_hand.look()
    scene.send(1, 9, 1, 1, 1, at_s=13)
    await scene.by_hand.step()
    scene.send(1, at_s=20)
    await scene.by_hand.step()
    assert scene.statistics().state is WatchState.UP_TO_DATE
    assert [each for each in scene.found() if each[1] >= 13] == [("above", 14, True), ("above", 15, False)]


async def test_what_was_learned_outlives_a_reading_that_a_rule_can_not_bear(scene: Scene) -> None:
    scene.send(1, 9)
    await scene.later(61_000)
    assert scene.found() == [("above", 1, True), ("silent", 31, True)]
    scene.send(9, SmallEvaluator.poison, 9, at_s=61)
    await scene.by_hand.step()
    scene.send(9, at_s=70)
    await scene.by_hand.step()
    assert scene.statistics().failures_total == 1
    while scene.statistics().state is not WatchState.UP_TO_DATE:
        await scene.by_hand.look()
    statistics = scene.statistics()
    assert statistics.failures_total == 2
    assert statistics.lost_records_total == 4
    assert "what was learned until the last checkpoint; 4 records were not seen" in statistics.incident
    scene.send(1, 1, at_s=75)
    scene.send(1, at_s=80)
    await scene.by_hand.step()
    assert ("above", 75, False) in scene.found(), "it knows that it was above"
    await scene.later(61_000)
    assert scene.statistics().incident == ""


async def test_with_an_outbox_that_is_full_rules_wait_and_lose_nothing(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_feed, "WATCH_OUTBOX_COUNT_MAX", 2)
    scene.send(1, 9, 1, 1)
    await scene.by_hand.step()
    scene.send(9, 9, at_s=5)
    await scene.by_hand.step()
    assert len(scene.found()) == 2
    scene.clock.advance(2_000)
    scene.send(9, 9, at_s=7)
    await scene.by_hand.step()
    assert scene.statistics().state is WatchState.WAITING
    assert scene.statistics().doing == "waiting for the catalog"
    assert not await scene.by_hand.look()
    assert len(scene.found()) == 2
    AlarmOutbox(scene.by_hand.store).forget_through(2)
    await scene.later(10_000)
    assert scene.found() == [("above", 1, True), ("above", 2, False), ("above", 5, True)]
    assert scene.statistics().state is WatchState.UP_TO_DATE


async def test_a_state_that_can_t_be_used_is_built_anew_from_the_log(scene: Scene) -> None:
    scene.send(1, 9, 9)
    await scene.later(61_000)
    with scene.by_hand.store.writing() as connection:
        run(connection, "UPDATE watch_checkpoints SET watch = 'nonsense'::BLOB")
    scene.by_hand.restart()
    scene.send(9, 1, 1, 1, at_s=61)
    await scene.later(61_000)
    assert ("above", 62, False) in scene.found()


async def test_windows_that_can_t_be_read_stop_nothing(scene: Scene) -> None:
    scene.send(1, 9, 9)
    await scene.later(61_000)
    with scene.by_hand.store.writing() as connection:
        run(connection, "UPDATE watch_checkpoints SET reader = 'nonsense'::BLOB")
    scene.send(9, 1, 1, 1, at_s=61)
    await scene.by_hand.step()
    scene.by_hand.restart()
    await scene.later(61_000)
    assert ("above", 62, False) in scene.found()
    assert scene.statistics().state is WatchState.UP_TO_DATE


async def test_a_stop_in_order_leaves_nothing_to_be_read_again(scene: Scene) -> None:
    scene.send(1, 9, 9)
    await scene.by_hand.step()
    scene.by_hand.watch.stop()
    scene.by_hand.restart()
    assert scene.statistics().state is WatchState.UP_TO_DATE
    assert scene.statistics().rebuild_s == 0


async def test_records_that_are_passed_over_are_not_for_rules(scene: Scene) -> None:
    scene.send(1, 1)
    await scene.by_hand.step()
    scene.send(9, 9, 9, at_s=2)
    scene.by_hand.reading.look()
    scene.by_hand.reading.pass_over(is_rebuild=False)
    scene.send(1, 1, 1, at_s=5)
    await scene.by_hand.step()
    while (pending := await scene.by_hand.build(is_behind=True)) is not None:
        scene.by_hand.commit(pending)
        if scene.by_hand.reading.behind is None:
            break
    await scene.by_hand.to_the_end()
    assert scene.found() == []
    statistics = scene.statistics()
    assert (statistics.backlog_late_total, statistics.lost_records_total) == (3, 3)


async def test_a_store_that_fails_in_a_tick_says_so(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.send(1)
    await scene.later(0)

    def put(*_: object) -> None:
        raise StorageError("full", hint="", code="store_full")

    monkeypatch.setattr(AlarmOutbox, "put", put)
    scene.clock.advance(SILENT_MS + 3_000)
    with pytest.raises(StorageError, match="full"):
        await scene.by_hand.look()
