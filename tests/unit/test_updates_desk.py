"""Updates, as the rest of the node sees them."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.core.errors import Conflict, NotFound
from appliance.management.audit import Actor
from appliance.management.execution_report import Report, ReportStatus
from appliance.management.executions import State
from appliance.updates.desk import Operation, possible
from tests.execution_kit import NEW_DIGEST, OLD_DIGEST, an_execution, firmware
from tests.updates_kit import a_rollout, a_running_bench, queued

ADA = Actor(name="ada", kind="user")
S, O = State, Operation  # noqa: E741


@pytest.mark.parametrize(
    ("state", "operations"),
    [
        (S.QUEUED, {O.CANCEL, O.REPLACE_DEVICE}),
        (S.INSTALLING, {O.REPLACE_DEVICE}),
        (S.TESTING, {O.ROLLBACK, O.REPLACE_DEVICE}),
        (S.SUCCEEDED, {O.ROLLBACK}),
        (S.MANUAL, {O.RETRY, O.RETRY_ROLLBACK, O.REPLACE_DEVICE, O.IGNORE, O.MARK_RECOVERED}),
        (S.LOST, {O.REPLACE_DEVICE, O.IGNORE, O.MARK_RECOVERED, O.ROLLBACK}),
        (S.REGRESSED, {O.RETRY, O.ACCEPT, O.IGNORE, O.REPLACE_DEVICE}),
        (S.NOOP, set()),
    ],
)
def test_what_a_person_may_do(state: State, operations: set[Operation]) -> None:
    assert set(possible(an_execution(state))) == operations


async def test_a_person_s_decision_is_in_the_history_and_in_the_audit(tmp_path: Path) -> None:
    async with a_running_bench(tmp_path / "catalog.db") as bench:
        await bench.engine.do(
            lambda work: work.insert(an_execution(S.MANUAL, needs_manual_intervention=True))
        )
        done = await bench.updates.operate("e1", O.RETRY, ADA, reason="new cable")
        assert (done.state, done.needs_manual_intervention) == (S.QUEUED, False)
        event = (await bench.events())[-1]
        assert (event.actor, event.detail, event.event) == ("ada", {"reason": "new cable"}, "retry")
        entries = await bench.catalog.read(
            lambda catalog: catalog.rows(
                "SELECT actor, action, object_id FROM audit WHERE object_kind = 'execution'"
            )
        )
        assert [tuple(entry) for entry in entries] == [("ada", "execution.retry", "e1")]


async def test_what_can_t_be_done_now(tmp_path: Path) -> None:
    async with a_running_bench(tmp_path / "catalog.db") as bench:
        await bench.engine.do(lambda work: work.insert(an_execution(S.INSTALLING)))
        with pytest.raises(Conflict) as error:
            await bench.updates.operate("e1", O.CANCEL, ADA)
        assert error.value.code == "execution_state"
        with pytest.raises(NotFound):
            await bench.updates.operate("e9", O.CANCEL, ADA)


@pytest.mark.parametrize(("digest", "state"), [(OLD_DIGEST, S.ROLLED_BACK), (NEW_DIGEST, S.SUCCEEDED)])
async def test_recovered_is_what_the_device_says(tmp_path: Path, digest: str, state: State) -> None:
    async with a_running_bench(tmp_path / "catalog.db") as bench:
        execution = an_execution(S.MANUAL, state_since_ms=bench.clock.now_ms())
        await bench.engine.do(lambda work: work.insert(execution))
        stale = firmware(digest, at_ms=bench.clock.now_ms() - 1)
        await bench.engine.do(lambda work: work.firmware_seen(stale))
        with pytest.raises(Conflict) as error:
            await bench.updates.operate("e1", O.MARK_RECOVERED, ADA)
        assert error.value.code == "execution_not_recovered"
        fresh = firmware(digest, boot="Z", at_ms=bench.clock.now_ms())
        await bench.engine.do(lambda work: work.firmware_seen(fresh))
        assert (await bench.updates.operate("e1", O.MARK_RECOVERED, ADA)).state is state


async def test_recovered_without_a_word_from_the_device(tmp_path: Path) -> None:
    async with a_running_bench(tmp_path / "catalog.db") as bench:
        await bench.engine.do(lambda work: work.insert(an_execution(S.LOST)))
        with pytest.raises(Conflict):
            await bench.updates.operate("e1", O.MARK_RECOVERED, ADA)


@pytest.mark.parametrize(
    ("execution", "code"),
    [
        (an_execution(S.DOWNLOADING, version=9), "execution_version"),
        (an_execution(S.CANCELED, ended_at_ms=1, version=1), "execution_ended"),
        (an_execution(S.TESTING, version=1), "execution_not_now"),
    ],
)
async def test_a_report_that_is_refused(tmp_path: Path, execution: object, code: str) -> None:
    async with a_running_bench(tmp_path / "catalog.db") as bench:
        await bench.engine.do(lambda work: work.insert(execution))  # type: ignore[arg-type]
        report = Report(status=ReportStatus.IN_PROGRESS, phase="rolling_back", expected_version=1)
        with pytest.raises(Conflict) as error:
            await bench.updates.report("pump-1", "e1", report)
        assert error.value.code == code


async def test_reports_are_counted_by_what_became_of_them(tmp_path: Path) -> None:
    async with a_running_bench(tmp_path / "catalog.db") as bench:
        await bench.engine.do(lambda work: work.insert(queued(1)))
        for seq in (2, 2, 1):
            report = Report(status=ReportStatus.IN_PROGRESS, phase="downloading", seq=seq)
            execution = await bench.updates.report("pump-1", "e1", report)
        assert execution.state is S.DOWNLOADING
        stale = Report(status=ReportStatus.IN_PROGRESS, seq=3, expected_version=99)
        with pytest.raises(Conflict):
            await bench.updates.report("pump-1", "e1", stale)
        assert bench.updates.statistics().reports == {"new": 1, "double": 1, "out_of_order": 1, "refused": 1}


async def test_what_a_device_asks(tmp_path: Path) -> None:
    async with a_running_bench(tmp_path / "catalog.db") as bench:
        await a_rollout(bench)
        await bench.engine.do(lambda work: work.insert(queued(1)))
        updates = bench.updates
        found = await updates.next_execution("pump-1")
        assert found is not None
        assert (await updates.document(found))["op"] == "fw.install"
        assert [each.execution_id for each in await updates.pending("pump-1")] == ["e1"]
        assert (await updates.get("pump-1", "e1")).execution_id == "e1"
        with pytest.raises(NotFound):
            await updates.get("somebody", "e1")
        started = await updates.start_next("pump-1")
        assert started is not None
        assert started.state is S.DOWNLOADING
        assert await updates.start_next("somebody") is None
        await updates.note_blocks("pump-1", "e1", 5, 10)
        await updates.firmware_reported(firmware(OLD_DIGEST))
        await bench.engine.do(lambda work: None)
        assert (await updates.get("pump-1", "e1")).bytes_done == 5
        known = await updates.firmware_of("pump-1")
        assert known is not None
        assert known.report.digest == OLD_DIGEST


async def test_what_begins_is_not_known_bad(tmp_path: Path) -> None:
    async with a_running_bench(tmp_path / "catalog.db") as bench:
        await bench.engine.do(lambda work: work.insert(queued(1)))
        (known,) = await bench.engine.do(
            lambda work: work.catalog.add_known_bad(
                "pump-1", NEW_DIGEST, execution_id="x", reason="r", now_ms=1
            )
        )
        assert await bench.updates.next_execution("pump-1") is None
        assert await bench.state() is S.REJECTED
        forgiven = await bench.updates.forgive(known.known_bad_id, ADA, reason="the cable was it")
        assert forgiven == known
        assert await bench.catalog.read(lambda catalog: catalog.list_known_bad()) == []
        (entry,) = await bench.catalog.read(
            lambda catalog: catalog.rows("SELECT actor, detail FROM audit WHERE detail <> ''")
        )
        assert tuple(entry) == ("ada", "the cable was it")
