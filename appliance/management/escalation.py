"""Who is told of an alarm, and when: decided from the alarm as it is, the on-call lists and the clock. Pure.

Theory of operation. An `Escalation` stands beside each alarm that people are told of. `advance` takes it along with the alarm (raised,
acknowledged, cleared, shelved …). `look` says what has come due in the time since the last look, which is half open: (looked_at_ms,
now]. So any looks at any times give what one that never stops looking would give, each once, and what is told does not depend on when a
process was killed. One thing is left out on purpose: a repetition whose next one has come due already tells nobody anything.

A *round* is one time that people are told of an alarm, from the first step to “it is over”. Raised again within the flap time it is the same
round, so flapping tells once; raised again after people were told that it is over, or when its shelf or suppression has ended, it is the
next one. The name of a step carries the round, so that its notifications have keys of their own.

An alarm is told to be over once it has been cleared for the flap time, and to those who were told of it. Acknowledged, nothing more is
said but that. Shelved or suppressed, nothing at all.

Must not know: tables, targets' addresses, what is sent and how.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo
from typing import Final

from appliance.management.on_call import IGNORES_QUIET_HOURS, OnCallList, Plan, Turn
from appliance.management.quiet_hours import after_quiet_ms, before_quiet_ms
from appliance.management.windows import opens_at_ms

RAISED: Final = "raised"
CLEARED: Final = "cleared"
REPEATED: Final = "repeated/"
_DIGEST_LOOK_BACK_MS: Final = 8 * 86_400_000
"""A digest comes at least once a week."""
_DIGEST_CATCH_UP_MS: Final = 60 * 86_400_000
"""Digests that nobody made for longer are one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmNow:
    """An alarm as it is.

    Attributes:
        episode: Counts what people are told of.
        is_quiet: It is shelved or suppressed.
    """

    alarm_id: str
    episode: int
    severity: str
    is_active: bool
    is_acknowledged: bool
    is_quiet: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Escalation:
    """How far people are told of an alarm. Times are UTC ms, of this box's clock.

    Attributes:
        round: See the module's docstring, from 1; 0 while it was shelved or suppressed all the time.
        began_at_ms: Of this round.
        looked_at_ms: All that came due until then was made.
        cleared_at_ms: While it is cleared.
        is_over: Nothing more comes of this round.
    """

    alarm_id: str
    episode: int
    round: int
    severity: str
    began_at_ms: int
    looked_at_ms: int
    cleared_at_ms: int | None = None
    is_acknowledged: bool = False
    is_quiet: bool = False
    is_over: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """People are to be told.

    Attributes:
        step: raised, escalated/N, repeated/N; with .R behind it in round R from the second on.
        at_ms: When it came due.
    """

    step: str
    at_ms: int
    on_call: OnCallList
    turn: Turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a look found.

    Attributes:
        dues: In order of their time.
        over_step: Those who were told in this round are to be told, by this step, that it is over; "" for not now.
        after: The escalation after it.
        next_at_ms: When to look next, None for not before the alarm moves.
    """

    dues: tuple[Due, ...]
    over_step: str
    after: Escalation
    next_at_ms: int | None


def key_of(*words: str | int) -> str:
    """The idempotency key of a notification: SHA-256, hexadecimal, of alarm, episode, step and target; of a digest or a try of what it is."""
    return hashlib.sha256("\n".join(map(str, words)).encode()).hexdigest()


def step_name(step: str, round_: int) -> str:
    """The step's name in a round."""
    return step if round_ == 1 else f"{step}.{round_}"


