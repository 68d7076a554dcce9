"""One execution: one device in one rollout. Its states, what moves it from one to the next, and who may. Pure.

TRANSITIONS is closed: what is not in it does not happen, whatever a device, a clock or a person says. The drawing in docs/UPDATES.md
is made from it by `as_mermaid`. Whether a move is due (deadlines, attempts, boots) is decided in execution_machine.py.

Must not know: time, tables, topics.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class State(StrEnum):
    """Where an execution is; docs/UPDATES.md says when each is entered and what happens if nothing does."""

    QUEUED = "queued"
    NOTIFIED = "notified"
    DOWNLOADING = "downloading"
    DOWNLOADED = "downloaded"
    VERIFIED = "verified"
    WAIT_WINDOW = "wait_window"
    INSTALLING = "installing"
    REBOOTING = "rebooting"
    TESTING = "testing"
    UNCONFIRMED = "unconfirmed"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ROLLBACK_PENDING = "rollback_pending"
    ROLLING_BACK = "rolling_back"
    ROLLED_BACK = "rolled_back"
    ROLLBACK_FAILED = "rollback_failed"
    MANUAL = "manual"
    LOST = "lost"
    REGRESSED = "regressed"
    PAUSED = "paused"
    REJECTED = "rejected"
    TIMED_OUT = "timed_out"
    CANCELED = "canceled"
    SUPERSEDED = "superseded"
    REMOVED = "removed"
    NOOP = "noop"


class Source(StrEnum):
    """Where a move comes from."""

    REPORT = "report"
    """The device said so, by a message about this execution."""
    TIMER = "timer"
    RECONCILE = "reconcile"
    """What the device says that it runs, compared to what it should."""
    OPERATOR = "operator"
    """A person, or the rollout that the execution is part of."""


class Event(StrEnum):
    """What moves an execution."""

    # --- report
    TAKEN = "taken"
    """The device has the job: it pulled it, or the notification reached it."""
    STARTED = "started"
    DOWNLOADED = "downloaded"
    VERIFIED = "verified"
    WAITING = "waiting"
    INSTALLING = "installing"
    REBOOTING = "rebooting"
    BOOTED = "booted"
    """It runs the target and tests itself."""
    STEP_FAILED = "step_failed"
    REFUSED = "refused"
    """Bad signature, incompatible, security epoch: the same answer whenever it is asked."""
    SELF_TEST_FAILED = "self_test_failed"
    ROLLBACK_TAKEN = "rollback_taken"
    ROLLBACK_STEP_FAILED = "rollback_step_failed"
    # --- timer
    NOT_TAKEN = "not_taken"
    STALLED = "stalled"
    STEP_OVERDUE = "step_overdue"
    WINDOW_MISSED = "window_missed"
    REBOOT_OVERDUE = "reboot_overdue"
    SILENT_FOR_A_DAY = "silent_for_a_day"
    RETRY_DUE = "retry_due"
    SLOT_TOUCHED = "slot_touched"
    """Its attempts are used up and its other slot was written to: it is put in order."""
    HEALTH_FAILED = "health_failed"
    HEALTH_PASSED = "health_passed"
    ROLLBACK_OVERDUE = "rollback_overdue"
    ROLLBACK_ATTEMPTS_USED_UP = "rollback_attempts_used_up"
    ESCALATED = "escalated"
    DEADLINE = "deadline"
    """The rollout's, or the 72 h of a download."""
    # --- reconcile
    RUNS_TARGET = "runs_target"
    """Confirmed."""
    TRIES_TARGET = "tries_target"
    """Booted, not confirmed."""
    RUNS_OLD = "runs_old"
    RUNS_OTHER = "runs_other"
    """Neither the version that it came from nor the target."""
    GOES_IN_CIRCLES = "goes_in_circles"
    """Too many moves in one attempt, or installed twice without a boot in between."""
    # --- operator
    CANCEL = "cancel"
    SUPERSEDE = "supersede"
    REMOVE = "remove"
    PAUSE = "pause"
    RESUME_QUEUED = "resume_queued"
    RESUME_NOTIFIED = "resume_notified"
    RESUME_DOWNLOADING = "resume_downloading"
    ROLL_BACK = "roll_back"
    RETRY = "retry"
    RETRY_ROLLBACK = "retry_rollback"
    MARK_RECOVERED_OLD = "mark_recovered_old"
    MARK_RECOVERED_TARGET = "mark_recovered_target"
    ACCEPT = "accept"
    """A regressed device stays on its old version."""
    IGNORE = "ignore"


