"""An on-call list: of which alarms it tells, whom, when, how often, and who has its turn. Pure.

Without anything said it does what most sites want: P1 is told at once and every 15 minutes until somebody acknowledges it, P2 after an
hour that nobody did, P3 in a digest in the morning. When nobody has its turn the whole list is told: an alarm that reaches nobody is
the worse mistake.

Must not know: tables, targets' addresses, alarms.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import tzinfo
from functools import cached_property
from itertools import pairwise
from typing import Final, Literal

import msgspec

from appliance.core.errors import UsageError
from appliance.core.limits_alarms import RULE_SCOPE_WORD_COUNT_MAX
from appliance.core.limits_notifications import (
    ON_CALL_LIST_NAME_LENGTH_MAX,
    ON_CALL_MEMBER_COUNT_MAX,
    ON_CALL_REPEAT_S_MIN,
    ON_CALL_STEP_COUNT_MAX,
    ON_CALL_STEP_S_MAX,
    ON_CALL_TARGETS_OF_MEMBER_COUNT_MAX,
    ON_CALL_TIME_COUNT_MAX,
)
from appliance.management.quiet_hours import WeeklyTime, is_within, window_of
from appliance.management.rule import RuleScope, Severity
from appliance.management.windows import Window

IGNORES_QUIET_HOURS: Final[Severity] = "P1"


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One time that people are told, if nobody has acknowledged the alarm by then.

    Attributes:
        after_s: Since the alarm, seconds.
        whom: Who is on call then, or the whole list.
    """

    after_s: int = 0
    whom: Literal["on_call", "all"] = "on_call"


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is done about alarms of one severity.

    Attributes:
        steps: In order of their time; none for those that are only in the digest.
        repeat_s: How often the last step is repeated until somebody acknowledges; None for never.
        in_digest: Whether they are in the list's digest.
    """

    steps: tuple[Step, ...] = ()
    repeat_s: int | None = None
    in_digest: bool = False


class Member(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Somebody.

    Attributes:
        name: For people.
        targets: Ids of the targets by which they are told.
        times: When they have their turn; none for always.
    """

    name: str
    targets: tuple[str, ...]
    times: tuple[WeeklyTime, ...] = ()


class Digest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When the digest goes out, in the site's time zone; without days every day."""

    at: str = "08:00"
    days: tuple[str, ...] = ()