def advance(escalation: Escalation | None, alarm: AlarmNow, now_ms: int) -> Escalation:
    """The escalation of an alarm that has moved. Whatever was due before is looked for before that."""
    before = rebased(escalation, now_ms) if escalation is not None else None
    if before is None or alarm.episode != before.episode:
        # Nobody was told of what is quiet from the beginning: that is no round yet.
        before = _begun(alarm, 0 if alarm.is_quiet else 1, now_ms)
        if alarm.is_acknowledged and not alarm.is_active:
            return replace(
                before, is_acknowledged=True, is_over=True
            )  # it came and went, and nobody needs to know
    elif _is_anew(before, alarm):
        before = _begun(alarm, before.round + 1, now_ms)
    return replace(
        before,
        severity=alarm.severity,
        is_quiet=alarm.is_quiet,
        is_acknowledged=alarm.is_acknowledged,
        cleared_at_ms=None if alarm.is_active else before.cleared_at_ms or now_ms,
        is_over=before.is_over or alarm.is_quiet,
    )


def _is_anew(before: Escalation, alarm: AlarmNow) -> bool:
    """Whether people are told anew of the same episode: it is over for them, or it has become worse."""
    if not alarm.is_active or alarm.is_acknowledged or alarm.is_quiet:
        return False
    return before.is_over or alarm.severity < before.severity


def _begun(alarm: AlarmNow, round_: int, now_ms: int) -> Escalation:
    return Escalation(
        alarm_id=alarm.alarm_id,
        episode=alarm.episode,
        round=round_,
        severity=alarm.severity,
        began_at_ms=now_ms,
        looked_at_ms=now_ms - 1,
    )


def rebased(escalation: Escalation, now_ms: int) -> Escalation:
    """The same with its times moved along where the clock was set back: what has passed stays so long, and nothing is told twice."""
    back_ms = escalation.looked_at_ms - now_ms
    if back_ms <= 0:
        return escalation
    cleared_at_ms = escalation.cleared_at_ms
    return replace(
        escalation,
        began_at_ms=escalation.began_at_ms - back_ms,
        looked_at_ms=now_ms,
        cleared_at_ms=None if cleared_at_ms is None else cleared_at_ms - back_ms,
    )


def look(
    escalation: Escalation, lists: Sequence[OnCallList], *, zone: tzinfo, flap_ms: int, now_ms: int
) -> Look:
    """What has come due since the last look.

    Args:
        lists: Those that the alarm is in the scope of.
        zone: The site's.
        flap_ms: For so long it must be cleared until people are told that it is over.
    """
    escalation = rebased(escalation, now_ms)
    after = replace(escalation, looked_at_ms=now_ms)
    if escalation.is_over:
        return Look(dues=(), over_step="", after=after, next_at_ms=None)
    dues: list[Due] = []
    nexts: list[int] = []
    if not escalation.is_acknowledged:
        for on_call in lists:
            plan = on_call.plan(escalation.severity)
            if plan is not None and plan.steps:
                found, next_at_ms = _look_at_plan(escalation, on_call, plan, zone, now_ms)
                dues += found
                nexts += [] if next_at_ms is None else [next_at_ms]
    over_step = ""
    over_at_ms = _over_at_ms(escalation, lists, zone, flap_ms)
    if over_at_ms is not None:
        nexts = [over_at_ms]
        if over_at_ms <= now_ms:
            over_step = step_name(CLEARED, escalation.round)
            after, nexts = replace(after, is_over=True), []
    dues.sort(key=lambda due: due.at_ms)
    return Look(dues=tuple(dues), over_step=over_step, after=after, next_at_ms=min(nexts, default=None))


def _over_at_ms(
    escalation: Escalation, lists: Sequence[OnCallList], zone: tzinfo, flap_ms: int
) -> int | None:
    """When people are told that it is over; for quiet hours the list counts whose are over first."""
    if escalation.cleared_at_ms is None:
        return None
    at_ms = escalation.cleared_at_ms + flap_ms
    if escalation.severity == IGNORES_QUIET_HOURS:
        return at_ms
    return min((after_quiet_ms(each.quiet, at_ms, zone) for each in lists), default=at_ms)