_S, _E = State, Event

EVENTS_OF: Final[dict[Source, tuple[Event, ...]]] = {
    Source.REPORT: (
        _E.TAKEN, _E.STARTED, _E.DOWNLOADED, _E.VERIFIED, _E.WAITING, _E.INSTALLING, _E.REBOOTING, _E.BOOTED, _E.STEP_FAILED,
        _E.REFUSED, _E.SELF_TEST_FAILED, _E.ROLLBACK_TAKEN, _E.ROLLBACK_STEP_FAILED,
    ),
    Source.TIMER: (
        _E.NOT_TAKEN, _E.STALLED, _E.STEP_OVERDUE, _E.WINDOW_MISSED, _E.REBOOT_OVERDUE, _E.SILENT_FOR_A_DAY, _E.RETRY_DUE,
        _E.SLOT_TOUCHED, _E.HEALTH_FAILED, _E.HEALTH_PASSED, _E.ROLLBACK_OVERDUE, _E.ROLLBACK_ATTEMPTS_USED_UP, _E.ESCALATED,
        _E.DEADLINE,
    ),
    Source.RECONCILE: (_E.RUNS_TARGET, _E.TRIES_TARGET, _E.RUNS_OLD, _E.RUNS_OTHER, _E.GOES_IN_CIRCLES),
    Source.OPERATOR: (
        _E.CANCEL, _E.SUPERSEDE, _E.REMOVE, _E.PAUSE, _E.RESUME_QUEUED, _E.RESUME_NOTIFIED, _E.RESUME_DOWNLOADING, _E.ROLL_BACK,
        _E.RETRY, _E.RETRY_ROLLBACK, _E.MARK_RECOVERED_OLD, _E.MARK_RECOVERED_TARGET, _E.ACCEPT, _E.IGNORE,
    ),
}  # fmt: skip
SOURCE_OF: Final[dict[Event, Source]] = {
    event: source for source, events in EVENTS_OF.items() for event in events
}

_ON_THE_WAY: Final = (_S.DOWNLOADING, _S.DOWNLOADED, _S.VERIFIED, _S.WAIT_WINDOW)
"""Past the notification, with nothing written to the device's other slot."""
_AFTER_A_BOOT: Final = (_S.REBOOTING, _S.TESTING, _S.UNCONFIRMED, _S.LOST)
_ROLLBACK: Final = (_S.ROLLBACK_PENDING, _S.ROLLING_BACK)

