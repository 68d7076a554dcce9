"""One alarm: something that is wrong with a series, a device, a group or the node, for as long as it is. Its states and what moves it. Pure.

TRANSITIONS is closed; the drawing in docs/ALARMS.md is made from it by `as_mermaid`. Active or cleared is what the readings say,
acknowledged or not is what people say. Whether it is shelved or suppressed stands beside its state and changes only who is told.

Must not know: time, tables, rules.
Source: IEC 62682 (ISA-18.2), the alarm state model.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class AlarmState(StrEnum):
    """Where an alarm is."""

    NORMAL = "normal"
    """Cleared, and somebody has seen that it was there."""
    ACTIVE_UNACKNOWLEDGED = "active_unacknowledged"
    ACTIVE_ACKNOWLEDGED = "active_acknowledged"
    CLEARED_UNACKNOWLEDGED = "cleared_unacknowledged"


class AlarmEvent(StrEnum):
    """What moves an alarm."""

    RAISE = "raise"
    CLEAR = "clear"
    ACKNOWLEDGE = "acknowledge"
    WITHDRAW = "withdraw"
    """Its rule was changed, switched off or removed, or what it is about is gone: nobody will say that it cleared."""


_S, _E = AlarmState, AlarmEvent

TRANSITIONS: Final[dict[tuple[AlarmState, AlarmEvent], AlarmState]] = {
    (_S.NORMAL, _E.RAISE): _S.ACTIVE_UNACKNOWLEDGED,
    (_S.ACTIVE_UNACKNOWLEDGED, _E.CLEAR): _S.CLEARED_UNACKNOWLEDGED,
    (_S.ACTIVE_UNACKNOWLEDGED, _E.ACKNOWLEDGE): _S.ACTIVE_ACKNOWLEDGED,
    (_S.ACTIVE_UNACKNOWLEDGED, _E.WITHDRAW): _S.NORMAL,
    (_S.ACTIVE_ACKNOWLEDGED, _E.CLEAR): _S.NORMAL,
    (_S.ACTIVE_ACKNOWLEDGED, _E.WITHDRAW): _S.NORMAL,
    (_S.CLEARED_UNACKNOWLEDGED, _E.RAISE): _S.ACTIVE_UNACKNOWLEDGED,
    (_S.CLEARED_UNACKNOWLEDGED, _E.ACKNOWLEDGE): _S.NORMAL,
    (_S.CLEARED_UNACKNOWLEDGED, _E.WITHDRAW): _S.NORMAL,
}  # fmt: skip

ACTIVE: Final = frozenset({_S.ACTIVE_UNACKNOWLEDGED, _S.ACTIVE_ACKNOWLEDGED})
UNACKNOWLEDGED: Final = frozenset({_S.ACTIVE_UNACKNOWLEDGED, _S.CLEARED_UNACKNOWLEDGED})


def target(state: AlarmState, event: AlarmEvent) -> AlarmState | None:
    """Where an event moves an alarm; None where it changes nothing."""
    return TRANSITIONS.get((state, event))


def as_mermaid() -> str:
    """TRANSITIONS as a Mermaid state diagram."""
    arrows = [f"    {a} --> {b}: {event}" for (a, event), b in TRANSITIONS.items()]
    return "\n".join(["stateDiagram-v2", "    [*] --> normal", *arrows]) + "\n"
