"""Reports: one at a time, a seq each for ever, sent again until they are answered."""

from __future__ import annotations

import json
from typing import Any

from device_fw_sim import job as jobs
from device_fw_sim.flash import MemoryFlash
from device_fw_sim.job import IN_PROGRESS, Job, Reporter
from device_fw_sim.limits import REQUEST_TIMEOUT_MS
from device_fw_sim.phases import Phase


def reporter(flash: MemoryFlash) -> tuple[Job, Reporter]:
    job = Job(id="j1", number=1, version=3, document={"op": "fw.install"}, phase=Phase.DOWNLOADING)
    jobs.save(flash, job)
    return job, Reporter(flash, job, "boot1")


def sent(found: Reporter, now_ms: int = 0) -> dict[str, Any]:
    request = found.due(now_ms)
    assert request is not None
    assert request.topic == "jobs/j1/update"
    message: dict[str, Any] = json.loads(request.payload)
    return message


def accept(found: Reporter, message: dict[str, Any], version: int) -> jobs.Report | None:
    answer = {"clientToken": message["clientToken"], "executionState": {"versionNumber": version}}
    return found.answered(answer, is_accepted=True)


def test_one_at_a_time_with_the_version_of_the_last_answer() -> None:
    flash = MemoryFlash()
    job, found = reporter(flash)
    found.add(IN_PROGRESS, "downloading", pct=0)
    found.add(IN_PROGRESS, "downloaded")
    first = sent(found)
    assert (first["expectedVersion"], first["executionNumber"], first["statusDetails"]["seq"]) == (3, 1, 1)
    assert found.due(1) is None
    settled = accept(found, first, 4)
    assert settled is not None
    assert settled.seq == 1
    assert sent(found)["expectedVersion"] == 4
    reloaded = jobs.load(flash)
    assert reloaded is not None
    assert (reloaded.seq, reloaded.version) == (2, 4)
    assert job.seq == 2


def test_without_an_answer_it_is_the_same_report_again() -> None:
    _, found = reporter(MemoryFlash())
    found.add(IN_PROGRESS, "downloading")
    first = sent(found)
    assert found.next_deadline_ms() == REQUEST_TIMEOUT_MS
    assert sent(found, REQUEST_TIMEOUT_MS) == first
    found.again()
    assert sent(found, REQUEST_TIMEOUT_MS + 1) == first


def test_a_stale_version_is_mended_and_the_report_sent_again() -> None:
    _, found = reporter(MemoryFlash())
    found.add(IN_PROGRESS, "downloading")
    first = sent(found)
    answer = {
        "clientToken": first["clientToken"],
        "code": "VersionMismatch",
        "executionState": {"versionNumber": 9},
    }
    assert found.answered(answer, is_accepted=False) is None
    second = sent(found)
    assert second["expectedVersion"] == 9
    assert second["statusDetails"] == first["statusDetails"]


def test_another_rejection_settles_it() -> None:
    _, found = reporter(MemoryFlash())
    found.add(IN_PROGRESS, "installing", is_gate=True)
    first = sent(found)
    answer = {"clientToken": first["clientToken"], "code": "InvalidStateTransition"}
    settled = found.answered(answer, is_accepted=False)
    assert settled is not None
    assert settled.is_gate
    assert found.due(0) is None


def test_an_answer_to_something_else_changes_nothing() -> None:
    _, found = reporter(MemoryFlash())
    found.add(IN_PROGRESS, "downloading")
    sent(found)
    assert found.answered({"clientToken": "other"}, is_accepted=True) is None
    assert found.under_way is not None


def test_progress_that_waits_is_replaced_by_newer_progress() -> None:
    _, found = reporter(MemoryFlash())
    for pct in range(5):
        found.add(IN_PROGRESS, "downloading", pct=pct)
    assert sent(found)["statusDetails"]["pct"] == 4
    assert found.next_deadline_ms() is not None


def test_no_job_is_nothing() -> None:
    flash = MemoryFlash()
    assert jobs.load(flash) is None
    _, found = reporter(flash)
    found.add(IN_PROGRESS, "downloading")
    jobs.forget(flash)
    assert jobs.load(flash) is None
    assert jobs.last_seq(flash) == 1
