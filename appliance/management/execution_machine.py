"""The machine: an execution and something that happened give the execution after it, its moves, and what is to be done outside. Pure.

    step(execution, happening, now_ms, context) -> Moved(execution, moves, wishes, answer)

The same happening twice gives the same execution. Nothing moves but by TRANSITIONS. What a device says about its job is in
execution_reports.py, what it runs in reconcile.py; here are time, orders and what the delivery sees.
"""

from __future__ import annotations

from typing import assert_never

from appliance.core.limits_executions import (
    HEALTH_BOOT_COUNT_MAX,
    HEALTH_CUT_COUNT_MAX,
    HEALTH_READING_COUNT_MIN,
    NOTIFY_COUNT_MAX,
    ROLLBACK_STUCK_MS,
    ROLLED_BACK_SETTLE_MS,
)
from appliance.core.limits_updates import MINUTE_MS
from appliance.management.execution import (
    BlocksTaken,
    Came,
    Context,
    Execution,
    FirmwareSeen,
    Happening,
    KnownBadSeen,
    Moved,
    Ordered,
    Reported,
    Taken,
    TimeCame,
    Told,
    Wish,
)
from appliance.management.execution_reports import apply_report
from appliance.management.execution_states import REACHABLE_MS
from appliance.management.execution_walk import Walk
from appliance.management.executions import Event, State, target
from appliance.management.reconcile import Seen, seen

_S, _E = State, Event
_OVERDUE = {
    _S.DOWNLOADING: _E.STALLED,
    _S.DOWNLOADED: _E.STEP_OVERDUE,
    _S.VERIFIED: _E.STEP_OVERDUE,
    _S.INSTALLING: _E.STEP_OVERDUE,
    _S.WAIT_WINDOW: _E.WINDOW_MISSED,
    _S.REBOOTING: _E.REBOOT_OVERDUE,
    _S.UNCONFIRMED: _E.SILENT_FOR_A_DAY,
    _S.FAILED: _E.RETRY_DUE,
    _S.ROLLBACK_FAILED: _E.ESCALATED,
    _S.LOST: _E.ESCALATED,
    _S.REGRESSED: _E.ESCALATED,
}
"""What the end of a state's time is, where there is nothing to weigh."""
ROLLBACK_STUCK = "It is away in the middle of going back to its old version."
ROLLBACK_NOT_TAKEN = "It has not begun to go back to its old version for a day."
NOT_STEADY = "It runs its old version again, but was not seen to run it steadily."


def step(execution: Execution, happening: Happening, now_ms: int, context: Context) -> Moved:
    """What becomes of an execution.

    Args:
        now_ms: UTC ms, without the clock's jumps.
    """
    walk = Walk(execution, now_ms, context)
    match happening:
        case Reported(report):
            return apply_report(walk, report)
        case FirmwareSeen(report):
            walk.reconcile(report)
        case Taken():
            _taken(walk, happening)
        case Told():
            _told(walk)
        case Came():
            _came(walk)
        case BlocksTaken():
            _blocks_taken(walk, happening)
        case TimeCame():
            _time_came(walk)
        case Ordered():
            _ordered(walk, happening)
        case KnownBadSeen(reason):
            if target(execution.state, _E.REFUSED) is not None:
                walk.change(error="known_bad", error_text=reason)
                walk.take(_E.REFUSED, {"err": "known_bad", "err_msg": reason})
        case _:
            assert_never(happening)
    return walk.moved()


def health_problem(execution: Execution, context: Context) -> str:
    """What speaks against the target that a device is testing, as a code; "" for nothing.

    Asked is only what could be expected: fresh readings of who sent readings before, a steady connection of who had one.
    """
    health, before = context.health, execution.health
    if context.firmware is None or seen(execution, context.firmware) not in (
        Seen.TARGET,
        Seen.TARGET_UNCONFIRMED,
    ):
        return "version_not_seen"
    if context.firmware.is_confirmed is False:
        return "not_confirmed"
    if "failed" in (before.get("self_test"), context.firmware.self_test):
        return "self_test"
    if health.has_new_alarm:
        return "alarm"
    if before.get("has_readings") and health.fresh_reading_count < HEALTH_READING_COUNT_MIN:
        return "no_fresh_readings"
    is_steady = health.is_online and health.cut_count <= HEALTH_CUT_COUNT_MAX
    if before.get("has_session") and not is_steady:
        return "not_steady"
    return "boots_again" if int(before.get("boots", 0)) > HEALTH_BOOT_COUNT_MAX else ""


def _taken(walk: Walk, taken: Taken) -> None:
    walk.take(_E.TAKEN)
    if not taken.is_started:
        return
    if walk.execution.state is _S.ROLLBACK_PENDING:
        walk.take(_E.ROLLBACK_TAKEN)
    else:
        walk.take(_E.STARTED)
    if walk.execution.state is _S.DOWNLOADING and taken.step_timeout_minutes is not None:
        walk.change(deadline_at_ms=walk.now_ms + taken.step_timeout_minutes * MINUTE_MS)


def _told(walk: Walk) -> None:
    if not walk.take(_E.TAKEN) and walk.execution.push_due_at_ms is not None:
        walk.change(push_due_at_ms=None)