TRANSITIONS: Final[dict[tuple[State, Event], State]] = {
    # The way there.
    (_S.QUEUED, _E.TAKEN): _S.NOTIFIED,
    (_S.NOTIFIED, _E.STARTED): _S.DOWNLOADING,
    (_S.DOWNLOADING, _E.DOWNLOADED): _S.DOWNLOADED,
    (_S.DOWNLOADED, _E.VERIFIED): _S.VERIFIED,
    (_S.VERIFIED, _E.WAITING): _S.WAIT_WINDOW,
    (_S.VERIFIED, _E.INSTALLING): _S.INSTALLING,
    (_S.WAIT_WINDOW, _E.INSTALLING): _S.INSTALLING,
    (_S.INSTALLING, _E.REBOOTING): _S.REBOOTING,
    (_S.REBOOTING, _E.BOOTED): _S.TESTING,
    (_S.UNCONFIRMED, _E.BOOTED): _S.TESTING,
    (_S.LOST, _E.BOOTED): _S.TESTING,
    (_S.TESTING, _E.HEALTH_PASSED): _S.SUCCEEDED,
    # What goes wrong on it.
    (_S.QUEUED, _E.REFUSED): _S.REJECTED,
    (_S.NOTIFIED, _E.REFUSED): _S.REJECTED,
    **{(state, _E.REFUSED): _S.REJECTED for state in _ON_THE_WAY},
    **{(state, _E.STEP_FAILED): _S.FAILED for state in (_S.NOTIFIED, *_ON_THE_WAY, _S.INSTALLING)},
    (_S.NOTIFIED, _E.NOT_TAKEN): _S.QUEUED,
    (_S.DOWNLOADING, _E.STALLED): _S.FAILED,
    (_S.DOWNLOADED, _E.STEP_OVERDUE): _S.FAILED,
    (_S.VERIFIED, _E.STEP_OVERDUE): _S.FAILED,
    (_S.INSTALLING, _E.STEP_OVERDUE): _S.FAILED,
    (_S.WAIT_WINDOW, _E.WINDOW_MISSED): _S.QUEUED,
    (_S.REBOOTING, _E.REBOOT_OVERDUE): _S.UNCONFIRMED,
    (_S.UNCONFIRMED, _E.SILENT_FOR_A_DAY): _S.LOST,
    (_S.FAILED, _E.RETRY_DUE): _S.DOWNLOADING,
    (_S.FAILED, _E.SLOT_TOUCHED): _S.ROLLBACK_PENDING,
    (_S.REBOOTING, _E.STEP_FAILED): _S.ROLLBACK_PENDING,
    **{(state, _E.SELF_TEST_FAILED): _S.ROLLBACK_PENDING for state in (_S.REBOOTING, _S.TESTING, _S.UNCONFIRMED)},
    (_S.TESTING, _E.STEP_FAILED): _S.ROLLBACK_PENDING,
    (_S.TESTING, _E.HEALTH_FAILED): _S.ROLLBACK_PENDING,
    # Only before anything was written to the device: what was is brought to an end by its own deadlines.
    **{(state, _E.DEADLINE): _S.TIMED_OUT for state in (_S.QUEUED, _S.NOTIFIED, *_ON_THE_WAY, _S.PAUSED)},
    # The way back.
    (_S.ROLLBACK_PENDING, _E.ROLLBACK_TAKEN): _S.ROLLING_BACK,
    (_S.ROLLING_BACK, _E.ROLLBACK_STEP_FAILED): _S.ROLLBACK_PENDING,
    (_S.ROLLING_BACK, _E.ROLLBACK_OVERDUE): _S.ROLLBACK_PENDING,
    (_S.ROLLING_BACK, _E.ROLLBACK_ATTEMPTS_USED_UP): _S.ROLLBACK_FAILED,
    (_S.ROLLBACK_PENDING, _E.ROLLBACK_ATTEMPTS_USED_UP): _S.ROLLBACK_FAILED,
    (_S.ROLLBACK_FAILED, _E.ESCALATED): _S.MANUAL,
    (_S.LOST, _E.ESCALATED): _S.MANUAL,
    (_S.REGRESSED, _E.ESCALATED): _S.MANUAL,
    # It was not seen to run its old version steadily.
    (_S.ROLLED_BACK, _E.ESCALATED): _S.MANUAL,
    # What it runs.
    (_S.QUEUED, _E.RUNS_TARGET): _S.NOOP,
    (_S.NOTIFIED, _E.RUNS_TARGET): _S.NOOP,
    **{(state, _E.RUNS_TARGET): _S.SUCCEEDED for state in (*_ON_THE_WAY, _S.INSTALLING, *_AFTER_A_BOOT, _S.FAILED)},
    **{
        (state, _E.TRIES_TARGET): _S.TESTING
        for state in (*_ON_THE_WAY, _S.INSTALLING, _S.REBOOTING, _S.UNCONFIRMED, _S.LOST, _S.FAILED)
    },
    (_S.INSTALLING, _E.RUNS_OLD): _S.DOWNLOADING,
    **{(state, _E.RUNS_OLD): _S.ROLLED_BACK for state in (*_AFTER_A_BOOT, *_ROLLBACK)},
    (_S.SUCCEEDED, _E.RUNS_OLD): _S.REGRESSED,
    **{(state, _E.RUNS_OTHER): _S.MANUAL for state in (*_ON_THE_WAY, _S.INSTALLING, *_AFTER_A_BOOT, *_ROLLBACK, _S.FAILED)},
    **{
        (state, _E.GOES_IN_CIRCLES): _S.MANUAL
        for state in (_S.QUEUED, _S.NOTIFIED, *_ON_THE_WAY, _S.INSTALLING, *_AFTER_A_BOOT, *_ROLLBACK, _S.FAILED)
    },
    # What people and rollouts do.
    **{(state, _E.CANCEL): _S.CANCELED for state in (_S.QUEUED, _S.NOTIFIED, *_ON_THE_WAY, _S.PAUSED, _S.FAILED)},
    **{(state, _E.SUPERSEDE): _S.SUPERSEDED for state in (_S.QUEUED, _S.NOTIFIED, _S.PAUSED)},
    **{(state, _E.PAUSE): _S.PAUSED for state in (_S.QUEUED, _S.NOTIFIED, _S.DOWNLOADING)},
    (_S.PAUSED, _E.RESUME_QUEUED): _S.QUEUED,
    (_S.PAUSED, _E.RESUME_NOTIFIED): _S.NOTIFIED,
    (_S.PAUSED, _E.RESUME_DOWNLOADING): _S.DOWNLOADING,
    **{(state, _E.ROLL_BACK): _S.ROLLBACK_PENDING for state in (_S.TESTING, _S.UNCONFIRMED, _S.LOST, _S.SUCCEEDED)},
    **{(state, _E.RETRY): _S.QUEUED for state in (_S.FAILED, _S.TIMED_OUT, _S.REGRESSED, _S.MANUAL)},
    **{(state, _E.RETRY_ROLLBACK): _S.ROLLBACK_PENDING for state in (_S.ROLLBACK_FAILED, _S.MANUAL)},
    **{(state, _E.MARK_RECOVERED_OLD): _S.ROLLED_BACK for state in (_S.LOST, _S.ROLLBACK_FAILED, _S.MANUAL)},
    **{(state, _E.MARK_RECOVERED_TARGET): _S.SUCCEEDED for state in (_S.LOST, _S.ROLLBACK_FAILED, _S.MANUAL)},
    (_S.REGRESSED, _E.ACCEPT): _S.ROLLED_BACK,
    **{(state, _E.IGNORE): _S.CANCELED for state in (_S.LOST, _S.ROLLBACK_FAILED, _S.MANUAL, _S.REGRESSED)},
    **{
        (state, _E.REMOVE): _S.REMOVED
        for state in (
            _S.QUEUED, _S.NOTIFIED, *_ON_THE_WAY, _S.INSTALLING, *_AFTER_A_BOOT, _S.FAILED, *_ROLLBACK, _S.ROLLBACK_FAILED,
            _S.MANUAL, _S.REGRESSED, _S.PAUSED,
        )
    },
}  # fmt: skip

