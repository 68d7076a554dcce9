"""Reports about a job: read, bounded, refused with a reason."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.core.errors import UsageError
from appliance.management.execution_report import Report, ReportStatus, parse_report, step_timeout_of
from tests.execution_kit import NEW_DIGEST


def test_a_whole_report() -> None:
    details = {
        "phase": "downloading", "pct": 40, "bytes": 4_000, "attempt": 2, "seq": 7, "boot_id": "b", "running": NEW_DIGEST,
        "self_test": "passed", "err": "flash", "err_msg": "no room", "log_tail": "…", "fence": 3,
    }  # fmt: skip
    fields = {
        "status": "IN_PROGRESS", "expectedVersion": 4, "executionNumber": 1, "statusDetails": details,
        "stepTimeoutInMinutes": 30,
    }  # fmt: skip
    report = parse_report("d", fields, 9)
    assert (report.status, report.phase, report.pct, report.bytes_done) == (
        "IN_PROGRESS",
        "downloading",
        40,
        4_000,
    )
    assert (report.attempt, report.seq, report.boot_id, report.fence) == (2, 7, "b", 3)
    assert (report.expected_version, report.execution_number, report.step_timeout_minutes) == (4, 1, 30)
    assert (report.err, report.err_msg, report.log_tail, report.self_test) == (
        "flash",
        "no room",
        "…",
        "passed",
    )
    assert report.running is not None
    assert (report.running.digest, report.running.at_ms) == (NEW_DIGEST, 9)


def test_texts_stand_for_numbers_as_aws_has_them() -> None:
    report = parse_report(
        "d", {"status": "FAILED", "statusDetails": {"seq": "7", "bytes": "100", "pct": "5"}}, 0
    )
    assert (report.seq, report.bytes_done, report.pct) == (7, 100, 5)


def test_what_makes_no_sense_among_the_details_is_left_out() -> None:
    report = parse_report(
        "d", {"status": "FAILED", "statusDetails": {"pct": 101, "seq": -1, "phase": ["x"], "log_tail": 5}}, 0
    )
    assert report == Report(status=ReportStatus.FAILED)


def test_long_texts_keep_their_end() -> None:
    report = parse_report(
        "d", {"status": "FAILED", "statusDetails": {"log_tail": "a" * 5_000 + "end", "err_msg": "b" * 600}}, 0
    )
    assert len(report.log_tail) == 4_096
    assert report.log_tail.endswith("end")
    assert len(report.err_msg) == 500


def test_what_was_cut_within_a_character_is_a_text_all_the_same() -> None:
    details = {"log_tail": "\udc00 tail", "err_msg": "no \ud83d", "phase": "\ud800"}
    report = parse_report("d", {"status": "FAILED", "statusDetails": details}, 0)
    assert (report.log_tail, report.err_msg, report.phase) == ("? tail", "no ?", "")


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"status": "QUEUED"},
        {"status": 5},
        {"status": "FAILED", "statusDetails": []},
        {"status": "FAILED", "expectedVersion": "soon"},
        {"status": "FAILED", "executionNumber": -2},
        {"status": "FAILED", "stepTimeoutInMinutes": 0},
        {"status": "FAILED", "stepTimeoutInMinutes": 20_000},
    ],
)
def test_what_is_no_report(fields: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as error:
        parse_report("d", fields, 0)
    assert error.value.code == "report_invalid"
    assert error.value.hint


@pytest.mark.parametrize("said", [None, -1])
def test_no_step_timeout(said: object) -> None:
    assert step_timeout_of({"stepTimeoutInMinutes": said}) is None


def test_of_the_way_back() -> None:
    assert Report(status=ReportStatus.IN_PROGRESS, phase="rolling_back").is_of_rollback
    assert Report(status=ReportStatus.SUCCEEDED, phase="rolled_back").is_of_rollback
    # A bootloader's way back is the end of the way there.
    assert not Report(status=ReportStatus.FAILED, phase="rolled_back").is_of_rollback
