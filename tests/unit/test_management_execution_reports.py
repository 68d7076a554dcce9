"""What becomes of an execution when its device reports."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.management.execution import Answer
from appliance.management.execution_report import NEVER_RETRIED, Report, ReportStatus
from appliance.management.executions import FORWARD, State
from tests.execution_kit import (
    MINUTE_MS,
    NEW_DIGEST,
    NOW_MS,
    OLD_DIGEST,
    a_context,
    a_report,
    an_execution,
    firmware,
    reported,
    way,
)

S, R = State, ReportStatus
PHASES = ("downloading", "downloaded", "verified", "installing", "rebooting", "testing")
EVENTS = ("taken", "started", "downloaded", "verified", "installing", "rebooting", "booted")
LATER = {S.DOWNLOADING, S.DOWNLOADED, S.VERIFIED, S.INSTALLING}


@pytest.mark.parametrize(("index", "phase"), list(enumerate(PHASES)))
def test_a_later_step_takes_the_ones_before_it_and_each_is_recorded(index: int, phase: str) -> None:
    moved = reported(an_execution(), a_report(phase, boot_id="A"))
    assert way(moved) == list(EVENTS[: index + 2])
    assert moved.execution.state is FORWARD[index + 2]
    assert moved.answer is Answer.ACCEPTED


def test_an_earlier_step_moves_nothing() -> None:
    moved = reported(an_execution(S.VERIFIED), a_report("downloading", bytes_done=100))
    assert moved.moves == ()
    assert moved.execution.state is S.VERIFIED
    # The download goes on after a power cut: it has its time again.
    assert moved.execution.deadline_at_ms == NOW_MS + 30 * MINUTE_MS


def test_progress_gives_a_download_its_time_again() -> None:
    moved = reported(
        an_execution(S.DOWNLOADING, deadline_at_ms=NOW_MS + 1), a_report("downloading", bytes_done=7)
    )
    assert moved.execution.deadline_at_ms == NOW_MS + 10 * MINUTE_MS
    assert moved.execution.bytes_done == 7


def test_a_device_may_ask_for_more_time() -> None:
    moved = reported(an_execution(S.DOWNLOADING), a_report("downloading", step_timeout_minutes=60))
    assert moved.execution.deadline_at_ms == NOW_MS + 60 * MINUTE_MS


@pytest.mark.parametrize("state", [S.QUEUED, S.NOTIFIED, S.DOWNLOADING])
def test_a_device_without_phases_is_downloading(state: State) -> None:
    assert reported(an_execution(state), a_report()).execution.state is S.DOWNLOADING


def test_a_phase_that_nobody_knows_is_progress() -> None:
    moved = reported(an_execution(S.INSTALLING), a_report("brewing"))
    assert moved.execution.state is S.INSTALLING
    assert moved.execution.phase == "brewing"


# --- Doubles and order


def test_the_same_report_twice_changes_nothing() -> None:
    first = reported(an_execution(), a_report("downloading", attempt=1, seq=1))
    again = reported(first.execution, a_report("downloading", attempt=1, seq=1))
    assert again.execution == first.execution
    assert again.is_double
    assert again.answer is Answer.ACCEPTED


def test_the_same_report_twice_is_accepted_whatever_version_it_expects() -> None:
    execution = an_execution(version=4)
    report = a_report("downloading", attempt=1, seq=1, expected_version=4)
    first = reported(execution, report)
    assert first.execution.version > 4
    assert reported(first.execution, report).answer is Answer.ACCEPTED


def test_out_of_order_is_accepted_ignored_and_noted() -> None:
    first = reported(an_execution(), a_report("downloaded", seq=2))
    moved = reported(first.execution, a_report("downloading", seq=1))
    assert way(moved) == ["out_of_order"]
    assert moved.answer is Answer.ACCEPTED
    assert moved.execution.state is S.DOWNLOADED


def test_another_attempt_counts_anew() -> None:
    first = reported(an_execution(), a_report("downloaded", attempt=1, seq=9))
    assert way(reported(first.execution, a_report("verified", attempt=2, seq=1))) == ["verified"]


def test_a_number_that_begins_anew_in_another_boot_is_new() -> None:
    first = reported(an_execution(S.REBOOTING, report_key="i1/9"), a_report("testing", seq=1, boot_id="B"))
    assert way(first) == ["booted"]
    # From the boot before it is still what comes late.
    assert way(reported(first.execution, a_report("installing", seq=1, boot_id="A", attempt=0))) == [
        "out_of_order"
    ]


def test_the_way_back_counts_anew() -> None:
    pending = an_execution(S.ROLLBACK_PENDING, report_key="i3/9")
    first = reported(pending, a_report("rolling_back", attempt=1, seq=1))
    assert way(first) == ["rollback_taken"]
    late = reported(first.execution, a_report("testing", attempt=3, seq=10))
    assert way(late) == ["out_of_order"]


def test_without_numbers_the_same_within_a_minute_is_the_same() -> None:
    failed = a_report("downloading", R.FAILED, err="flash")
    first = reported(an_execution(S.DOWNLOADING), failed)
    assert first.execution.state is S.FAILED
    again = reported(first.execution, failed)
    assert again.is_double
    assert again.moves == ()


def test_without_numbers_progress_is_always_new() -> None:
    first = reported(an_execution(), a_report("downloading", bytes_done=1))
    later = replace(first.execution, updated_at_ms=NOW_MS - 10_000)
    again = reported(later, a_report("downloading", bytes_done=2))
    assert not again.is_double
    assert again.execution.bytes_done == 2


def test_progress_that_was_noted_a_moment_ago_is_accepted_and_no_row() -> None:
    first = reported(an_execution(), a_report("downloading", seq=1, bytes_done=1)).execution
    again = reported(first, a_report("downloading", seq=2, bytes_done=2))
    assert again.answer is Answer.ACCEPTED
    assert again.execution == first
    # What says more than that it goes on is kept at once.
    assert reported(first, a_report("downloaded", seq=2)).execution.state is S.DOWNLOADED
    assert reported(first, a_report("brewing", seq=2)).execution.phase == "brewing"
    tested = reported(first, a_report("downloading", seq=2, self_test="passed"))
    assert tested.execution.health["self_test"] == "passed"


def test_without_numbers_a_minute_later_it_is_another() -> None:
    said = f"FAILED/downloading/A@{NOW_MS - MINUTE_MS}"
    moved = reported(
        an_execution(S.DOWNLOADING, report_key=said), a_report("downloading", R.FAILED, err="flash")
    )
    assert way(moved) == ["step_failed"]


def test_numbers_after_none_are_new() -> None:
    said = f"IN_PROGRESS/downloading/A@{NOW_MS}"
    moved = reported(an_execution(S.DOWNLOADING, report_key=said), a_report("downloaded", seq=1))
    assert way(moved) == ["downloaded"]


# --- Versions, fences, ends


def test_a_stale_version_is_refused_with_where_it_is() -> None:
    moved = reported(
        an_execution(S.DOWNLOADING, version=7), a_report("downloaded", seq=1, expected_version=6)
    )
    assert moved.answer is Answer.VERSION_MISMATCH
    assert moved.execution == an_execution(S.DOWNLOADING, version=7)


def test_a_stale_version_of_a_report_without_numbers_is_refused_too() -> None:
    moved = reported(an_execution(S.DOWNLOADING, version=7), a_report("downloaded", expected_version=6))
    assert moved.answer is Answer.VERSION_MISMATCH


def test_another_execution_of_the_job_is_none() -> None:
    assert reported(an_execution(), a_report(execution_number=2)).answer is Answer.RESOURCE_NOT_FOUND
    assert reported(an_execution(), a_report(execution_number=1)).answer is Answer.ACCEPTED


def test_a_lower_fence_moves_nothing() -> None:
    moved = reported(an_execution(), a_report("installing", fence=2), context=a_context(fence=3))
    assert way(moved) == ["lower_fence"]
    assert moved.execution.state is S.QUEUED
    assert reported(an_execution(), a_report("downloading", fence=3), context=a_context(fence=3)).moves != ()


def test_a_late_report_is_kept_and_refused() -> None:
    over = an_execution(S.CANCELED, ended_at_ms=NOW_MS)
    moved = reported(over, a_report("installing", seq=3))
    assert way(moved) == ["late_report"]
    assert moved.answer is Answer.TERMINAL_STATE_REACHED


def test_a_late_report_feeds_what_the_device_runs() -> None:
    over = an_execution(
        S.SUCCEEDED, ended_at_ms=NOW_MS, boot_id="B", install_boot_id="A", watch_until_at_ms=NOW_MS + 1
    )
    moved = reported(
        over, a_report("downloading", seq=3, running=firmware(OLD_DIGEST, boot="C"), boot_id="C")
    )
    assert way(moved) == ["late_report", "runs_old"]
    assert moved.execution.state is S.REGRESSED


def test_an_older_late_report_feeds_nothing() -> None:
    over = an_execution(
        S.SUCCEEDED,
        ended_at_ms=NOW_MS,
        boot_id="B",
        install_boot_id="A",
        report_key="i1/9",
        watch_until_at_ms=NOW_MS + 1,
    )
    moved = reported(over, a_report("rebooting", seq=5, attempt=1, running=firmware(OLD_DIGEST, boot="A")))
    assert way(moved) == ["late_report"]
    assert moved.execution.state is S.SUCCEEDED


@pytest.mark.parametrize(
    ("state", "status", "phase", "answer"),
    [
        (S.SUCCEEDED, R.SUCCEEDED, "confirmed", Answer.ACCEPTED),
        (S.NOOP, R.SUCCEEDED, "noop", Answer.ACCEPTED),
        (S.ROLLED_BACK, R.SUCCEEDED, "rolled_back", Answer.ACCEPTED),
        (S.ROLLED_BACK, R.SUCCEEDED, "confirmed", Answer.TERMINAL_STATE_REACHED),
        (S.ROLLED_BACK, R.FAILED, "rolled_back", Answer.ACCEPTED),
        (S.REJECTED, R.REJECTED, "refused", Answer.ACCEPTED),
        (S.CANCELED, R.FAILED, "", Answer.TERMINAL_STATE_REACHED),
    ],
)
def test_who_says_what_it_ended_with_is_heard(
    state: State, status: ReportStatus, phase: str, answer: Answer
) -> None:
    assert reported(an_execution(state, ended_at_ms=NOW_MS), a_report(phase, status)).answer is answer


# --- Windows


def test_a_closed_window_keeps_a_device_waiting() -> None:
    closed = a_context(may_install=False, window_ends_at_ms=NOW_MS + MINUTE_MS)
    moved = reported(an_execution(S.DOWNLOADED), a_report("installing"), context=closed)
    assert way(moved) == ["verified", "waiting"]
    assert moved.answer is Answer.INVALID_STATE_TRANSITION
    again = reported(moved.execution, a_report("installing", seq=2), context=closed)
    assert again.moves == ()
    assert again.answer is Answer.INVALID_STATE_TRANSITION
    opened = reported(again.execution, a_report("installing", seq=3))
    assert way(opened) == ["installing"]
    assert opened.execution.slot_touched


def test_a_step_that_was_refused_is_refused_again_when_it_is_asked_for_again() -> None:
    """The answer got lost: the same report must not be let through as one that was accepted."""
    closed = a_context(may_install=False)
    first = reported(an_execution(S.VERIFIED), a_report("installing", seq=2, attempt=1), context=closed)
    second = reported(first.execution, a_report("installing", seq=2, attempt=1))
    assert (first.answer, second.answer) == (Answer.INVALID_STATE_TRANSITION,) * 2
    assert second.is_double
    assert second.execution == first.execution
    asked_anew = reported(second.execution, a_report("installing", seq=3, attempt=1))
    assert (asked_anew.answer, asked_anew.execution.state) == (Answer.ACCEPTED, S.INSTALLING)


def test_a_late_report_that_came_too_late_is_so_twice() -> None:
    ended = an_execution(S.CANCELED, ended_at_ms=NOW_MS)
    first = reported(ended, a_report("downloading", seq=2, attempt=1))
    second = reported(first.execution, a_report("downloading", seq=2, attempt=1))
    assert (first.answer, second.answer) == (Answer.TERMINAL_STATE_REACHED,) * 2


def test_a_device_may_wait_by_itself() -> None:
    moved = reported(an_execution(S.DOWNLOADING), a_report("wait_window"))
    assert way(moved) == ["downloaded", "verified", "waiting"]


def test_a_fact_is_no_question() -> None:
    closed = a_context(may_install=False)
    assert (
        reported(an_execution(S.VERIFIED), a_report("rebooting"), context=closed).execution.state
        is S.REBOOTING
    )


# --- Success


def test_success_is_believed_with_a_version() -> None:
    running = firmware(NEW_DIGEST, boot="B", is_confirmed=None)
    moved = reported(
        an_execution(S.TESTING), a_report("confirmed", R.SUCCEEDED, running=running, boot_id="B")
    )
    assert moved.execution.state is S.SUCCEEDED
    known = a_context(firmware=firmware(NEW_DIGEST, boot="B"))
    assert (
        reported(an_execution(S.REBOOTING), a_report("", R.SUCCEEDED), context=known).execution.state
        is S.SUCCEEDED
    )


def test_success_without_a_version_is_tested() -> None:
    moved = reported(an_execution(S.DOWNLOADING), a_report("", R.SUCCEEDED, boot_id=""))
    assert moved.execution.state is S.TESTING
    assert moved.execution.health["self_test"] == "passed"


def test_success_while_the_old_version_runs_is_an_installation() -> None:
    moved = reported(
        an_execution(S.INSTALLING), a_report("", R.SUCCEEDED, running=firmware(OLD_DIGEST, boot="A"))
    )
    assert moved.execution.state is S.REBOOTING


def test_who_runs_it_already_has_nothing_to_do() -> None:
    known = a_context(firmware=firmware(NEW_DIGEST))
    assert reported(an_execution(), a_report("noop", R.SUCCEEDED), context=known).execution.state is S.NOOP


def test_success_of_the_way_back_needs_the_old_version() -> None:
    back = an_execution(S.ROLLING_BACK, boot_id="B", install_boot_id="A")
    said = reported(back, a_report("rolled_back", R.SUCCEEDED, boot_id="C"))
    assert way(said) == ["no_move"]
    seen = reported(
        back, a_report("rolled_back", R.SUCCEEDED, boot_id="C", running=firmware(OLD_DIGEST, boot="C"))
    )
    assert seen.execution.state is S.ROLLED_BACK


# --- Failure


@pytest.mark.parametrize("state", [S.NOTIFIED, *sorted(LATER)])
def test_a_failure_is_tried_again(state: State) -> None:
    moved = reported(an_execution(state), a_report("", R.FAILED, err="flash_write", err_msg="bad block"))
    assert moved.execution.state is S.FAILED
    assert (moved.execution.error, moved.execution.error_text) == ("flash_write", "bad block")
    assert moved.execution.deadline_at_ms == NOW_MS + MINUTE_MS + 6_000
    assert not moved.execution.is_over


@pytest.mark.parametrize("err", sorted(NEVER_RETRIED - {"refused"}))
def test_what_is_the_same_next_time_is_never_tried_again(err: str) -> None:
    moved = reported(an_execution(S.VERIFIED), a_report("refused", R.REJECTED, err=err))
    assert moved.execution.state is S.REJECTED
    assert moved.execution.error == err


def test_a_refusal_without_a_known_reason_is_one() -> None:
    moved = reported(an_execution(), a_report("", R.REJECTED, err="no idea"))
    assert moved.execution.state is S.REJECTED
    assert moved.execution.error == "refused"
    assert (
        reported(an_execution(S.VERIFIED), a_report("", R.FAILED, err="epoch")).execution.state is S.REJECTED
    )


def test_after_the_slot_was_written_a_refusal_is_put_in_order() -> None:
    moved = reported(an_execution(S.INSTALLING), a_report("", R.REJECTED, err="bad_signature"))
    assert way(moved) == ["step_failed", "slot_touched"]
    assert moved.execution.state is S.ROLLBACK_PENDING


@pytest.mark.parametrize("state", [S.TESTING, S.REBOOTING, S.UNCONFIRMED])
def test_a_failed_self_test_goes_back(state: State) -> None:
    moved = reported(
        an_execution(state, boot_id="B"), a_report("testing", R.FAILED, err="self_test", boot_id="B")
    )
    assert way(moved) == ["self_test_failed"]
    assert moved.execution.state is S.ROLLBACK_PENDING
    assert moved.execution.push_due_at_ms == NOW_MS


def test_a_step_that_fails_after_the_boot_goes_back() -> None:
    moved = reported(an_execution(S.TESTING), a_report("testing", R.FAILED, err="modem"))
    assert way(moved) == ["step_failed"]
    assert moved.execution.state is S.ROLLBACK_PENDING


def test_a_bootloader_that_fell_back_is_seen_by_what_runs() -> None:
    report = a_report(
        "rolled_back", R.FAILED, err="boot_failed", boot_id="C", running=firmware(OLD_DIGEST, boot="C")
    )
    moved = reported(an_execution(S.REBOOTING), report)
    assert way(moved) == ["runs_old"]
    assert moved.execution.state is S.ROLLED_BACK
    assert moved.execution.error == "boot_failed"


def test_who_failed_already_fails_no_more() -> None:
    failed = an_execution(S.FAILED, deadline_at_ms=NOW_MS + 1)
    assert reported(failed, a_report("", R.FAILED, seq=2)).moves == ()


def test_who_is_lost_is_found_by_what_runs_only() -> None:
    moved = reported(an_execution(S.LOST), a_report("", R.FAILED, err="x"))
    assert way(moved) == ["no_move"]
    assert moved.execution.error == ""


# --- The way back


def test_an_attempt_counts_once_its_device_has_begun_it() -> None:
    moved = reported(an_execution(S.ROLLBACK_PENDING), a_report("rolling_back", seq=1))
    assert moved.execution.rollback_attempt_count == 1
    again = reported(moved.execution, a_report("rolling_back", seq=2))
    assert again.moves == ()
    assert again.execution.rollback_attempt_count == 1


def test_an_attempt_that_fails_is_made_again_later_until_there_are_none() -> None:
    first = reported(
        an_execution(S.ROLLBACK_PENDING), a_report("rolling_back", R.FAILED, seq=1, err="no_such_image")
    )
    assert way(first) == ["rollback_taken", "rollback_step_failed"]
    assert first.execution.push_due_at_ms == NOW_MS + 10 * MINUTE_MS
    last = an_execution(S.ROLLBACK_PENDING, rollback_attempt_count=2)
    moved = reported(
        last, a_report("rolling_back", R.FAILED, seq=1, err="no_such_image", err_msg="empty slot")
    )
    assert moved.execution.state is S.ROLLBACK_FAILED
    assert moved.execution.needs_manual_intervention
    assert moved.execution.error_text == "empty slot"


def test_reports_of_the_way_there_move_nothing_on_the_way_back() -> None:
    pending = an_execution(S.ROLLBACK_PENDING)
    assert way(reported(pending, a_report("testing"))) == ["no_move"]
    assert way(reported(pending, a_report("testing", R.FAILED, err="self_test"))) == ["no_move"]


def test_nobody_goes_back_unasked() -> None:
    moved = reported(an_execution(S.TESTING), a_report("rolling_back"))
    assert way(moved) == ["no_move"]
    assert moved.answer is Answer.INVALID_STATE_TRANSITION


# --- Paused, failed, twice


def test_a_pause_holds_the_download_and_nothing_that_comes_after_it() -> None:
    paused = an_execution(S.PAUSED)
    assert reported(paused, a_report("downloading", bytes_done=5)).execution.state is S.PAUSED
    moved = reported(paused, a_report("installing"))
    assert way(moved) == ["resume_downloading", "downloaded", "verified", "installing"]
    failed = reported(an_execution(S.PAUSED, before_pause="notified"), a_report("", R.FAILED, err="x"))
    assert way(failed) == ["resume_notified", "step_failed"]


def test_a_device_that_tries_again_by_itself() -> None:
    failed = an_execution(S.FAILED, deadline_at_ms=NOW_MS + MINUTE_MS, report_key="i1/3")
    moved = reported(failed, a_report("downloading", attempt=1, seq=4))
    assert way(moved) == ["retry_due"]
    assert moved.execution.attempt == 2


def test_installed_twice_without_a_boot_in_between_needs_a_person() -> None:
    moved = reported(an_execution(S.REBOOTING), a_report("installing", boot_id="A", seq=9))
    assert way(moved) == ["goes_in_circles"]
    assert moved.execution.state is S.MANUAL
    assert "twice" in str(moved.moves[0].detail["why"])


def test_installing_again_in_another_boot_moves_nothing() -> None:
    assert way(reported(an_execution(S.TESTING), a_report("installing", boot_id="C"))) == ["no_move"]
    assert way(reported(an_execution(S.REBOOTING), a_report("installing", boot_id=""))) == ["no_move"]
    assert way(reported(an_execution(S.REBOOTING), a_report("installed", boot_id="A", seq=3))) == ["no_move"]


def test_testing_in_the_boot_that_installed_is_no_boot() -> None:
    assert way(reported(an_execution(S.REBOOTING), a_report("testing", boot_id="A"))) == ["no_move"]
    assert way(reported(an_execution(S.UNCONFIRMED), a_report("testing", boot_id="B"))) == ["booted"]


def test_a_person_s_case_is_not_moved_by_reports() -> None:
    moved = reported(an_execution(S.MANUAL), a_report("downloading"))
    assert moved.moves == ()
    assert moved.execution.state is S.MANUAL


def test_a_phase_in_a_new_boot_resumes_what_its_installation_was() -> None:
    """Power was cut while it wrote: it downloads again, and its report says in which boot and what runs."""
    report = a_report("downloading", boot_id="B", seq=5, running=firmware(OLD_DIGEST, boot="B"))
    moved = reported(an_execution(S.INSTALLING), report)
    assert way(moved) == ["runs_old"]
    assert moved.execution.state is S.DOWNLOADING
    assert moved.execution.boot_id == "B"


def test_what_its_self_test_said_is_kept() -> None:
    moved = reported(an_execution(S.TESTING), a_report("testing", boot_id="B", self_test="passed"))
    assert moved.execution.health["self_test"] == "passed"
    assert reported(an_execution(S.TESTING), a_report(self_test="so so")).execution.health == {}


def test_every_report_that_is_new_grows_the_version() -> None:
    execution = an_execution(S.DOWNLOADING)
    moved = reported(execution, Report(status=R.IN_PROGRESS, phase="downloading", seq=1))
    assert moved.execution.version == execution.version + 1