ENDED: Final = frozenset(
    {_S.SUCCEEDED, _S.ROLLED_BACK, _S.REJECTED, _S.TIMED_OUT, _S.CANCELED, _S.SUPERSEDED, _S.REMOVED, _S.NOOP}
)
"""Nothing more happens by itself (SUCCEEDED is watched for a week). FAILED ends where no further attempt is due."""
NEEDS_A_HAND: Final = frozenset({_S.MANUAL, _S.LOST, _S.REGRESSED, _S.ROLLBACK_FAILED})
"""In the work queue, whatever else; so is any execution whose `needs_manual_intervention` is set."""
FAILURES: Final = frozenset(
    {_S.FAILED, _S.TIMED_OUT, _S.REJECTED, _S.UNCONFIRMED, _S.LOST, _S.REGRESSED, _S.MANUAL, *_ROLLBACK, _S.ROLLED_BACK,
     _S.ROLLBACK_FAILED}
)  # fmt: skip
"""Count against their wave: what failed, and what is on its way back because of that."""
FORWARD: Final = (
    _S.QUEUED, _S.NOTIFIED, _S.DOWNLOADING, _S.DOWNLOADED, _S.VERIFIED, _S.INSTALLING, _S.REBOOTING, _S.TESTING, _S.SUCCEEDED,
)  # fmt: skip
"""The straight way: a device that reports a later step has taken the ones before it."""


def target(state: State, event: Event) -> State | None:
    """Where an event moves an execution; None where it moves it nowhere."""
    return TRANSITIONS.get((state, event))


def as_mermaid() -> str:
    """TRANSITIONS as a Mermaid state diagram."""
    arrows = [f"    {a} --> {b}: {event}" for (a, event), b in TRANSITIONS.items()]
    return "\n".join(["stateDiagram-v2", "    [*] --> queued", *arrows]) + "\n"
