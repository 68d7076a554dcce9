"""What of a transition an alarm keeps: numbers that SQLite and JSON know, and explanations that are bounded.

Must not know: what becomes of the alarm.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any, Final

import msgspec

from appliance.core.limits_alarms import ALARM_EXPLANATION_BYTES_MAX
from appliance.management import alarm_steps
from appliance.management.alarm import Alarm, AlarmMove, alarm_id_of
from appliance.management.alarms import AlarmEvent
from appliance.management.rule_transition import Transition

TEXT_LENGTH_MAX: Final = 1_000


Happened = tuple[str, int, str]
"""An alarm's id, when, and which AlarmEvent: what makes two of one."""


def happened(found: Transition) -> Happened:
    """What a transition is known by, however often it is found."""
    event = AlarmEvent.RAISE if found.is_raised else AlarmEvent.CLEAR
    return alarm_id_of(found.key), found.at_ms, event.value


def last_known(found: Sequence[Happened], known: Collection[Happened]) -> dict[str, int]:
    """Of each alarm the place of the last transition that it knows: what stands before it is as old, whether the alarm knows it or not.

    It needn't: an end that came to nothing is in no history, and of one that flaps the history has the newest only.
    """
    return {each[0]: at for at, each in enumerate(found) if each in known}


def clear(alarm: Alarm | None, found: Transition, now_ms: int) -> list[AlarmMove]:
    """What a condition that is over makes of an alarm; nothing where there is none."""
    if alarm is None:
        return []
    return alarm_steps.cleared(
        alarm,
        at_ms=found.at_ms,
        now_ms=now_ms,
        value=finite(found.value),
        explanation=bounded(found.explanation),
        rule_version=found.rule_version,
    )


def finite(value: float | None) -> float | None:
    """SQLite knows no NaN, and JSON neither it nor infinity."""
    return value if value is not None and math.isfinite(value) else None


def bounded(explanation: dict[str, Any]) -> dict[str, Any]:
    """As it is; of one that is too large its sentence alone, cut."""
    if len(msgspec.json.encode(explanation)) <= ALARM_EXPLANATION_BYTES_MAX:
        return explanation
    return {"text": str(explanation.get("text", ""))[:TEXT_LENGTH_MAX]}