def _came(walk: Walk) -> None:
    """It can be reached again: its time begins anew. That it is told what is wanted needs no row: it is whenever it comes."""
    execution = walk.execution
    own_ms = REACHABLE_MS.get(execution.state)
    if own_ms is not None:
        walk.change(deadline_at_ms=walk.now_ms + own_ms)
    if (
        execution.state is _S.ROLLBACK_PENDING or execution.state is _S.ROLLING_BACK
    ) and execution.needs_manual_intervention:
        walk.change(needs_manual_intervention=False, manual_reason="")
        if execution.state is _S.ROLLBACK_PENDING:
            # It may be there and still not begin: then a person is told again.
            walk.change(deadline_at_ms=walk.now_ms + ROLLBACK_STUCK_MS)


def _blocks_taken(walk: Walk, taken: BlocksTaken) -> None:
    execution = walk.execution
    if execution.state in (_S.QUEUED, _S.NOTIFIED):
        walk.take(_E.TAKEN)
        walk.take(_E.STARTED)
    if walk.execution.state is _S.DOWNLOADING:
        walk.change(
            deadline_at_ms=walk.now_ms + REACHABLE_MS[_S.DOWNLOADING],
            bytes_done=max(walk.execution.bytes_done, taken.bytes_done),
            bytes_total=taken.bytes_total,
        )


def _ordered(walk: Walk, order: Ordered) -> None:
    detail = {"reason": order.reason} if order.reason else {}
    before = walk.execution
    if order.event is _E.ROLL_BACK and target(before.state, order.event) is not None:
        walk.change(error=order.error, error_text=order.reason)
    if not walk.take(order.event, detail, actor=order.actor):
        return
    # Who has begun has to hear of it.
    if before.started_at_ms is not None and not before.is_over:
        walk.wish(Wish.TELL)
    is_resumed = order.event in (_E.RESUME_QUEUED, _E.RESUME_NOTIFIED, _E.RESUME_DOWNLOADING, _E.RETRY)
    if is_resumed and walk.context.firmware is not None:
        walk.reconcile(walk.context.firmware)


def _time_came(walk: Walk) -> None:
    execution, now_ms = walk.execution, walk.now_ms
    if execution.watch_until_at_ms is not None and execution.watch_until_at_ms <= now_ms:
        walk.change(watch_until_at_ms=None)
    if execution.end_by_at_ms is not None and execution.end_by_at_ms <= now_ms and walk.take(_E.DEADLINE):
        return
    if execution.deadline_at_ms is None or execution.deadline_at_ms > now_ms:
        return
    match execution.state:
        case _S.NOTIFIED:
            _not_taken(walk)
        case _S.DOWNLOADING if not walk.context.is_reachable:
            walk.change(deadline_at_ms=None)
        case _S.TESTING:
            problem = health_problem(execution, walk.context)
            if problem:
                walk.change(error_text=problem)
            walk.take(
                _E.HEALTH_FAILED if problem else _E.HEALTH_PASSED, {"problem": problem} if problem else {}
            )
        case _S.ROLLBACK_PENDING:
            _needs_a_hand(walk, ROLLBACK_NOT_TAKEN)
        case _S.ROLLING_BACK:
            _rolling_back_overdue(walk)
        case _S.ROLLED_BACK:
            _settled(walk)
        case _:
            walk.take(_OVERDUE[execution.state])
            if walk.execution.state is _S.FAILED and walk.context.firmware is not None:
                walk.reconcile(walk.context.firmware)


def _not_taken(walk: Walk) -> None:
    execution = walk.execution
    if not walk.context.is_reachable:
        walk.change(deadline_at_ms=None)
    elif execution.notify_count < NOTIFY_COUNT_MAX:
        walk.change(
            notify_count=execution.notify_count + 1,
            push_due_at_ms=walk.now_ms,
            deadline_at_ms=walk.now_ms + REACHABLE_MS[_S.NOTIFIED],
        )
    else:
        walk.take(_E.NOT_TAKEN)


def _rolling_back_overdue(walk: Walk) -> None:
    """Away in the middle: the attempt is frozen, what is wanted stays, and after a day a person is told."""
    execution = walk.execution
    if walk.context.is_reachable:
        is_last = execution.rollback_attempt_count >= execution.max_rollback_attempts
        walk.take(_E.ROLLBACK_ATTEMPTS_USED_UP if is_last else _E.ROLLBACK_OVERDUE)
        return
    stuck_at_ms = execution.state_since_ms + ROLLBACK_STUCK_MS
    if walk.now_ms >= stuck_at_ms:
        _needs_a_hand(walk, ROLLBACK_STUCK)
    else:
        walk.change(deadline_at_ms=stuck_at_ms)


def _settled(walk: Walk) -> None:
    """The old version runs again; it is over once it has run steadily."""
    execution, context = walk.execution, walk.context
    is_old = context.firmware is not None and seen(execution, context.firmware) is Seen.OLD
    is_there = context.is_reachable or context.health.is_online or not execution.health.get("has_session")
    if is_old and is_there:
        walk.change(ended_at_ms=walk.now_ms, deadline_at_ms=None, version=execution.version + 1)
        walk.wish(Wish.TELL)
    elif walk.now_ms < execution.state_since_ms + ROLLBACK_STUCK_MS:
        walk.change(deadline_at_ms=walk.now_ms + ROLLED_BACK_SETTLE_MS)
    else:
        walk.change(manual_reason=NOT_STEADY)
        walk.take(_E.ESCALATED)


def _needs_a_hand(walk: Walk, reason: str) -> None:
    walk.change(needs_manual_intervention=True, manual_reason=reason, deadline_at_ms=None)
