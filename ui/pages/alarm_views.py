"""What the templates of alarms, maintenance and notifications are given: plain frozen values, ready to print. Times are UTC ms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from appliance.management.alarms import ACTIVE, UNACKNOWLEDGED
from ui.pages.addresses import alarm_url, device_url, rule_url
from ui.pages.alarm_words import ALARM, ASIDE, MAINTENANCE, NOTIFICATION, RULE, SEVERITY, event_text
from ui.pages.looks import UNKNOWN, Look
from ui.pages.views import dom_id

FLAPPING_COUNT: Final = 3
"""From so many times within one episode on an alarm is said to come and go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmView:
    """An alarm as a row and as the head of its page.

    Attributes:
        text: What is so, in a sentence. value: With its unit, "" for none.
        since_ms: When this episode began, by the readings. raised_count: How often within it.
        because: Why it is suppressed, in words; "" where it isn't. because_url: Where that is shown.
        shelved_until_ms: None where it isn't shelved now.
    """

    alarm_id: str
    severity: str
    state: str
    rule_id: str
    rule_name: str
    device_id: str = ""
    device_name: str = ""
    group_id: str = ""
    series: str = ""
    text: str = ""
    value: str = ""
    since_ms: int
    raised_at_ms: int
    cleared_at_ms: int | None = None
    raised_count: int = 1
    acknowledged_by: str = ""
    acknowledged_at_ms: int | None = None
    acknowledge_note: str = ""
    shelved_by: str = ""
    shelved_until_ms: int | None = None
    shelve_reason: str = ""
    because: str = ""
    because_url: str = ""

    @property
    def dom_id(self) -> str:
        return dom_id("a", self.alarm_id)

    @property
    def url(self) -> str:
        return alarm_url(self.alarm_id)

    @property
    def rule_url(self) -> str:
        return rule_url(self.rule_id)

    @property
    def device_url(self) -> str:
        return device_url(self.device_id)

    @property
    def look(self) -> Look:
        return ALARM.get(self.state, UNKNOWN)

    @property
    def severity_look(self) -> Look:
        return SEVERITY.get(self.severity, UNKNOWN)

    @property
    def asides(self) -> tuple[Look, ...]:
        """What stands beside its state."""
        found = []
        if self.shelved_until_ms is not None:
            found.append(ASIDE["shelved"])
        if self.because:
            found.append(ASIDE["suppressed"])
        if self.raised_count >= FLAPPING_COUNT:
            found.append(ASIDE["flapping"])
        return tuple(found)

    @property
    def is_active(self) -> bool:
        return self.state in ACTIVE

    @property
    def needs_acknowledging(self) -> bool:
        return self.state in UNACKNOWLEDGED

    @property
    def is_set_aside(self) -> bool:
        """Nobody is told of it."""
        return self.shelved_until_ms is not None or bool(self.because)

    @property
    def where(self) -> str:
        """What it is about, for those who only hear it."""
        about = self.device_id or (f"group {self.group_id}" if self.group_id else "this site")
        return f"{about} {self.series}".strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class EventView:
    """A move of an alarm; `actor` is "" for Homeport itself. `to` is its state afterwards."""

    at_ms: int
    event: str
    to: str
    actor: str = ""
    note: str = ""
    value: str = ""
    alarm: AlarmView | None = None

    @property
    def text(self) -> str:
        return event_text(self.event)

    @property
    def look(self) -> Look:
        return ALARM.get(self.to, UNKNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationView:
    """What was to be sent to whom, and what came of it; `says` is the outcome or the error in words."""

    notification_id: str
    target: str
    step: str
    state: str
    attempts: int
    created_at_ms: int
    sent_at_ms: int | None = None
    next_at_ms: int | None = None
    says: str = ""
    alarm_url: str = ""
    about: str = ""

    @property
    def look(self) -> Look:
        return NOTIFICATION.get(self.state, UNKNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class MaintenanceView:
    """A time in which alarms of some devices are told to nobody; `state` is planned, running or over."""

    maintenance_id: str
    scope: str
    reason: str
    from_ms: int
    until_ms: int
    created_by: str
    state: str

    @property
    def look(self) -> Look:
        return MAINTENANCE[self.state]


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleView:
    """A rule as a row and as the head of its page.

    Attributes:
        says: What it looks for, in a sentence. scope: For which devices.
        active: How many of its alarms are active.
    """

    rule_id: str
    name: str
    says: str
    scope: str
    severity: str
    is_enabled: bool
    is_built_in: bool = False
    active: int = 0

    @property
    def url(self) -> str:
        return rule_url(self.rule_id)

    @property
    def look(self) -> Look:
        return RULE["on" if self.is_enabled else "off"]

    @property
    def severity_look(self) -> Look:
        return SEVERITY.get(self.severity, UNKNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class SectionView:
    """A list of alarms with its head; `total` counts those that are not shown too."""

    key: str
    title: str
    rows: tuple[AlarmView, ...]
    total: int
