"""What may go wrong with an update, played on a clock turned by hand, over a real catalog: one test for each story."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from appliance.core.clock import ManualClock
from appliance.management.execution_report import ReportStatus
from appliance.management.executions import State
from tests.acts import ACT
from tests.execution_kit import DAY_MS, MINUTE_MS, NEW_DIGEST, OLD_DIGEST, THIRD_DIGEST
from tests.updates_kit import Bench, a_bench, a_rollout, queued


async def begun(bench: Bench) -> None:
    """A device on 1.0 in boot A that listens and has a job."""
    await a_rollout(bench)
    await bench.runs(OLD_DIGEST, boot="A")
    bench.engine.listening("pump-1", True)
    await bench.make(queued(bench.clock.now_ms()))
    assert bench.told == ["pump-1"]


async def rebooting(bench: Bench) -> None:
    """The same, as far as its restart."""
    await begun(bench)
    for seq, phase in enumerate(("downloading", "downloaded", "verified", "installing", "rebooting"), 1):
        await bench.after(1_000)
        await bench.report("e1", phase, seq=seq)
    assert await bench.state() is State.REBOOTING
    bench.engine.listening("pump-1", False)


async def test_the_straight_way(tmp_path: Path) -> None:
    async with a_bench(tmp_path / "catalog.db") as bench:
        await rebooting(bench)
        await bench.after(5_000)
        await bench.runs(NEW_DIGEST, boot="B", is_confirmed=False)
        assert await bench.state() is State.TESTING
        await bench.after(60_000)
        await bench.runs(NEW_DIGEST, boot="B", is_confirmed=True, seq=2)
        execution = await bench.get()
        assert execution.state is State.SUCCEEDED
        assert (execution.from_version, execution.attempt, execution.error) == ("1.0", 1, "")
        states = [event.to_state for event in await bench.events() if event.is_move]
        assert states == [
            "notified", "downloading", "downloaded", "verified", "installing", "rebooting", "testing", "succeeded",
        ]  # fmt: skip


async def test_the_bootloader_fell_back(tmp_path: Path) -> None:
    async with a_bench(tmp_path / "catalog.db") as bench:
        await rebooting(bench)
        await bench.after(30_000)
        await bench.runs(OLD_DIGEST, boot="C")
        execution = await bench.get()
        assert execution.state is State.ROLLED_BACK
        assert execution.rollback_attempt_count == 0
        assert execution.ended_at_ms is None
        await bench.after(5 * MINUTE_MS)
        assert (await bench.get()).ended_at_ms is not None
        known = await bench.catalog.read(lambda catalog: catalog.known_bad("pump-1", NEW_DIGEST))
        assert known is not None


async def test_third_version(tmp_path: Path) -> None:
    async with a_bench(tmp_path / "catalog.db") as bench:
        await rebooting(bench)
        await bench.after(30_000)
        await bench.runs(THIRD_DIGEST, boot="C")
        execution = await bench.get()
        assert execution.state is State.MANUAL
        assert execution.needs_manual_intervention
        assert "neither" in execution.manual_reason


async def test_silence_after_reboot(tmp_path: Path) -> None:
    async with a_bench(tmp_path / "catalog.db") as bench:
        await rebooting(bench)
        await bench.after(10 * MINUTE_MS)
        assert await bench.state() is State.UNCONFIRMED
        await bench.after(DAY_MS)
        assert await bench.state() is State.LOST
        assert (await bench.get()).needs_manual_intervention
        await bench.runs(NEW_DIGEST, boot="B")
        execution = await bench.get()
        assert execution.state is State.SUCCEEDED
        assert not execution.needs_manual_intervention


async def test_regression_after_success(tmp_path: Path) -> None:
    async with a_bench(tmp_path / "catalog.db") as bench:
        await rebooting(bench)
        await bench.after(1_000)
        await bench.runs(NEW_DIGEST, boot="B")
        await bench.after(6 * DAY_MS)
        await bench.runs(OLD_DIGEST, boot="C")
        assert await bench.state() is State.REGRESSED
        assert (await bench.get()).needs_manual_intervention


async def test_same_report_twice(tmp_path: Path) -> None:
    async with a_bench(tmp_path / "catalog.db") as bench:
        await begun(bench)
        first = await bench.report("e1", "downloading", seq=1)
        events = await bench.events()
        again = await bench.report("e1", "downloading", seq=1)
        assert again == first
        assert await bench.events() == events


async def test_unreachable_in_the_middle_of_a_rollback(tmp_path: Path) -> None:
    async with a_bench(tmp_path / "catalog.db") as bench:
        await rebooting(bench)
        await bench.runs(NEW_DIGEST, boot="B", is_confirmed=False)
        bench.engine.listening("pump-1", True)
        await bench.settle()
        await bench.report(
            "e1",
            "testing",
            seq=6,
            boot_id="B",
            status=ReportStatus.FAILED,
            err="self_test",
            self_test="failed",
        )
        assert await bench.state() is State.ROLLBACK_PENDING
        await bench.report("e1", "rolling_back", seq=7, boot_id="B")
        assert await bench.state() is State.ROLLING_BACK
        bench.engine.listening("pump-1", False)
        await bench.after(16 * MINUTE_MS)
        execution = await bench.get()
        assert (execution.state, execution.rollback_attempt_count) == (State.ROLLING_BACK, 1)
        assert not execution.needs_manual_intervention
        await bench.after(DAY_MS)
        execution = await bench.get()
        assert (execution.state, execution.rollback_attempt_count) == (State.ROLLING_BACK, 1)
        assert execution.needs_manual_intervention
        assert "middle" in execution.manual_reason
        await bench.runs(OLD_DIGEST, boot="C")
        execution = await bench.get()
        assert execution.state is State.ROLLED_BACK
        assert not execution.needs_manual_intervention


async def test_boot_loop(tmp_path: Path) -> None:
    """The target boots again and again, unconfirmed, until the bootloader gives it up."""
    async with a_bench(tmp_path / "catalog.db") as bench:
        await rebooting(bench)
        for boot in ("B", "C", "D"):
            await bench.after(20_000)
            await bench.runs(NEW_DIGEST, boot=boot, is_confirmed=False)
            assert await bench.state() is State.TESTING
        assert (await bench.get()).health["boots"] == 3
        await bench.after(20_000)
        await bench.runs(OLD_DIGEST, boot="E")
        execution = await bench.get()
        assert execution.state is State.ROLLED_BACK
        assert (execution.error, execution.rollback_attempt_count) == ("boot_fallback", 0)


async def test_boot_loop_that_nobody_ends(tmp_path: Path) -> None:
    """Without a bootloader that falls back: the box decides at the end of the test."""
    async with a_bench(tmp_path / "catalog.db") as bench:
        await rebooting(bench)
        for boot in ("B", "C", "D", "E"):
            await bench.after(20_000)
            await bench.runs(NEW_DIGEST, boot=boot, is_confirmed=None)
        await bench.after(15 * MINUTE_MS)
        execution = await bench.get()
        assert execution.state is State.ROLLBACK_PENDING
        assert execution.error_text == "boots_again"


async def test_known_bad_artifact_is_not_offered_again(tmp_path: Path) -> None:
    async with a_bench(tmp_path / "catalog.db") as bench:
        await rebooting(bench)
        await bench.runs(OLD_DIGEST, boot="C")
        await bench.after(5 * MINUTE_MS)
        await bench.make(queued(bench.clock.now_ms(), execution_id="e2", number=2))
        bench.engine.listening("pump-1", True)
        await bench.settle()
        assert await bench.do(lambda work: work.refuse_known_bad(work.get("e2")))
        refused = await bench.get("e2")
        assert (refused.state, refused.error) == (State.REJECTED, "known_bad")
        assert [event.event for event in await bench.events("e2")] == ["refused"]


@pytest.mark.parametrize("by_ms", [40 * 365 * DAY_MS, -20 * 365 * DAY_MS])
async def test_clock_jump(tmp_path: Path, by_ms: int) -> None:
    """A box without a battery gets its time: nothing is overdue because of it, and nothing is never due."""
    async with a_bench(tmp_path / "catalog.db") as bench:
        await rebooting(bench)
        bench.clock.set_wall(bench.clock.now_ms() + by_ms)
        await bench.settle()
        assert await bench.state() is State.REBOOTING
        await bench.after(9 * MINUTE_MS)
        assert await bench.state() is State.REBOOTING
        await bench.after(1 * MINUTE_MS)
        assert await bench.state() is State.UNCONFIRMED
        # What is said after the jump counts, too.
        await bench.runs(OLD_DIGEST, boot="C")
        assert await bench.state() is State.ROLLED_BACK


async def test_the_same_report_of_a_success_and_of_a_failure_twice(tmp_path: Path) -> None:
    async with a_bench(tmp_path / "catalog.db") as bench:
        await begun(bench)
        said: dict[str, Any] = {"status": ReportStatus.FAILED, "err": "flash_write_failed"}
        first = await bench.report("e1", "installing", seq=1, **said)
        events = await bench.events()
        again = await bench.report("e1", "installing", seq=1, **said)
        assert (again, await bench.events()) == (first, events)
        assert first.attempt == 1


async def test_out_of_order(tmp_path: Path) -> None:
    async with a_bench(tmp_path / "catalog.db") as bench:
        await begun(bench)
        for seq, phase in ((1, "downloading"), (3, "verified"), (2, "downloaded"), (4, "installing")):
            await bench.report("e1", phase, seq=seq)
        assert await bench.state() is State.INSTALLING
        assert [event.event for event in await bench.events() if not event.is_move] == ["out_of_order"]


async def test_late_report(tmp_path: Path) -> None:
    async with a_bench(tmp_path / "catalog.db") as bench:
        await rebooting(bench)
        await bench.runs(NEW_DIGEST, boot="B")
        succeeded = await bench.get()
        late = await bench.report("e1", "testing", seq=6, boot_id="B")
        assert late.state is State.SUCCEEDED
        assert (await bench.get()).ended_at_ms == succeeded.ended_at_ms
        assert (await bench.events())[-1].event == "late_report"


async def test_a_status_that_comes_late_is_no_way_back(tmp_path: Path) -> None:
    """The report comes directly, the status through the log: the old one may come last."""
    async with a_bench(tmp_path / "catalog.db") as bench:
        await rebooting(bench)
        before_ms = bench.clock.now_ms() - 100
        await bench.after(5_000)
        await bench.report("e1", "testing", seq=6, boot_id="B")
        await bench.runs(OLD_DIGEST, boot="Z", at_ms=before_ms)
        assert await bench.state() is State.TESTING


async def test_higher_fence(tmp_path: Path) -> None:
    """Another node has taken over: what was ordered before is reported in vain, what is ordered now has the new fence."""
    async with a_bench(tmp_path / "catalog.db") as bench:
        await begun(bench)
        await bench.catalog.write(
            lambda catalog: catalog.execute(
                "UPDATE rollouts SET fence = 7, origin = ?, hlc = ?", (catalog.origin, catalog.hlc)
            ),
            by=ACT,
        )
        moved = await bench.report("e1", "installing", seq=1, fence=6)
        assert moved.state is State.QUEUED
        assert [event.event for event in await bench.events()] == ["lower_fence"]
        document = await bench.updates.document(await bench.get())
        assert document["fence"] == 7
        assert (await bench.report("e1", "downloading", seq=2, fence=7)).state is State.DOWNLOADING


async def test_power_cut_while_it_installs(tmp_path: Path) -> None:
    async with a_bench(tmp_path / "catalog.db") as bench:
        await begun(bench)
        await bench.report("e1", "installing", seq=1)
        await bench.after(1_000)
        await bench.runs(OLD_DIGEST, boot="A", session="again")
        assert await bench.state() is State.INSTALLING, "a new connection is no boot"
        await bench.after(1_000)
        await bench.runs(OLD_DIGEST, boot="B")
        assert await bench.state() is State.DOWNLOADING
        assert bench.told[-1] == "pump-1", "it is told to go on"


@pytest.mark.parametrize("killed_after", range(8))
async def test_a_node_that_dies_anywhere_goes_on(tmp_path: Path, killed_after: int) -> None:
    """The engine is made anew from the catalog after any step; the outcome is the same."""
    clock = ManualClock()
    steps = ["downloading", "downloaded", "verified", "installing", "rebooting", NEW_DIGEST, "confirmed"]

    async def play(bench: Bench, step: str, number: int) -> None:
        await bench.after(1_000)
        if step == NEW_DIGEST:
            await bench.runs(NEW_DIGEST, boot="B", is_confirmed=False)
        elif step == "confirmed":
            await bench.runs(NEW_DIGEST, boot="B", seq=2)
        else:
            await bench.report("e1", step, seq=number + 1)

    async with a_bench(tmp_path / "catalog.db", clock=clock) as bench:
        await begun(bench)
        for number, step in enumerate(steps[:killed_after]):
            await play(bench, step, number)
        events = await bench.events()
    async with a_bench(tmp_path / "catalog.db", clock=clock) as bench:
        assert await bench.events() == events
        # The device says again what it is not sure to have said.
        for number, step in list(enumerate(steps))[max(0, killed_after - 1) :]:
            await play(bench, step, number)
        assert await bench.state() is State.SUCCEEDED
        moves = [event.event for event in await bench.events() if event.is_move]
        assert len(moves) == len(set(moves)) == 8
