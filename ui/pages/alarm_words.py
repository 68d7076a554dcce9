"""How alarms, rules, notifications and maintenance read: a word, an icon and a tone for each state, and what may be done about it. Pure.

An alarm's state says two things, what the readings say and what people have said; its severity has its own letters and shape. A test
compares the tables with the states that there are.
"""

from __future__ import annotations

from typing import Final

from appliance.management.alarms import AlarmEvent, AlarmState
from ui.pages.looks import Look

SEVERITY: Final[dict[str, Look]] = {
    "P1": Look("P1", "bad", "bad"),
    "P2": Look("P2", "warn", "warn"),
    "P3": Look("P3", "info", "idle"),
}
SEVERITY_SAYS: Final[dict[str, str]] = {
    "P1": "somebody must come now",
    "P2": "within the hour",
    "P3": "some day this week",
}
ALARM: Final[dict[str, Look]] = {
    AlarmState.ACTIVE_UNACKNOWLEDGED: Look("active, not acknowledged", "bell", "bad"),
    AlarmState.ACTIVE_ACKNOWLEDGED: Look("active, acknowledged", "hand", "warn"),
    AlarmState.CLEARED_UNACKNOWLEDGED: Look("over, not acknowledged", "late", "warn"),
    AlarmState.NORMAL: Look("over", "ok", "good"),
}
ASIDE: Final[dict[str, Look]] = {
    "shelved": Look("shelved", "pause", "idle"),
    "suppressed": Look("suppressed", "rejected", "idle"),
    "flapping": Look("comes and goes", "turn", "warn"),
}
"""What stands beside an alarm's state."""
NOTIFICATION: Final[dict[str, Look]] = {
    "waiting": Look("waiting", "waiting", "idle"),
    "sending": Look("being sent", "turn", "idle"),
    "sent": Look("sent", "ok", "good"),
    "given_up": Look("given up", "bad", "bad"),
    "withdrawn": Look("no longer needed", "never", "idle"),
}
MAINTENANCE: Final[dict[str, Look]] = {
    "planned": Look("planned", "waiting", "idle"),
    "running": Look("running", "write", "warn"),
    "over": Look("over", "ok", "idle"),
}
RULE: Final[dict[str, Look]] = {
    "on": Look("on", "ok", "good"),
    "off": Look("off", "pause", "idle"),
}
EVENT: Final[dict[str, str]] = {
    AlarmEvent.RAISE: "It began",
    AlarmEvent.CLEAR: "It is over",
    AlarmEvent.ACKNOWLEDGE: "Acknowledged",
    AlarmEvent.WITHDRAW: "Withdrawn",
    "shelve": "Shelved",
    "unshelve": "Taken off the shelf",
    "suppress": "Suppressed: nobody is told",
    "stand": "Stands for itself again",
    "carry_over": "Found by the rule's new version too",
}
"""What happened to an alarm; names that are not here are shown as they are."""


def event_text(event: str) -> str:
    """What an event of an alarm's history says."""
    return EVENT.get(event, event.replace("_", " "))


def steps_text(state: str, severity: str, *, text: str) -> str:
    """What to do next about an alarm, in a sentence or two.

    Args:
        text: What its rule tells the operator to do; "" for nothing.
    """
    if state == AlarmState.NORMAL:
        return "Nothing: it is over, and somebody has seen it."
    if state == AlarmState.CLEARED_UNACKNOWLEDGED:
        return "It is over by itself. Acknowledge it, so that it is known that somebody has seen it."
    if state == AlarmState.ACTIVE_ACKNOWLEDGED:
        return text or "Somebody is at it. It goes away by itself when the readings are as they should be."
    first = (
        f"Acknowledge it, so that nobody else is called: {SEVERITY_SAYS.get(severity, 'as soon as you can')}."
    )
    return f"{first} {text}".strip()
