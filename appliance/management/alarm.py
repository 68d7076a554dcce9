"""An alarm as it is kept, and what a move of it is. Pure.

Must not know: tables, how it is moved (alarm_steps.py).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from appliance.management.alarms import ACTIVE, AlarmState
from appliance.management.rule import Severity
from appliance.management.rule_transition import AlarmKey

WAITING: Final = "waiting"
"""`suppressed_by` of an alarm that may yet be explained by another one: nobody is told until then."""
ID_DIGITS: Final = 24
"""96 bits of a hash: that two keys share an id is beyond chance."""


class Word(StrEnum):
    """What befalls an alarm and moves its state nowhere (alarms.AlarmEvent has what does)."""

    SHELVE = "shelve"
    UNSHELVE = "unshelve"
    SUPPRESS = "suppress"
    STAND = "stand"
    """What suppressed it is over, and it is active still: it stands for itself."""
    CARRY_OVER = "carry_over"
    """A new version of its rule finds the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """One alarm. Times are UTC ms; `raised_at_ms`, `cleared_at_ms` and `episode_began_at_ms` are by the readings, all others by this node's clock.

    Attributes:
        rule_name, severity, unit: As they were when it was raised last.
        device_id: "" for one of the node, the site or a group. group_id: "" for none. series: The metric, or what is watched.
        episode: Counts what people are told of, from 1: raised again soon, or while nobody has acknowledged it, is the same one.
        raised_count: How often in this episode. raised_total: How often since the row was made.
        noted_at_ms: When this node learned of the last raise, or that it stands for itself again.
        stands_since_ms: Since when in this episode people are to be told; None while it was shelved or suppressed all of it.
        suppressed_by: A maintenance, the alarm that explains it, WAITING, or "".
        suppressed_until_ms: Of WAITING: until when.
        event_number: Of its last event.
        version: Of the row, for entity tags.
    """

    alarm_id: str
    rule_id: str
    rule_name: str
    rule_version: int
    device_id: str = ""
    group_id: str = ""
    series: str = ""
    severity: Severity
    state: AlarmState = AlarmState.NORMAL
    episode: int = 1
    raised_count: int = 0
    raised_total: int = 0
    episode_began_at_ms: int
    raised_at_ms: int
    cleared_at_ms: int | None = None
    noted_at_ms: int
    stands_since_ms: int | None = None
    acknowledged_by: str = ""
    acknowledged_at_ms: int | None = None
    acknowledge_note: str = ""
    value: float | None = None
    unit: str = ""
    explanation: Mapping[str, Any] = field(default_factory=dict)
    shelved_by: str = ""
    shelved_at_ms: int | None = None
    shelved_until_ms: int | None = None
    shelve_reason: str = ""
    suppressed_by: str = ""
    suppressed_until_ms: int | None = None
    event_number: int = 0
    trace_id: str = ""
    updated_at_ms: int
    version: int = field(default=0, compare=False)

    @property
    def key(self) -> AlarmKey:
        return AlarmKey(self.rule_id, self.device_id, self.group_id, self.series)

    @property
    def is_active(self) -> bool:
        return self.state in ACTIVE

    @property
    def is_shelved(self) -> bool:
        return self.shelved_until_ms is not None

    @property
    def is_set_aside(self) -> bool:
        """Whether nobody is told of it for now: shelved or suppressed."""
        return self.is_shelved or bool(self.suppressed_by)

    @property
    def text(self) -> str:
        """What is wrong, in a sentence."""
        found = self.explanation.get("text", "")
        return found if isinstance(found, str) else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmMove:
    """Something that befell an alarm.

    Attributes:
        before: None for one that wasn't there. after: As it is now.
        event: An AlarmEvent or a Word.
        at_ms: When it happened, by the readings or by whoever did it, UTC ms. noted_at_ms: When this node learned of it.
        actor: "" for Homeport itself.
        value, explanation, rule_version: Of what was found; of the rest nothing.
    """

    before: Alarm | None
    after: Alarm
    event: str
    at_ms: int
    noted_at_ms: int
    actor: str = ""
    note: str = ""
    value: float | None = None
    explanation: Mapping[str, Any] = field(default_factory=dict)
    rule_version: int = 0

    @property
    def from_state(self) -> AlarmState:
        return self.before.state if self.before is not None else AlarmState.NORMAL

    @property
    def is_new_episode(self) -> bool:
        """Whether people are to hear of it as of something new."""
        return self.before is None or self.after.episode != self.before.episode

    @property
    def begins_to_stand(self) -> bool:
        """Whether from now on somebody is to be told of this episode."""
        return self.after.stands_since_ms is not None and (
            self.is_new_episode or (self.before is not None and self.before.stands_since_ms is None)
        )


def alarm_id_of(key: AlarmKey) -> str:
    """The id of the alarm of a key: the same on every node, so that what two of them found is one row."""
    parts = json.dumps([key.rule_id, key.device_id, key.group_id, key.series], ensure_ascii=False)
    return hashlib.sha256(parts.encode("utf-8", "surrogatepass")).hexdigest()[:ID_DIGITS]
