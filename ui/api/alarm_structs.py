"""Bodies, queries and answers of the API about alarms and maintenances. Times are UTC milliseconds in `_at_ms` or `_ms`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from appliance.core.limits_alarms import (
    ALARM_BULK_COUNT_MAX,
    ALARM_NOTE_LENGTH_MAX,
    RULE_SCOPE_WORD_COUNT_MAX,
)
from ui.api.notification_structs import Notification
from ui.api.structs import Answer, DeviceId, GroupId, Limit, Query, Request, Tag

StateName = Literal["normal", "active_unacknowledged", "active_acknowledged", "cleared_unacknowledged"]
SeverityName = Literal["P1", "P2", "P3"]
MaintenanceStateName = Literal["planned", "running", "over"]
AlarmId = Annotated[str, Meta(min_length=1, max_length=64)]
RuleId = Annotated[str, Meta(min_length=1, max_length=64)]
Words = Annotated[str, Meta(max_length=ALARM_NOTE_LENGTH_MAX)]
Text = Annotated[str, Meta(max_length=200)]
AlarmIds = Annotated[tuple[AlarmId, ...], Meta(min_length=1, max_length=ALARM_BULK_COUNT_MAX)]
_MANY = Meta(max_length=RULE_SCOPE_WORD_COUNT_MAX)


class AlarmQuery(Query, kw_only=True, frozen=True):
    """Which alarms: in any of these states (without, all that aren't normal; of what is shelved, those too), of these severities; of a device, a rule; of a group as such or one of
    its devices; of devices with a tag; with `q` in rule, device, series or explanation; there between `since_ms` and `until_ms`. `set_aside` is true for those
    that are shelved or suppressed, false for the others; `aside` says which of the two."""

    state: tuple[StateName, ...] = ()
    aside: Literal["shelved", "suppressed"] | None = None
    set_aside: bool | None = None
    severity: tuple[SeverityName, ...] = ()
    device: Text = ""
    rule: Text = ""
    group: Text = ""
    tag: Text = ""
    q: Text = ""
    since_ms: int | None = None
    until_ms: int | None = None
    order: Literal["attention", "newest"] = "attention"
    cursor: Text | None = None
    limit: Limit = 100


class AlarmHistoryQuery(Query, kw_only=True, frozen=True):
    """What happened between two instants, by the readings: of one device or alarm, or of all."""

    from_ms: int
    to_ms: int
    device: Text = ""
    alarm: Text = ""
    limit: Limit = 1_000


class Alarm(Answer, kw_only=True, frozen=True):
    """An alarm. `raised_at_ms`, `cleared_at_ms` and `episode_began_at_ms` are by the readings, all other times by this box's clock.

    `device_id` is empty for one of the node, the site or a group. An `episode` is what people are told of once; `raised_count` is how often it came
    within it. `stands_since_ms` is since when in it people are to be told, null while nobody was. `suppressed_by` is the maintenance or the alarm that
    explains this one, or `waiting` for one that may; `text` is what is wrong, in a sentence."""

    alarm_id: str
    rule_id: str
    rule_name: str
    rule_version: int
    device_id: str
    group_id: str
    series: str
    severity: SeverityName
    state: StateName
    is_active: bool
    is_set_aside: bool
    text: str
    value: float | None
    unit: str
    explanation: dict[str, Any]
    episode: int
    raised_count: int
    raised_total: int
    episode_began_at_ms: int
    raised_at_ms: int
    cleared_at_ms: int | None
    noted_at_ms: int
    stands_since_ms: int | None
    acknowledged_by: str
    acknowledged_at_ms: int | None
    acknowledge_note: str
    shelved_by: str
    shelved_at_ms: int | None
    shelved_until_ms: int | None
    shelve_reason: str
    suppressed_by: str
    trace_id: str
    updated_at_ms: int
    version: str


class AlarmPage(Answer, kw_only=True, frozen=True):
    """`count` is how many there are in all."""

    alarms: tuple[Alarm, ...]
    count: int
    next_cursor: str | None


class AlarmEvent(Answer, kw_only=True, frozen=True):
    """Something that befell an alarm: `event` is raise, clear, acknowledge or withdraw where its state moved, else shelve, unshelve, suppress, stand
    (it stands for itself again) or carry_over (a newer version of the rule finds the same). `actor` is empty for Homeport itself."""

    alarm_id: str
    number: int
    at_ms: int
    noted_at_ms: int
    event: str
    from_state: StateName
    to_state: StateName
    episode: int
    actor: str
    note: str
    value: float | None
    explanation: dict[str, Any]
    rule_version: int


class AlarmRule(Answer, kw_only=True, frozen=True):
    """What raised it, as it is now: `description` is the rule in words, `text` what to do, `runbook` where more stands."""

    rule_id: str
    name: str
    enabled: bool
    description: str
    text: str
    runbook: str


class AlarmDetail(Answer, kw_only=True, frozen=True):
    """An alarm with its last events, the newest last, its rule (null for one that was removed), and its last notifications, the newest
    first (null for whoever may not read them)."""

    alarm: Alarm
    rule: AlarmRule | None
    events: tuple[AlarmEvent, ...]
    notifications: tuple[Notification, ...] | None


class AlarmHistory(Answer, kw_only=True, frozen=True):
    """The newest first; `truncated` says that there are more than were asked for."""

    events: tuple[AlarmEvent, ...]
    truncated: bool


class AlarmCounts(Answer, kw_only=True, frozen=True):
    """Alarms that aren't normal, by severity and word: the states of those that stand for themselves, `shelved` and `suppressed`. `unacknowledged` is how
    many want somebody to look; `oldest_unacknowledged_ms` is since when, by severity."""

    by_severity: dict[str, dict[str, int]]
    unacknowledged: int
    oldest_unacknowledged_ms: dict[str, int]


class Acknowledgement(Request, kw_only=True, frozen=True):
    """Alarms that somebody has seen, and perhaps what they say about it."""

    alarm_ids: AlarmIds
    note: Words = ""


class Shelving(Request, kw_only=True, frozen=True):
    """Alarms that nobody is to be told of until then, and why."""

    alarm_ids: AlarmIds
    until_ms: int
    reason: Words


class Unshelving(Request, kw_only=True, frozen=True):
    alarm_ids: AlarmIds


class AlarmsActed(Answer, kw_only=True, frozen=True):
    """What it came to: alarms that changed, how many were so already, and how many ids name none that you see."""

    alarms: tuple[Alarm, ...]
    changed_count: int
    unchanged_count: int
    unknown_count: int


class MaintenanceScope(Request, kw_only=True, frozen=True):
    """All devices, or those named, in any of the groups or with any of the tags; without those of `except`."""

    all: bool = False
    devices: Annotated[tuple[DeviceId, ...], _MANY] = ()
    groups: Annotated[tuple[GroupId, ...], _MANY] = ()
    tags: Annotated[tuple[Tag, ...], _MANY] = ()
    except_: Annotated[tuple[DeviceId, ...], _MANY] = msgspec.field(default=(), name="except")


class NewMaintenance(Request, kw_only=True, frozen=True):
    """Of these devices, for that reason, from (null: now) until."""

    scope: MaintenanceScope
    reason: Words
    from_at_ms: int | None = None
    until_at_ms: int


class MaintenanceQuery(Query, kw_only=True, frozen=True):
    """In any of these states; all without."""

    state: tuple[MaintenanceStateName, ...] = ()
    limit: Limit = 100


class Maintenance(Answer, kw_only=True, frozen=True):
    """A maintenance, and how many alarms it suppresses now."""

    maintenance_id: str
    scope: MaintenanceScope
    reason: str
    from_at_ms: int
    until_at_ms: int
    state: MaintenanceStateName
    created_by: str
    created_at_ms: int
    suppressed_count: int


class MaintenanceList(Answer, kw_only=True, frozen=True):
    """That which is over last comes first."""

    maintenances: tuple[Maintenance, ...]
