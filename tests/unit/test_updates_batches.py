"""What waits for the engine, and how it is taken: one transaction for all of it, and nothing lost when that fails."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import HomeportError, StorageError, Unavailable
from appliance.core.limits_executions import (
    BROKEN_AGAIN_MS,
    START_GRACE_MS,
    UPDATES_BATCH_COUNT_MAX,
    UPDATES_QUEUE_DEPTH_MAX,
)
from appliance.management.audit import Act, Actor
from appliance.management.executions import State
from appliance.updates.batches import STEP_ACT, Batches, Request
from appliance.updates.surroundings import Surroundings
from appliance.updates.work import NoPlanner, Work
from storage.catalog.catalog import Catalog
from tests.execution_kit import MINUTE_MS, OLD_DIGEST, an_execution, firmware
from tests.updates_kit import NODE_ID, put_rollout, queued

PERSON = Act(action="execution.cancel", actor=Actor(name="ada", kind="user"))


class Looks(NoPlanner):
    """Counts looks, and wants the next in a minute."""

    def __init__(self) -> None:
        self.count = 0
        self.shifted_ms = 0

    def look(self, work: Work) -> int | None:
        self.count += 1
        return work.now_ms + MINUTE_MS

    def shift(self, catalog: Catalog, by_ms: int) -> None:
        self.shifted_ms += by_ms


class Bench:
    def __init__(self, path: Path) -> None:
        self.clock = ManualClock()
        self.path = path
        self.planner = Looks()
        self.surroundings = Surroundings(self.clock, random=lambda: 0.5)
        self.catalog = Catalog.open(path, clock=self.clock, node_id=NODE_ID)
        self.batches = self.anew()

    def anew(self) -> Batches:
        """As after a restart."""
        batches = Batches(clock=self.clock, surroundings=self.surroundings, planner=self.planner)
        with self.catalog.transaction():
            batches.load(self.catalog)
        return batches

    def work_off(self) -> int:
        count = 0
        while (batch := self.batches.take()) is not None:
            with self.catalog.transaction(batch.act):
                work = self.batches.apply(self.catalog, batch)
            self.batches.committed(batch, work)
            count += 1
        return count

    def put_state(self, execution_id: str, state: str) -> None:
        with self.catalog.transaction(STEP_ACT):
            self.catalog.execute(
                "UPDATE executions SET state = ?, origin = ?, hlc = ? WHERE execution_id = ?",
                (state, self.catalog.origin, self.catalog.hlc, execution_id),
            )

    def tell(self) -> list[str]:
        return self.batches.take_to_tell()

    def put(self, *executions: object) -> None:
        def run(work: Work) -> None:
            for execution in executions:
                work.insert(execution)  # type: ignore[arg-type]

        self.batches.put(Request(run))
        self.work_off()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / "catalog.db")
    yield made
    made.catalog.close()


def test_all_that_waits_is_one_transaction(bench: Bench) -> None:
    bench.put(*(queued(bench.clock.now_ms(), f"d{number}", execution_id=f"e{number}") for number in range(3)))
    hlc = bench.catalog.row("SELECT hlc FROM change_clock")
    for number in range(3):
        bench.batches.put_firmware(firmware(OLD_DIGEST, device_id=f"d{number}", at_ms=bench.clock.now_ms()))
        bench.batches.put_came(f"d{number}")
        bench.batches.put_blocks(f"d{number}", f"e{number}", 10, 100)
    assert not bench.batches.is_idle()
    assert bench.batches.waiting_count() == 9
    assert bench.work_off() == 1
    assert bench.catalog.row("SELECT hlc FROM change_clock") != hlc
    assert {bench.catalog.get_execution(f"e{number}").state for number in range(3)} == {State.DOWNLOADING}
    assert bench.batches.is_idle()


def test_a_batch_has_a_bound(bench: Bench) -> None:
    for number in range(UPDATES_BATCH_COUNT_MAX + 1):
        bench.batches.put_firmware(firmware(device_id=f"d{number}"))
    assert bench.work_off() == 2


def test_the_queue_has_a_bound(bench: Bench) -> None:
    for _ in range(UPDATES_QUEUE_DEPTH_MAX):
        bench.batches.put(Request(lambda work: None))
    with pytest.raises(Unavailable) as error:
        bench.batches.put(Request(lambda work: None))
    assert error.value.code == "updates_busy"
    assert bench.batches.tally.refused_busy == 1


def test_of_reports_that_wait_the_newest_counts(bench: Bench) -> None:
    bench.batches.put_firmware(firmware(boot="B", at_ms=20))
    bench.batches.put_firmware(firmware(boot="A", at_ms=10))
    bench.work_off()
    found = bench.catalog.device_firmware("pump-1")
    assert found is not None
    assert found.report.boot_id == "B"
    bench.batches.put_firmware(firmware(boot="A", at_ms=10))
    bench.work_off()
    assert bench.batches.tally.firmware == {"new": 1, "known": 1}


def test_a_request_that_fails_fails_alone(bench: Bench) -> None:
    def bad(work: Work) -> None:
        work.insert(queued(1, execution_id="e8"))
        work.get("nothing")

    wrong, good = Request(bad), Request(lambda work: work.insert(queued(1)))
    bench.batches.put(wrong)
    bench.batches.put(good)
    assert bench.work_off() >= 1
    assert isinstance(wrong.error, HomeportError)
    assert wrong.error.code == "execution_unknown"
    assert good.error is None
    assert bench.catalog.find_execution("e8") is None
    assert bench.catalog.find_execution("e1") is not None
    assert "e8" not in bench.batches.deadlines._at


def test_a_person_s_act_has_a_transaction_of_its_own(bench: Bench) -> None:
    order: list[str] = []
    bench.work_off()
    looks = bench.planner.count
    bench.batches.put(Request(lambda work: order.append("device")))
    bench.batches.put(Request(lambda work: order.append("ada"), by=PERSON))
    bench.batches.put(Request(lambda work: order.append("device")))
    acts = []
    while (batch := bench.batches.take()) is not None:
        acts.append(batch.act)
        with bench.catalog.transaction(batch.act):
            work = bench.batches.apply(bench.catalog, batch)
        bench.batches.committed(batch, work)
    assert order == ["device", "ada", "device"]
    assert acts == [STEP_ACT, PERSON, STEP_ACT]
    assert bench.planner.count == looks + 1, "what follows from a person's act is the planner's, not theirs"


def test_what_could_not_be_written_waits_again(bench: Bench) -> None:
    bench.put(queued(bench.clock.now_ms(), end_by_at_ms=bench.clock.now_ms() + 5))
    bench.clock.advance(10)
    told: list[str] = []
    request = Request(lambda work: None, done=lambda: told.append("done"))
    bench.batches.put(request)
    bench.batches.put_firmware(firmware(at_ms=bench.clock.now_ms()))
    bench.batches.put_came("pump-1")
    bench.batches.put_blocks("other", "e9", 1, 2)
    batch = bench.batches.take()
    assert batch is not None
    assert (batch.due, batch.came) == (["e1"], ["pump-1"])
    newer = firmware(boot="Z", at_ms=bench.clock.now_ms() + 1)
    bench.batches.put_firmware(newer)
    bench.batches.failed(batch, StorageError("The disk is full."))
    assert told == ["done"]
    assert request.error is not None
    again = bench.batches.take()
    assert again is not None
    assert (again.due, again.came, again.firmware) == (["e1"], ["pump-1"], [newer])
    assert again.blocks == {"e9": ("other", 1, 2)}
    assert again.must_look


def test_a_deadline_comes_by_the_clock(bench: Bench) -> None:
    bench.put(queued(bench.clock.now_ms(), end_by_at_ms=bench.clock.now_ms() + 1_000))
    assert bench.tell() == []
    assert bench.batches.next_ms() == bench.clock.now_ms() + 1_000
    bench.clock.advance(999)
    bench.work_off()
    assert bench.catalog.get_execution("e1").state is State.QUEUED
    bench.clock.advance(1)
    bench.work_off()
    assert bench.catalog.get_execution("e1").state is State.TIMED_OUT


@pytest.mark.parametrize("by_ms", [10**9, -(10**9)])
def test_a_jump_of_the_clock_makes_no_deadline_come_and_keeps_none_away(bench: Bench, by_ms: int) -> None:
    bench.put(queued(bench.clock.now_ms(), end_by_at_ms=bench.clock.now_ms() + 10_000, is_admitted=False))
    bench.clock.set_wall(bench.clock.now_ms() + by_ms)
    bench.work_off()
    assert bench.catalog.get_execution("e1").state is State.QUEUED
    assert bench.planner.shifted_ms == by_ms
    assert bench.batches.tally.jumps == 1
    bench.clock.advance(10_000)
    bench.work_off()
    assert bench.catalog.get_execution("e1").state is State.TIMED_OUT


def test_a_jump_is_applied_once_even_if_it_could_not_be_written(bench: Bench) -> None:
    end_ms = bench.clock.now_ms() + 10_000
    bench.put(queued(bench.clock.now_ms(), end_by_at_ms=end_ms))
    bench.clock.set_wall(bench.clock.now_ms() + 10**9)
    batch = bench.batches.take()
    assert batch is not None
    bench.batches.failed(batch, StorageError("The disk is full."))
    bench.work_off()
    assert bench.catalog.get_execution("e1").end_by_at_ms == end_ms + 10**9
    assert bench.planner.shifted_ms == 10**9


def test_after_a_start_devices_are_heard_before_deadlines_come(bench: Bench) -> None:
    execution = an_execution(State.REBOOTING, deadline_at_ms=bench.clock.now_ms() + 5)
    bench.put(replace(execution, updated_at_ms=bench.clock.now_ms()))
    bench.clock.advance(100_000)
    bench.batches = bench.anew()
    bench.work_off()
    assert bench.catalog.get_execution("e1").state is State.REBOOTING
    bench.clock.advance(START_GRACE_MS)
    bench.work_off()
    assert bench.catalog.get_execution("e1").state is State.UNCONFIRMED


def test_a_clock_that_went_back_while_the_node_was_away_moves_all_times_back(bench: Bench) -> None:
    now_ms = bench.clock.now_ms()
    bench.put(queued(now_ms, end_by_at_ms=now_ms + 10_000))
    bench.clock.set_wall(now_ms - 10**9)
    bench.batches = bench.anew()
    assert bench.catalog.get_execution("e1").end_by_at_ms == now_ms + 10_000 - 10**9
    assert bench.planner.shifted_ms == -(10**9)


def test_the_planner_looks_when_something_moved_or_it_is_time(bench: Bench) -> None:
    bench.work_off()
    looks = bench.planner.count
    assert looks == 1, "at the start"
    bench.batches.put(Request(lambda work: None))
    bench.work_off()
    assert bench.planner.count == looks
    bench.clock.advance(MINUTE_MS)
    bench.work_off()
    assert bench.planner.count == looks + 1
    bench.batches.look_soon()
    bench.work_off()
    assert bench.planner.count == looks + 2


def test_blocks_are_noted_sparsely(bench: Bench) -> None:
    bench.put(queued(bench.clock.now_ms()))
    for bytes_done in (10, 20):
        bench.batches.put_blocks("pump-1", "e1", bytes_done, 100)
        bench.work_off()
    assert bench.catalog.get_execution("e1").bytes_done == 10
    bench.clock.advance(10_000)
    bench.work_off()
    assert bench.catalog.get_execution("e1").bytes_done == 20


def test_blocks_of_another_s_execution_count_nowhere(bench: Bench) -> None:
    bench.put(queued(bench.clock.now_ms()))
    bench.batches.put_blocks("somebody", "e1", 10, 100)
    bench.batches.put_blocks("pump-1", "nothing", 10, 100)
    bench.work_off()
    assert bench.catalog.get_execution("e1").state is State.QUEUED


def test_who_is_to_be_told_and_listens(bench: Bench) -> None:
    now_ms = bench.clock.now_ms()
    bench.put(
        queued(now_ms, "a", execution_id="a"),
        queued(now_ms, "b", execution_id="b"),
        queued(now_ms, "c", execution_id="c", push_due_at_ms=now_ms + 5_000),
    )
    for name in ("a", "c"):
        bench.surroundings.note_listening(name, True)
    assert bench.batches.take_to_tell() == ["a"]
    assert bench.batches.take_to_tell() == []
    assert bench.batches.next_ms() == now_ms + 5_000
    bench.clock.advance(5_000)
    assert bench.batches.take_to_tell() == ["c"]


def test_a_deadline_of_what_is_no_more_is_nobody_s(bench: Bench) -> None:
    bench.batches.deadlines.set("gone", bench.clock.now_ms())
    bench.work_off()
    assert len(bench.batches.deadlines) == 0


def test_who_tests_is_known(bench: Bench) -> None:
    bench.put(an_execution(State.TESTING))
    assert bench.batches.testing == {"e1": "pump-1"}
    with bench.catalog.transaction():
        put_rollout(bench.catalog)
    bench.batches.put_firmware(firmware("1" * 64, at_ms=bench.clock.now_ms()))
    bench.work_off()
    assert bench.batches.testing == {}


@pytest.mark.parametrize("by_ms", [10**9, -(10**9)])
def test_a_jump_while_running_is_no_jump_at_the_next_start(bench: Bench, by_ms: int) -> None:
    bench.put(queued(bench.clock.now_ms(), end_by_at_ms=bench.clock.now_ms() + 10_000, is_admitted=False))
    bench.clock.set_wall(bench.clock.now_ms() + by_ms)
    bench.work_off()
    for _ in range(2):
        bench.batches = bench.anew()
        assert bench.catalog.get_execution("e1").end_by_at_ms == bench.clock.now_ms() + 10_000
    assert bench.planner.shifted_ms == by_ms


def test_a_clock_that_went_back_while_away_went_back_once(bench: Bench) -> None:
    now_ms = bench.clock.now_ms()
    bench.put(queued(now_ms, end_by_at_ms=now_ms + 10_000))
    bench.clock.set_wall(now_ms - 10**9)
    for _ in range(3):
        bench.batches = bench.anew()
    assert bench.catalog.get_execution("e1").end_by_at_ms == now_ms + 10_000 - 10**9


def test_a_row_that_makes_no_sense_stops_no_other(bench: Bench) -> None:
    now_ms = bench.clock.now_ms()
    for name in ("bad", "good"):
        bench.put(queued(now_ms, name, execution_id=name, end_by_at_ms=now_ms + 5))
    bench.put_state("bad", "nonsense")
    for name in ("bad", "good"):
        bench.batches.put_firmware(firmware(OLD_DIGEST, device_id=name, at_ms=now_ms))
        bench.batches.put_came(name)
        bench.batches.put_blocks(name, name, 1, 2)
    bench.batches.put(Request(lambda work: work.get("bad")))
    bench.clock.advance(5)
    bench.work_off()
    assert bench.catalog.get_execution("good").state is State.DOWNLOADING
    assert bench.catalog.device_firmware("good") is not None
    failed = bench.batches.tally.parts_failed
    assert failed == 5
    bench.put_state("bad", "queued")
    bench.clock.advance(BROKEN_AGAIN_MS)
    bench.work_off()
    assert bench.batches.tally.parts_failed == failed
    assert bench.catalog.get_execution("bad").state is State.TIMED_OUT, "its time comes again"


def test_a_disk_that_fails_is_nobodys_row(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise StorageError("The disk is full.")

    monkeypatch.setattr(Work, "came", fails)
    bench.batches.put_came("pump-1")
    with pytest.raises(StorageError):
        bench.work_off()