def _look_at_plan(
    escalation: Escalation, on_call: OnCallList, plan: Plan, zone: tzinfo, now_ms: int
) -> tuple[list[Due], int | None]:
    """What of a list's plan is due, and when more is."""
    quiet = on_call.quiet_for(escalation.severity)
    until_ms = now_ms if escalation.cleared_at_ms is None else min(now_ms, escalation.cleared_at_ms)
    dues: list[Due] = []
    next_at_ms: int | None = None

    def add(step: str, at_ms: int, whom: str) -> None:
        name = step_name(step, escalation.round)
        dues.append(Due(step=name, at_ms=at_ms, on_call=on_call, turn=on_call.turn(at_ms, zone, whom=whom)))

    for number, step in enumerate(plan.steps):
        at_ms = after_quiet_ms(quiet, escalation.began_at_ms + step.after_s * 1_000, zone)
        if at_ms > now_ms:
            next_at_ms = at_ms
            break
        if escalation.looked_at_ms < at_ms <= until_ms:
            add(RAISED if number == 0 else f"escalated/{number}", at_ms, step.whom)
    if plan.repeat_s is None:
        return dues, next_at_ms
    last = plan.steps[-1]
    first_ms, every_ms = escalation.began_at_ms + last.after_s * 1_000, plan.repeat_s * 1_000

    def told_at_ms(number: int) -> int:
        return after_quiet_ms(quiet, first_ms + number * every_ms, zone)

    number = (until_ms - first_ms) // every_ms
    if number >= 1 and told_at_ms(number) > until_ms:  # those of these quiet hours are one, at their end
        number = (before_quiet_ms(quiet, until_ms, zone) - first_ms) // every_ms
    if number >= 1 and told_at_ms(number) > escalation.looked_at_ms:
        add(f"{REPEATED}{number}", told_at_ms(number), last.whom)
    latest = max(0, (now_ms - first_ms) // every_ms)
    is_waiting = latest >= 1 and told_at_ms(latest) > now_ms
    repeat_at_ms = told_at_ms(latest if is_waiting else latest + 1)
    return dues, repeat_at_ms if next_at_ms is None else min(next_at_ms, repeat_at_ms)


def digests_ms(on_call: OnCallList, after_ms: int, until_ms: int, zone: tzinfo) -> list[tuple[int, int]]:
    """The digests of a list in a time.

    Returns:
        For each in (after, until]: when the one before it was, and when it is; it tells of alarms of the time between.
    """
    found: list[tuple[int, int]] = []
    before_ms = _digest_before_ms(on_call, after_ms, zone)
    # After years on a wrong clock the first one tells of all that time.
    at_ms = next_digest_ms(on_call, max(after_ms, until_ms - _DIGEST_CATCH_UP_MS), zone)
    while at_ms <= until_ms:
        found.append((before_ms, at_ms))
        before_ms, at_ms = at_ms, next_digest_ms(on_call, at_ms, zone)
    return found


def next_digest_ms(on_call: OnCallList, after_ms: int, zone: tzinfo) -> int:
    """When the list's next digest is, UTC ms."""
    return opens_at_ms(on_call.digest_window, after_ms, zone)


def _digest_before_ms(on_call: OnCallList, at_ms: int, zone: tzinfo) -> int:
    """The last digest up to then."""
    before_ms = at_ms - _DIGEST_LOOK_BACK_MS
    while (next_ms := next_digest_ms(on_call, before_ms, zone)) <= at_ms:
        before_ms = next_ms
    return before_ms


def is_in_digest(escalation: Escalation, on_call: OnCallList, from_ms: int, until_ms: int) -> bool:
    """Whether a digest tells of it: it began in (from, until], nobody has acknowledged it, and it is not shelved."""
    plan = on_call.plan(escalation.severity)
    return (
        plan is not None
        and plan.in_digest
        and not escalation.is_acknowledged
        and not escalation.is_quiet
        and from_ms < escalation.began_at_ms <= until_ms
    )
