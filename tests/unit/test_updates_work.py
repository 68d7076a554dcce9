"""One transaction of the engine: steps, what is kept of firmware, and what follows from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.core.errors import NotFound
from appliance.management.execution import Ordered
from appliance.management.execution_report import Report, ReportStatus
from appliance.management.executions import Event, State
from appliance.updates.work import NoPlanner, Window
from tests.execution_kit import NEW_DIGEST, OLD_DIGEST, an_execution, firmware
from tests.updates_kit import a_bench, a_rollout, queued


async def test_another_s_execution_is_unknown(tmp_path: Path) -> None:
    async with a_bench(tmp_path / "catalog.db") as bench:
        await bench.make(queued(1))
        with pytest.raises(NotFound):
            await bench.do(lambda work: work.get_of("somebody", "e1"))
        with pytest.raises(NotFound):
            await bench.do(
                lambda work: work.report("somebody", "e1", Report(status=ReportStatus.IN_PROGRESS))
            )


async def test_admitting(tmp_path: Path) -> None:
    async with a_bench(tmp_path / "catalog.db") as bench:
        await bench.make(queued(1, is_admitted=False, push_due_at_ms=None))
        first = await bench.do(lambda work: work.admit("e1", push_due_at_ms=77))
        assert (first.is_admitted, first.push_due_at_ms) == (True, 77)
        again = await bench.do(lambda work: work.admit("e1"))
        assert again.push_due_at_ms == 77


async def test_what_the_planner_may_change(tmp_path: Path) -> None:
    async with a_bench(tmp_path / "catalog.db") as bench:
        await bench.make(queued(1))
        changed = await bench.do(lambda work: work.change(work.get("e1"), wave=3, health={"x": 1}))
        assert (changed.wave, changed.health) == (3, {"x": 1})
        with pytest.raises(AssertionError):
            await bench.do(lambda work: work.change(work.get("e1"), state="succeeded"))


async def test_a_new_update_ends_the_watch_of_the_one_before(tmp_path: Path) -> None:
    async with a_bench(tmp_path / "catalog.db") as bench:
        now_ms = bench.clock.now_ms()
        old = an_execution(
            State.SUCCEEDED,
            execution_id="old",
            rollout_id="r0",
            ended_at_ms=1,
            watch_until_at_ms=now_ms + 9**9,
        )
        await bench.make(old, queued(now_ms, to_digest="9" * 64, to_version="9"))
        await bench.runs(NEW_DIGEST, boot="B")
        await bench.report("e1", "downloading", seq=1, boot_id="B")
        assert (await bench.get("old")).watch_until_at_ms is None
        await bench.runs("9" * 64, boot="C")
        assert await bench.state() is State.SUCCEEDED
        assert await bench.state("old") is State.SUCCEEDED


async def test_a_job_s_report_names_what_runs(tmp_path: Path) -> None:
    async with a_bench(tmp_path / "catalog.db") as bench:
        await bench.make(queued(bench.clock.now_ms()))
        said = firmware(OLD_DIGEST, boot="A", at_ms=bench.clock.now_ms(), source="job", is_confirmed=None)
        await bench.report("e1", "downloading", seq=1, running=said)
        kept = await bench.catalog.read(lambda catalog: catalog.device_firmware("pump-1"))
        assert kept is not None
        assert kept.report.digest == OLD_DIGEST
        await bench.runs(OLD_DIGEST, boot="A", is_confirmed=True)
        bench.clock.advance(10)
        later = firmware(OLD_DIGEST, boot="A", at_ms=bench.clock.now_ms(), source="job", is_confirmed=None)
        await bench.report("e1", "downloaded", seq=2, running=later)
        kept = await bench.catalog.read(lambda catalog: catalog.device_firmware("pump-1"))
        assert kept is not None
        assert kept.report.is_confirmed, "a status says more than a job's report of the same boot"


async def test_a_report_that_comes_late_names_nothing_that_runs(tmp_path: Path) -> None:
    async with a_bench(tmp_path / "catalog.db") as bench:
        await bench.make(queued(bench.clock.now_ms()))
        await bench.report("e1", "downloaded", seq=5)
        said = firmware(NEW_DIGEST, boot="A", at_ms=bench.clock.now_ms(), source="job")
        await bench.report("e1", "downloading", seq=4, running=said)
        assert await bench.catalog.read(lambda catalog: catalog.device_firmware("pump-1")) is None


async def test_hardware_and_the_time_of_the_boot_are_kept(tmp_path: Path) -> None:
    async with a_bench(tmp_path / "catalog.db") as bench:
        await bench.runs(OLD_DIGEST, boot="A", hw="rev2")
        booted_ms = bench.clock.now_ms()
        bench.clock.advance(1_000)
        await bench.runs(OLD_DIGEST, boot="A", seq=2)
        kept = await bench.catalog.read(lambda catalog: catalog.device_firmware("pump-1"))
        assert kept is not None
        assert (kept.report.hw, kept.booted_at_ms) == ("rev2", booted_ms)
        bench.clock.advance(1_000)
        await bench.runs(OLD_DIGEST, boot="B")
        kept = await bench.catalog.read(lambda catalog: catalog.device_firmware("pump-1"))
        assert kept is not None
        assert kept.booted_at_ms == bench.clock.now_ms()


async def test_a_failure_that_is_over_is_overtaken_by_what_runs(tmp_path: Path) -> None:
    async with a_bench(tmp_path / "catalog.db") as bench:
        failed = an_execution(State.FAILED, ended_at_ms=5, attempt=3, install_boot_id="A")
        await bench.make(failed)
        await bench.runs(NEW_DIGEST, boot="B")
        assert await bench.state() is State.SUCCEEDED


async def test_known_bad_is_refused(tmp_path: Path) -> None:
    async with a_bench(tmp_path / "catalog.db") as bench:
        await bench.make(queued(1))
        assert not await bench.do(lambda work: work.refuse_known_bad(work.get("e1")))
        await bench.do(
            lambda work: work.catalog.add_known_bad(
                "pump-1", NEW_DIGEST, execution_id="x", reason="r", now_ms=1
            )
        )
        assert await bench.do(lambda work: work.refuse_known_bad(work.get("e1")))
        assert await bench.state() is State.REJECTED


async def test_a_retry_by_a_person_forgives(tmp_path: Path) -> None:
    async with a_bench(tmp_path / "catalog.db") as bench:
        await bench.make(an_execution(State.MANUAL))
        await bench.do(
            lambda work: work.catalog.add_known_bad(
                "pump-1", NEW_DIGEST, execution_id="x", reason="r", now_ms=1
            )
        )
        await bench.do(lambda work: work.step("e1", Ordered(Event.RETRY)))
        assert await bench.catalog.read(lambda catalog: catalog.known_bad("pump-1", NEW_DIGEST)) is None


async def test_a_rollout_s_terms_are_read_once_and_again_when_they_change(tmp_path: Path) -> None:
    async with a_bench(tmp_path / "catalog.db") as bench:
        await a_rollout(bench, policy={"confirm_s": 60}, fence=3)
        await bench.make(queued(1))

        def look(work: object) -> tuple[int, int]:
            assert hasattr(work, "context")
            terms = work.context(work.get("e1")).terms  # type: ignore[attr-defined]
            work.forget_terms("r1")  # type: ignore[attr-defined]
            return terms.confirm_ms, terms.fence

        assert await bench.do(look) == (60_000, 3)


def test_without_a_planner_there_are_no_windows() -> None:
    assert NoPlanner().window(None, "r1", 0) == Window(is_open=True)  # type: ignore[arg-type]


async def test_the_row_of_what_has_ended_is_not_written_for_what_comes_late(tmp_path: Path) -> None:
    async with a_bench(tmp_path / "catalog.db") as bench:
        ended = an_execution(State.CANCELED, ended_at_ms=5)
        await bench.make(ended)
        for seq in (1, 1, 2):
            await bench.report("e1", "downloading", seq=seq)
        assert await bench.get() == ended
        assert [event.event for event in await bench.events()] == ["late_report", "late_report"]


async def test_what_was_received_before_the_clock_went_back_outdoes_nothing(tmp_path: Path) -> None:
    async with a_bench(tmp_path / "catalog.db") as bench:
        ahead_ms = bench.clock.now_ms() + 10**10
        await bench.runs(OLD_DIGEST, boot="A", at_ms=ahead_ms)
        kept = await bench.updates.firmware_of("pump-1")
        assert kept is not None
        assert kept.report.at_ms == bench.clock.now_ms()
        await bench.after(1_000)
        # The store still has the time of then, and a start tells all that it has.
        await bench.runs(OLD_DIGEST, boot="A", at_ms=ahead_ms)
        assert await bench.updates.firmware_of("pump-1") == kept
        await bench.runs(NEW_DIGEST, boot="B")
        newest = await bench.updates.firmware_of("pump-1")
        assert newest is not None
        assert newest.report.digest == NEW_DIGEST
