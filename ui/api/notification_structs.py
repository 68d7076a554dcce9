"""What the endpoints about notifications take and answer. Settings are told apart by their `kind`: docs/NOTIFICATIONS.md."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from appliance.core.limits_notifications import (
    NOTIFICATION_SECRET_BYTES_MAX,
    NOTIFICATION_TARGET_NAME_LENGTH_MAX,
    ON_CALL_LIST_NAME_LENGTH_MAX,
)
from appliance.management.notification_targets import Email, Mqtt, Webhook
from appliance.management.on_call import OnCallDefinition
from ui.api.structs import Answer, Limit, Query, Request

TargetName = Annotated[str, Meta(min_length=1, max_length=NOTIFICATION_TARGET_NAME_LENGTH_MAX)]
ListName = Annotated[str, Meta(min_length=1, max_length=ON_CALL_LIST_NAME_LENGTH_MAX)]
Secret = Annotated[str, Meta(max_length=NOTIFICATION_SECRET_BYTES_MAX)]
Settings = Webhook | Email | Mqtt
State = Literal["waiting", "sending", "sent", "given_up", "withdrawn"]
_Id = Annotated[str, Meta(max_length=100)]


class NewTarget(Request, kw_only=True, frozen=True):
    """A target to add. `secret` signs a webhook's requests, or is a mail account's password; it is never answered."""

    name: TargetName
    settings: Settings
    secret: Secret = ""
    enabled: bool = True


class TargetEdit(Request, kw_only=True, frozen=True):
    """What is to change of a target; what is left out stays, a secret of "" takes it away."""

    name: TargetName | UnsetType = UNSET
    settings: Settings | UnsetType = UNSET
    secret: Secret | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET


class Target(Answer, kw_only=True, frozen=True):
    """A target. `version` is another after every change."""

    target_id: str
    name: str
    kind: Literal["webhook", "email", "mqtt"]
    settings: Settings
    has_secret: bool
    enabled: bool
    created_at_ms: int
    updated_at_ms: int
    version: str


class TargetList(Answer, kw_only=True, frozen=True):
    """All targets by name."""

    targets: tuple[Target, ...]


class NewOnCallList(Request, kw_only=True, frozen=True):
    """An on-call list to add; what its definition leaves out is as most sites want it."""

    name: ListName
    definition: OnCallDefinition
    enabled: bool = True


class OnCallListEdit(Request, kw_only=True, frozen=True):
    """What is to change of a list; what is left out stays."""

    name: ListName | UnsetType = UNSET
    definition: OnCallDefinition | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET


class OnCallNow(Answer, kw_only=True, frozen=True):
    """Who has its turn now. `fallback`: nobody has, so all of the list are told."""

    members: tuple[str, ...]
    targets: tuple[str, ...]
    fallback: bool


class OnCallListAnswer(Answer, kw_only=True, frozen=True):
    """An on-call list. `version` is another after every change."""

    list_id: str
    name: str
    definition: OnCallDefinition
    enabled: bool
    now: OnCallNow
    created_at_ms: int
    updated_at_ms: int
    version: str


class OnCallLists(Answer, kw_only=True, frozen=True):
    """All lists by name."""

    lists: tuple[OnCallListAnswer, ...]


class NotificationQuery(Query, kw_only=True, frozen=True):
    """Which notifications: in these states, of an alarm, to a target, made since then."""

    state: tuple[State, ...] = ()
    alarm_id: _Id | None = None
    target_id: _Id | None = None
    since_ms: Annotated[int, Meta(ge=0)] | None = None
    cursor: _Id | None = None
    limit: Limit = 100


class Notification(Answer, kw_only=True, frozen=True):
    """One notification: the key under which the receiver got it, what it is of, and what came of it. `error` is why the last attempt
    failed, `outcome` what the receiver said."""

    key: str
    alarm_id: str
    episode: int
    step: str
    target_id: str
    target_name: str
    state: State
    attempts: int
    due_at_ms: int
    next_at_ms: int
    error: str
    outcome: str
    created_at_ms: int
    sent_at_ms: int | None
    trace_id: str


class NotificationPage(Answer, kw_only=True, frozen=True):
    """Notifications, the newest first. Give `next_cursor` as `cursor` for the next page; null at the end."""

    notifications: tuple[Notification, ...]
    next_cursor: str | None


class NotificationDetail(Answer, kw_only=True, frozen=True):
    """A notification with the body that was or is sent."""

    notification: Notification
    body: dict[str, Any]
