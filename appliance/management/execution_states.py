"""What an execution is like as it enters a state: deadlines, counts, what is to be told. Pure.

`entered` gives the execution in its new state; whether a move may happen at all is TRANSITIONS', and when it is due
execution_machine.py's.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from appliance.core.limits_executions import (
    DOWNLOAD_MS_MAX,
    DOWNLOAD_STALL_MS_MAX,
    LOST_ESCALATION_MS,
    NOTIFIED_MS_MAX,
    NOTIFY_AGAIN_MS,
    REGRESSED_ESCALATION_MS,
    RETRY_BACKOFF_MS,
    RETRY_JITTER_RATIO,
    ROLLBACK_BACKOFF_MS,
    ROLLBACK_FAILED_ESCALATION_MS,
    ROLLBACK_MS_MAX,
    ROLLBACK_STUCK_MS,
    ROLLED_BACK_SETTLE_MS,
    SILENT_MS_MAX,
    STEP_MS_MAX,
    SUCCESS_WATCH_MS,
    WINDOW_GRACE_MS,
)
from appliance.management.execution import Context, Execution
from appliance.management.execution_report import NEVER_RETRIED
from appliance.management.executions import ENDED, NEEDS_A_HAND, TRANSITIONS, Event, State

_S, _E = State, Event
REACHABLE_MS: Final[dict[State, int]] = {
    _S.NOTIFIED: NOTIFIED_MS_MAX,
    _S.DOWNLOADING: DOWNLOAD_STALL_MS_MAX,
    _S.ROLLING_BACK: ROLLBACK_MS_MAX,
}
"""States whose time runs only while the device can be reached, and begins anew when it comes back."""
REASONS: Final[dict[Event, str]] = {
    _E.SILENT_FOR_A_DAY: "It has been silent for a day since it restarted.",
    _E.RUNS_OTHER: "It runs a version that is neither the old one nor the new one.",
    _E.GOES_IN_CIRCLES: "It went in circles.",
    _E.RUNS_OLD: "It went back to its old version after it had succeeded.",
    _E.ROLLBACK_ATTEMPTS_USED_UP: "All attempts to go back to the old version failed.",
}
"""Why a person is needed, for the work queue."""
ERRORS: Final[dict[Event, str]] = {
    _E.STALLED: "stalled",
    _E.STEP_OVERDUE: "step_overdue",
    _E.REBOOT_OVERDUE: "silent_after_reboot",
    _E.HEALTH_FAILED: "health",
    _E.RUNS_OTHER: "third_version",
    _E.GOES_IN_CIRCLES: "circles",
    _E.DEADLINE: "deadline",
}
"""Codes of what the box itself found wrong."""


def next_ms(execution: Execution) -> int | None:
    """When time has something to say about it next, UTC ms; None for never."""
    may_end = (execution.state, _E.DEADLINE) in TRANSITIONS
    times = (
        execution.deadline_at_ms,
        execution.end_by_at_ms if may_end else None,
        execution.watch_until_at_ms,
    )
    return min((each for each in times if each is not None), default=None)


def is_retried(execution: Execution) -> bool:
    """Whether a failed execution is tried again by itself."""
    return execution.attempt < execution.max_attempts and execution.error not in NEVER_RETRIED


def entered(execution: Execution, to: State, event: Event, now_ms: int, context: Context) -> Execution:
    """The execution in its new state."""
    before = execution.state
    changes: dict[str, Any] = {
        "state": to,
        "state_since_ms": now_ms,
        "updated_at_ms": now_ms,
        "version": execution.version + 1,
        "transition_count": execution.transition_count + 1,
        "ended_at_ms": now_ms if to in ENDED else None,
        "deadline_at_ms": _deadline_ms(execution, to, now_ms, context),
        "push_due_at_ms": None,
        "watch_until_at_ms": None,
    }
    if event in ERRORS:
        changes["error"] = ERRORS[event]
    if before is _S.QUEUED and to is _S.NOTIFIED and execution.started_at_ms is None:
        changes["started_at_ms"] = now_ms
    if to in NEEDS_A_HAND:
        changes["needs_manual_intervention"] = True
        changes["manual_reason"] = REASONS.get(event, execution.manual_reason)
    elif to in ENDED or event in (_E.RETRY, _E.RETRY_ROLLBACK) or before in NEEDS_A_HAND:
        changes["needs_manual_intervention"], changes["manual_reason"] = False, ""
    changes.update(_own(execution, to, event, now_ms, context))
    return replace(execution, **changes)


def _deadline_ms(execution: Execution, to: State, now_ms: int, context: Context) -> int | None:
    terms = context.terms
    if to in REACHABLE_MS:
        # Who goes away in the middle of going back is looked after all the same: after a day a person is told.
        is_timed = context.is_reachable or to is _S.ROLLING_BACK
        return now_ms + REACHABLE_MS[to] if is_timed else None
    after_ms = {
        _S.DOWNLOADED: STEP_MS_MAX,
        _S.VERIFIED: STEP_MS_MAX,
        _S.INSTALLING: STEP_MS_MAX,
        _S.REBOOTING: terms.reboot_ms,
        _S.TESTING: terms.confirm_ms,
        _S.UNCONFIRMED: SILENT_MS_MAX,
        _S.LOST: LOST_ESCALATION_MS,
        _S.ROLLBACK_PENDING: ROLLBACK_STUCK_MS,
        _S.ROLLBACK_FAILED: ROLLBACK_FAILED_ESCALATION_MS,
        _S.REGRESSED: REGRESSED_ESCALATION_MS,
    }.get(to)
    if to is _S.WAIT_WINDOW:
        return (now_ms if terms.window_ends_at_ms is None else terms.window_ends_at_ms) + WINDOW_GRACE_MS
    return None if after_ms is None else now_ms + after_ms


def _own(execution: Execution, to: State, event: Event, now_ms: int, context: Context) -> dict[str, Any]:
    """What is only of one state or one event."""
    match to:
        case _S.QUEUED:
            return _queued(execution, event, now_ms, context)
        case _S.NOTIFIED:
            changes: dict[str, Any] = {"notify_count": 1, "before_pause": ""}
            if event is _E.RESUME_NOTIFIED:
                changes["push_due_at_ms"] = now_ms
            return changes
        case _S.DOWNLOADING:
            return _downloading(execution, event, now_ms, context)
        case _S.PAUSED:
            return {"before_pause": execution.state.value}
        case _S.INSTALLING:
            known = context.firmware.boot_id if context.firmware else ""
            return {"slot_touched": True, "install_boot_id": execution.boot_id or known}
        case _S.SUCCEEDED:
            return {
                "watch_until_at_ms": now_ms + SUCCESS_WATCH_MS,
                "error": "",
                "error_text": "",
                "end_by_at_ms": None,
            }
        case _S.FAILED:
            return _failed(execution, event, now_ms, context)
        case _S.ROLLBACK_PENDING:
            return _rollback_pending(execution, event, now_ms)
        case _S.ROLLING_BACK:
            return {"rollback_attempt_count": execution.rollback_attempt_count + 1}
        case _S.ROLLED_BACK if event is _E.RUNS_OLD:
            # Not over yet: it has to run steadily.
            error = execution.error or "boot_fallback"
            return {"ended_at_ms": None, "deadline_at_ms": now_ms + ROLLED_BACK_SETTLE_MS, "error": error}
        case _:
            return {}


def _queued(execution: Execution, event: Event, now_ms: int, context: Context) -> dict[str, Any]:
    deadline_ms = context.terms.deadline_at_ms
    changes: dict[str, Any] = {
        "notify_count": 0,
        "before_pause": "",
        "end_by_at_ms": deadline_ms,
        "push_due_at_ms": now_ms if execution.is_admitted else None,
    }
    if event is _E.NOT_TAKEN:
        changes["push_due_at_ms"] = now_ms + NOTIFY_AGAIN_MS
    if event is _E.RETRY:
        if deadline_ms is not None and deadline_ms <= now_ms:
            deadline_ms = now_ms + DOWNLOAD_MS_MAX
        changes |= {
            "is_admitted": True,
            "push_due_at_ms": now_ms,
            "end_by_at_ms": deadline_ms,
            "attempt": 1,
            "rollback_attempt_count": 0,
            "transition_count": 0,
            "slot_touched": False,
            "error": "",
            "error_text": "",
            "phase": "",
            "report_key": "",
            "report_seq": 0,
            "install_boot_id": "",
            "bytes_done": 0,
            # What it runs now is what it goes back to.
            "from_version": context.firmware.version if context.firmware else "",
            "from_digest": context.firmware.digest if context.firmware else "",
        }
    return changes


def _downloading(execution: Execution, event: Event, now_ms: int, context: Context) -> dict[str, Any]:
    ends = (context.terms.deadline_at_ms, now_ms + DOWNLOAD_MS_MAX)
    changes: dict[str, Any] = {
        "end_by_at_ms": min(each for each in ends if each is not None),
        "before_pause": "",
    }
    if event in (_E.RETRY_DUE, _E.RESUME_DOWNLOADING, _E.RUNS_OLD):
        changes["push_due_at_ms"] = now_ms
    if event is _E.RETRY_DUE:
        changes |= {
            "attempt": execution.attempt + 1,
            "transition_count": 0,
            "error": "",
            "error_text": "",
        }
    return changes


def _failed(execution: Execution, event: Event, now_ms: int, context: Context) -> dict[str, Any]:
    """FAILED is an end where no further attempt is due and nothing has to be put in order."""
    failed = replace(execution, error=ERRORS.get(event, execution.error))
    if is_retried(failed):
        steps = RETRY_BACKOFF_MS
        backoff_ms = steps[min(execution.attempt, len(steps)) - 1]
        jitter_ms = round(backoff_ms * RETRY_JITTER_RATIO * context.random)
        return {"deadline_at_ms": now_ms + backoff_ms + jitter_ms}
    return {"ended_at_ms": None if execution.slot_touched else now_ms}


def _rollback_pending(execution: Execution, event: Event, now_ms: int) -> dict[str, Any]:
    if event in (_E.ROLLBACK_OVERDUE, _E.ROLLBACK_STEP_FAILED):
        backoff_ms = ROLLBACK_BACKOFF_MS * 2**execution.rollback_attempt_count
        return {"push_due_at_ms": now_ms + backoff_ms}
    changes: dict[str, Any] = {"push_due_at_ms": now_ms}
    if event is _E.RETRY_ROLLBACK:
        # Its attempts are counted anew, and so are its reports.
        changes |= {"rollback_attempt_count": 0, "transition_count": 0, "report_key": "", "report_seq": 0}
    return changes