class OnCallDefinition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a list says.

    Attributes:
        scope: Of which devices; a list for all also has the alarms of groups and of the node.
        P1, P2, P3: What is done about them; None for nothing.
        quiet_hours: P1 ignores them; everything else waits until they are over.
    """

    scope: RuleScope = RuleScope(all=True)
    P1: Plan | None = Plan(steps=(Step(),), repeat_s=900)
    P2: Plan | None = Plan(steps=(Step(after_s=3_600),))
    P3: Plan | None = Plan(in_digest=True)
    members: tuple[Member, ...] = ()
    quiet_hours: tuple[WeeklyTime, ...] = ()
    digest: Digest = Digest()


@dataclass(frozen=True, slots=True)
class Turn:
    """Who is told at an instant.

    Attributes:
        is_fallback: Nobody had its turn, so these are all.
    """

    members: tuple[str, ...]
    targets: tuple[str, ...]
    is_fallback: bool


@dataclass(frozen=True)
class OnCallList:
    """A list that is in force."""

    list_id: str
    name: str
    definition: OnCallDefinition

    @cached_property
    def quiet(self) -> tuple[Window, ...]:
        return tuple(map(window_of, self.definition.quiet_hours))

    def quiet_for(self, severity: str) -> tuple[Window, ...]:
        """The quiet hours that alarms of a severity wait for."""
        return () if severity == IGNORES_QUIET_HOURS else self.quiet

    def plan(self, severity: str) -> Plan | None:
        plan: Plan | None = getattr(self.definition, severity)
        return plan

    @cached_property
    def _times(self) -> tuple[tuple[Member, tuple[Window, ...]], ...]:
        return tuple((member, tuple(map(window_of, member.times))) for member in self.definition.members)

    @cached_property
    def digest_window(self) -> Window:
        """A whole day that begins with the digest."""
        digest = self.definition.digest
        return window_of(WeeklyTime(days=digest.days, from_=digest.at, to=digest.at))

    def turn(self, at_ms: int, zone: tzinfo, *, whom: str = "on_call") -> Turn:
        """Who is told at an instant, in the order of the list.

        Args:
            whom: on_call or all.
        """
        everybody = [member for member, _ in self._times]
        chosen = [
            member
            for member, windows in self._times
            if whom == "all" or not windows or is_within(windows, at_ms, zone)
        ]
        is_fallback = not chosen
        chosen = chosen or everybody
        targets = dict.fromkeys(target for member in chosen for target in member.targets)
        return Turn(tuple(member.name for member in chosen), tuple(targets), is_fallback)


def covers(
    scope: RuleScope, device_id: str, group_id: str, *, groups: Collection[str], tags: Collection[str]
) -> bool:
    """Whether an alarm is in a list's scope.

    Args:
        device_id: "" for one of a group or the node. group_id: Of a group's alarm, or "".
        groups, tags: Of the device.
    """
    if device_id and device_id in scope.except_:
        return False
    return (
        scope.all
        or bool(device_id and device_id in scope.devices)
        or bool(group_id and group_id in scope.groups)
        or not set(scope.groups).isdisjoint(groups)
        or not set(scope.tags).isdisjoint(tags)
    )


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(OnCallDefinition).decode


def to_json(definition: OnCallDefinition) -> str:
    """Compact JSON."""
    return _encode(definition).decode()


def of_json(text: str | bytes) -> OnCallDefinition:
    """A definition from its JSON, not yet checked.

    Raises:
        UsageError: `on_call_invalid`: no JSON, a field that is unknown, missing or of another type; the message names it.
    """
    try:
        return _decode(text)
    except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _invalid(
            f"The on-call list can't be read: {error}.", "See docs/NOTIFICATIONS.md for what it has."
        ) from error


def check(name: str, definition: OnCallDefinition) -> None:
    """Raises UsageError `on_call_invalid`, with what is wrong and what to do."""
    _check_words("A list's name", name, ON_CALL_LIST_NAME_LENGTH_MAX)
    scope = definition.scope
    if scope.all == bool(scope.devices or scope.groups or scope.tags):
        raise _invalid(
            "The list must be for all devices, or for devices, groups or tags that are named.",
            "Say one of the two.",
        )
    if (
        len(scope.devices) + len(scope.groups) + len(scope.tags) + len(scope.except_)
        > RULE_SCOPE_WORD_COUNT_MAX
    ):
        raise _invalid(
            f"A list names at most {RULE_SCOPE_WORD_COUNT_MAX} devices, groups and tags.", "Use a group."
        )
    if not 1 <= len(definition.members) <= ON_CALL_MEMBER_COUNT_MAX:
        raise _invalid(f"A list has 1 to {ON_CALL_MEMBER_COUNT_MAX} members.", "Say who is to be told.")
    for member in definition.members:
        _check_words("A member's name", member.name, ON_CALL_LIST_NAME_LENGTH_MAX)
        if not 1 <= len(member.targets) <= ON_CALL_TARGETS_OF_MEMBER_COUNT_MAX:
            raise _invalid(
                f"{member.name} has {len(member.targets)} targets; it is 1 to {ON_CALL_TARGETS_OF_MEMBER_COUNT_MAX}.",
                "Say by which targets.",
            )
        _check_times(member.times)
    _check_times(definition.quiet_hours)
    _check_times(
        (WeeklyTime(days=definition.digest.days, from_=definition.digest.at, to=definition.digest.at),)
    )
    plans = [plan for plan in (definition.P1, definition.P2, definition.P3) if plan is not None]
    if not plans:
        raise _invalid("The list is for no severity.", "Give P1, P2 or P3 a plan.")
    for plan in plans:
        _check_plan(plan)


def _check_plan(plan: Plan) -> None:
    times = [step.after_s for step in plan.steps]
    if not times and not plan.in_digest:
        raise _invalid(
            "A plan has no step and no digest.", "Give it one, or leave the severity out with null."
        )
    if len(times) > ON_CALL_STEP_COUNT_MAX:
        raise _invalid(f"A plan has at most {ON_CALL_STEP_COUNT_MAX} steps.", "Let the last one be repeated.")
    if any(not 0 <= time <= ON_CALL_STEP_S_MAX for time in times) or any(
        later <= earlier for earlier, later in pairwise(times)
    ):
        raise _invalid(
            f"Steps are 0 to {ON_CALL_STEP_S_MAX} s after the alarm, each after the one before.",
            "Put them in order.",
        )
    if plan.repeat_s is not None and (
        not times or not ON_CALL_REPEAT_S_MIN <= plan.repeat_s <= ON_CALL_STEP_S_MAX
    ):
        raise _invalid(
            f"A step is repeated every {ON_CALL_REPEAT_S_MIN} to {ON_CALL_STEP_S_MAX} s; a plan without steps repeats none.",
            "Choose another time, or leave it out.",
        )


def _check_times(times: tuple[WeeklyTime, ...]) -> None:
    if len(times) > ON_CALL_TIME_COUNT_MAX:
        raise _invalid(f"At most {ON_CALL_TIME_COUNT_MAX} times.", "Let one time have several days.")
    for time in times:
        window_of(time)


def _check_words(what: str, words: str, length_max: int) -> None:
    if not 1 <= len(words) <= length_max or not words.isprintable() or words != words.strip():
        raise _invalid(f"{what} has 1 to {length_max} printable characters.", "Give it another one.")


def _invalid(message: str, hint: str) -> UsageError:
    return UsageError(message, hint=hint, code="on_call_invalid")
