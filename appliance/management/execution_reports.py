"""What becomes of an execution when its device reports: order and doubles first, then the way forward, back or out. Pure.

A device that reports a later step has taken the ones before it, and each of them is recorded. Whether a report is new: by attempt and seq, which
make it itself; without a seq by what it says, its boot and 60 s. A seq that begins anew in a new boot is new.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from enum import Enum
from typing import Any, Final

from appliance.core.limits_executions import PROGRESS_NOTE_INTERVAL_MS, REPORT_REPEAT_MS, STEP_MS_MAX
from appliance.core.limits_updates import MINUTE_MS
from appliance.management.execution import Answer, Execution, Moved, Note
from appliance.management.execution_report import NEVER_RETRIED, STATE_OF_PHASE, Report, ReportStatus
from appliance.management.execution_states import REACHABLE_MS
from appliance.management.execution_walk import Walk
from appliance.management.executions import FORWARD, Event, State
from appliance.management.reconcile import Seen, seen

_S, _E = State, Event
_RANK: Final = {
    **{state: rank for rank, state in enumerate(FORWARD)},
    _S.WAIT_WINDOW: FORWARD.index(_S.VERIFIED),
}
_STEP: Final[dict[State, Event]] = {
    _S.QUEUED: _E.TAKEN,
    _S.NOTIFIED: _E.STARTED,
    _S.DOWNLOADING: _E.DOWNLOADED,
    _S.DOWNLOADED: _E.VERIFIED,
    _S.VERIFIED: _E.INSTALLING,
    _S.WAIT_WINDOW: _E.INSTALLING,
    _S.INSTALLING: _E.REBOOTING,
    _S.REBOOTING: _E.BOOTED,
    _S.UNCONFIRMED: _E.BOOTED,
    _S.LOST: _E.BOOTED,
}
"""The next step forward."""
_RESUME: Final = {
    _S.QUEUED: _E.RESUME_QUEUED,
    _S.NOTIFIED: _E.RESUME_NOTIFIED,
    _S.DOWNLOADING: _E.RESUME_DOWNLOADING,
}
_AFTER_THE_SLOT: Final = frozenset({_S.REBOOTING, _S.TESTING, _S.UNCONFIRMED})
_ROLLBACK: Final = frozenset({_S.ROLLBACK_PENDING, _S.ROLLING_BACK})


_COUNTED: Final = re.compile(r"([ir])([0-9]+)/([0-9]+)([!.]?)")
"""The key of a report that counts: there or back, attempt, seq, and how it was refused if it was."""
_MARKS: Final = {Answer.INVALID_STATE_TRANSITION: "!", Answer.TERMINAL_STATE_REACHED: "."}
_REFUSED: Final = {mark: answer for answer, mark in _MARKS.items()}


_PROGRESS: Final = (
    "version",
    "report_key",
    "report_seq",
    "bytes_done",
    "deadline_at_ms",
    "updated_at_ms",
)
"""What a report changes that only says that the device still works on it."""


class _Order(Enum):
    NEW = 1
    SAME = 2
    OLDER = 3


def apply_report(walk: Walk, report: Report) -> Moved:
    """Take a report; the answer is in what comes back."""
    execution = walk.execution
    order = _order(execution, report, walk.now_ms)
    if order is _Order.SAME and report.seq is not None:
        # A step that was refused is refused again: its device may have asked twice because it did not hear that.
        walk.answer = _REFUSED.get(execution.report_key[-1:], Answer.ACCEPTED)
        return walk.moved(is_double=True)
    detail = _detail(report)
    if report.execution_number is not None and report.execution_number != execution.number:
        walk.answer = Answer.RESOURCE_NOT_FOUND
        return walk.moved()
    if report.fence is not None and report.fence < walk.context.terms.fence:
        walk.note(Note.LOWER_FENCE, detail)
        return walk.moved()
    if execution.is_over:
        return _late(walk, report, detail, is_new=order is _Order.NEW)
    if order is _Order.OLDER:
        walk.note(Note.OUT_OF_ORDER, detail)
        return walk.moved()
    if report.expected_version is not None and report.expected_version != execution.version:
        walk.answer = Answer.VERSION_MISMATCH
        return walk.moved()
    if order is _Order.SAME:
        return walk.moved(is_double=True)
    _keep(walk, report)
    if report.running is not None:
        walk.reconcile(report.running)
    is_of_its_boot = STATE_OF_PHASE.get(report.phase) not in (_S.TESTING, _S.ROLLING_BACK)
    if report.boot_id and report.status is ReportStatus.IN_PROGRESS and is_of_its_boot:
        walk.change(boot_id=report.boot_id)
    _BY_STATUS[report.status](walk, report, detail)
    if report.boot_id and not walk.execution.is_over:
        walk.change(boot_id=report.boot_id)
    _keep_answer(walk, report)
    moved = walk.moved()
    return Moved(execution) if _is_mere_progress(execution, moved, walk.now_ms) else moved


def _is_mere_progress(before: Execution, moved: Moved, now_ms: int) -> bool:
    """Nothing but numbers that were noted a moment ago: accepted, and not worth a row."""
    after = moved.execution
    numbers = {name: getattr(before, name) for name in _PROGRESS}
    return (
        now_ms - before.updated_at_ms < PROGRESS_NOTE_INTERVAL_MS
        and not moved.moves
        and moved.answer is Answer.ACCEPTED
        and replace(after, **numbers) == before
    )


def _late(walk: Walk, report: Report, detail: Mapping[str, Any], *, is_new: bool) -> Moved:
    """It had ended: kept, and only what the device runs counts."""
    walk.note(Note.LATE_REPORT, detail)
    if is_new:
        _keep_place(walk, report)
        if report.running is not None:
            walk.reconcile(report.running)
    if not _agrees(walk.execution.state, report):
        walk.answer = Answer.TERMINAL_STATE_REACHED
    if is_new:
        _keep_answer(walk, report)
    return walk.moved()


def _agrees(state: State, report: Report) -> bool:
    """Whether a report says what the execution ended with."""
    match report.status:
        case ReportStatus.SUCCEEDED:
            return state in (_S.ROLLED_BACK,) if report.is_of_rollback else state in (_S.SUCCEEDED, _S.NOOP)
        case ReportStatus.FAILED:
            return state in (_S.FAILED, _S.ROLLED_BACK)
        case ReportStatus.REJECTED:
            return state in (_S.REJECTED, _S.FAILED)
        case _:
            return False


# --- New, the same, or older -------------------------------------------------------------------------------


def _key(report: Report, at_ms: int) -> str:
    if report.seq is not None:
        return f"{'r' if report.is_of_rollback else 'i'}{report.attempt or 0}/{report.seq}"
    return f"{report.status}/{report.phase}/{report.boot_id}@{at_ms}"


def _order(execution: Execution, report: Report, now_ms: int) -> _Order:
    last = execution.report_key
    if report.seq is None:
        said, _, at = last.rpartition("@")
        is_same = bool(said) and said == _key(report, 0).rpartition("@")[0]
        # Progress may be said as often as it is made.
        if is_same and report.status is not ReportStatus.IN_PROGRESS:
            return _Order.SAME if now_ms - int(at) < REPORT_REPEAT_MS else _Order.NEW
        return _Order.NEW
    found = _COUNTED.fullmatch(last)
    if found is None:
        return _Order.NEW
    attempt, seq = int(found[2]), int(found[3])
    if report.is_of_rollback != (found[1] == "r"):
        # The way back begins where the way there has ended, and counts anew.
        return _Order.NEW if report.is_of_rollback else _Order.OLDER
    mine = (attempt if report.attempt is None else report.attempt, report.seq)
    if mine == (attempt, seq):
        return _Order.SAME
    is_new_boot = bool(report.boot_id) and report.boot_id not in (
        "",
        execution.boot_id,
        execution.install_boot_id,
    )
    return _Order.NEW if mine[1] > seq or mine[0] > attempt or is_new_boot else _Order.OLDER


def _keep_place(walk: Walk, report: Report) -> None:
    """Which report was the last one."""
    kept = report if report.attempt is not None else replace(report, attempt=_attempt(walk.execution))
    walk.change(report_key=_key(kept, walk.now_ms), report_seq=report.seq or 0)


def _keep_answer(walk: Walk, report: Report) -> None:
    """How the last report was refused, for when it comes again."""
    mark, key = _MARKS.get(walk.answer), walk.execution.report_key
    if mark is not None and report.seq is not None and _COUNTED.fullmatch(key):
        walk.change(report_key=key + mark)


def _attempt(execution: Execution) -> int:
    found = _COUNTED.fullmatch(execution.report_key)
    return int(found[2]) if found else 0


def _keep(walk: Walk, report: Report) -> None:
    execution = walk.execution
    _keep_place(walk, report)
    changes: dict[str, Any] = {"version": execution.version + 1}
    if report.phase:
        changes["phase"] = report.phase
    if report.bytes_done is not None:
        changes["bytes_done"] = report.bytes_done
    if report.self_test in ("passed", "failed"):
        changes["health"] = {**execution.health, "self_test": report.self_test}
    walk.change(**changes)


def _detail(report: Report) -> dict[str, Any]:
    """What of a report is worth keeping."""
    found = {
        "status": report.status.value,
        "phase": report.phase,
        "pct": report.pct,
        "bytes": report.bytes_done,
        "seq": report.seq,
        "boot_id": report.boot_id,
        "err": report.err,
        "err_msg": report.err_msg,
        "log_tail": report.log_tail if report.status is not ReportStatus.IN_PROGRESS else "",
    }
    return {name: value for name, value in found.items() if value not in (None, "")}


# --- What it says ------------------------------------------------------------------------------------------


def _in_progress(walk: Walk, report: Report, detail: Mapping[str, Any]) -> None:
    state = walk.execution.state
    goal = STATE_OF_PHASE.get(report.phase)
    if goal is _S.ROLLING_BACK:
        if not walk.take(_E.ROLLBACK_TAKEN, detail) and state is not _S.ROLLING_BACK:
            _refuse(walk, detail)
    elif state in _ROLLBACK:
        walk.note(Note.NO_MOVE, detail)
    elif goal is None:
        is_begun = _RANK.get(state, 0) >= _RANK[_S.DOWNLOADING]
        _forward(walk, state if is_begun else _S.DOWNLOADING, report, detail)
    else:
        _forward(walk, goal, report, detail)


def _succeeded(walk: Walk, report: Report, detail: Mapping[str, Any]) -> None:
    """Believed once the device has said that it runs the target; until then it is being tested."""
    state, said = walk.execution.state, report.running or walk.context.firmware
    if state in _ROLLBACK:
        # Only what it runs says that it is back.
        walk.note(Note.NO_MOVE, detail)
        return
    if walk.execution.is_over or state is _S.ROLLED_BACK:
        return
    what = seen(walk.execution, said) if said is not None else Seen.UNKNOWN
    walk.change(health={**walk.execution.health, "self_test": "passed"})
    if what in (Seen.TARGET, Seen.TARGET_UNCONFIRMED):
        if state not in (_S.QUEUED, _S.NOTIFIED):
            _forward(walk, _S.TESTING, report, detail)
        walk.take(_E.RUNS_TARGET, detail)
    elif report.running is not None and what in (Seen.OLD, Seen.THIRD):
        # Installed, and not restarted yet.
        _forward(walk, _S.REBOOTING, report, detail)
    else:
        _forward(walk, _S.TESTING, report, detail)


def _failed(walk: Walk, report: Report, detail: Mapping[str, Any]) -> None:
    if walk.execution.state in _ROLLBACK:
        _rollback_failed(walk, report, detail)
        return
    _resume(walk)
    walk.take(_E.TAKEN)
    state = walk.execution.state
    error = report.err or ("refused" if report.status is ReportStatus.REJECTED else "failed")
    is_final = report.status is ReportStatus.REJECTED or error in NEVER_RETRIED
    if is_final and error not in NEVER_RETRIED:
        error = "refused"
    if state is _S.ROLLED_BACK:
        walk.change(error=error, error_text=report.err_msg)
        return
    if state is _S.FAILED or walk.execution.is_over:
        return
    before = walk.execution
    walk.change(error=error, error_text=report.err_msg)
    if is_final and walk.take(_E.REFUSED, detail):
        return
    is_self_test = error == "self_test" or report.self_test == "failed" or state is _S.UNCONFIRMED
    if is_self_test and walk.take(_E.SELF_TEST_FAILED, detail):
        return
    if not walk.take(_E.STEP_FAILED, detail):
        walk.change(error=before.error, error_text=before.error_text)
        walk.note(Note.NO_MOVE, detail)


def _rollback_failed(walk: Walk, report: Report, detail: Mapping[str, Any]) -> None:
    if not report.is_of_rollback:
        walk.note(Note.NO_MOVE, detail)
        return
    # It says so of an attempt that it had begun.
    walk.take(_E.ROLLBACK_TAKEN, detail)
    walk.change(error_text=report.err_msg or walk.execution.error_text)
    is_last = walk.execution.rollback_attempt_count >= walk.execution.max_rollback_attempts
    walk.take(_E.ROLLBACK_ATTEMPTS_USED_UP if is_last else _E.ROLLBACK_STEP_FAILED, detail)


_BY_STATUS: Final = {
    ReportStatus.IN_PROGRESS: _in_progress,
    ReportStatus.SUCCEEDED: _succeeded,
    ReportStatus.FAILED: _failed,
    ReportStatus.REJECTED: _failed,
}


# --- The way forward ---------------------------------------------------------------------------------------


def _forward(walk: Walk, goal: State, report: Report, detail: Mapping[str, Any]) -> None:
    """Take the steps up to a state; progress within one keeps its time running."""
    if walk.execution.state is _S.PAUSED:
        if _RANK[goal] <= _RANK[_S.DOWNLOADING]:
            return
        # It has it all: what goes on in the device can't be paused.
        _resume(walk)
    if walk.execution.state is _S.FAILED and walk.execution.deadline_at_ms is not None:
        walk.take(_E.RETRY_DUE, detail)
    state = walk.execution.state
    if goal is _S.WAIT_WINDOW:
        _steps(walk, _S.VERIFIED, detail)
        walk.take(_E.WAITING, detail)
        return
    if goal is _S.INSTALLING and state in _AFTER_THE_SLOT:
        _again(walk, report, detail)
        return
    if goal is _S.TESTING and state in (*_AFTER_THE_SLOT, _S.LOST) and _is_old_boot(walk, report):
        walk.note(Note.NO_MOVE, detail)
        return
    is_asking = goal is _S.INSTALLING and state is not _S.INSTALLING
    if is_asking and not walk.context.terms.may_install:
        _steps(walk, _S.VERIFIED, detail)
        walk.take(_E.WAITING, detail)
        walk.answer = Answer.INVALID_STATE_TRANSITION
        return
    _steps(walk, goal, detail)
    _progress(walk, report)


def _steps(walk: Walk, goal: State, detail: Mapping[str, Any]) -> None:
    """One step after the other, as far as the goal or as the table allows."""
    while True:
        state = walk.execution.state
        rank = _RANK[_S.REBOOTING] if state in (_S.UNCONFIRMED, _S.LOST) else _RANK.get(state)
        if rank is None or rank >= _RANK[goal] or not walk.take(_STEP[state], detail):
            return


def _progress(walk: Walk, report: Report) -> None:
    """Who works has the time of its state again."""
    execution = walk.execution
    if execution.state is _S.DOWNLOADING:
        own_ms = REACHABLE_MS[_S.DOWNLOADING]
        if report.step_timeout_minutes is not None:
            own_ms = report.step_timeout_minutes * MINUTE_MS
        walk.change(deadline_at_ms=walk.now_ms + own_ms)
    elif execution.state in (_S.DOWNLOADED, _S.VERIFIED) and report.phase == "downloading":
        # Its power was cut, and not all of it had reached the flash.
        walk.change(deadline_at_ms=walk.now_ms + STEP_MS_MAX)


def _again(walk: Walk, report: Report, detail: Mapping[str, Any]) -> None:
    """It installs what it has installed already."""
    execution = walk.execution
    in_one_boot = report.boot_id == execution.install_boot_id if report.boot_id else report.seq is not None
    if in_one_boot and report.phase == "installing":
        walk.take(_E.GOES_IN_CIRCLES, {**detail, "why": "installed twice without a boot in between"})
    else:
        walk.note(Note.NO_MOVE, detail)


def _is_old_boot(walk: Walk, report: Report) -> bool:
    return bool(report.boot_id) and report.boot_id == walk.execution.install_boot_id


def _resume(walk: Walk) -> None:
    if walk.execution.state is _S.PAUSED:
        walk.take(_RESUME[State(walk.execution.before_pause)], {"because": "its device went on"})


def _refuse(walk: Walk, detail: Mapping[str, Any]) -> None:
    walk.note(Note.NO_MOVE, detail)
    walk.answer = Answer.INVALID_STATE_TRANSITION
