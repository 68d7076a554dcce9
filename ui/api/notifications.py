"""Endpoints about notifications: what was to be told, and what came of it."""

from __future__ import annotations

import msgspec

from storage.catalog.notifications import Notification
from ui.api import notification_structs as structs
from ui.api.endpoint import Call, Endpoint, Reply


def notification_answer(found: Notification) -> structs.Notification:
    return structs.Notification(
        key=found.notification_id,
        alarm_id=found.alarm_id,
        episode=found.episode,
        step=found.step,
        target_id=found.target_id,
        target_name=found.target_name,
        state=found.state,
        attempts=found.attempts,
        due_at_ms=found.due_at_ms,
        next_at_ms=found.next_at_ms,
        error=found.error,
        outcome=found.outcome,
        created_at_ms=found.created_at_ms,
        sent_at_ms=found.sent_at_ms,
        trace_id=found.trace_id,
    )


async def list_notifications(call: Call) -> Reply:
    query: structs.NotificationQuery = call.query
    page = await call.services.catalog.read(
        lambda reader: reader.list_notifications(
            limit=query.limit,
            cursor=query.cursor,
            states=query.state,
            alarm_id=query.alarm_id,
            target_id=query.target_id,
            since_ms=query.since_ms,
        )
    )
    return Reply(
        content=structs.NotificationPage(
            notifications=tuple(map(notification_answer, page.notifications)), next_cursor=page.next_cursor
        )
    )


async def get_notification(call: Call) -> Reply:
    key = call.path["key"]
    found = await call.services.catalog.read(lambda reader: reader.get_notification(key))
    return Reply(
        content=structs.NotificationDetail(
            notification=notification_answer(found), body=msgspec.json.decode(found.body)
        )
    )


_TAGS = ("notifications",)
ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/notifications",
        handler=list_notifications,
        needs="notifications.read",
        summary="List notifications, the newest first",
        query=structs.NotificationQuery,
        answer=structs.NotificationPage,
        codes={400: ("cursor_invalid",)},
        tags=_TAGS,
    ),
    Endpoint(
        method="GET",
        path="/notifications/{key}",
        handler=get_notification,
        needs="notifications.read",
        summary="Get a notification with its body",
        answer=structs.NotificationDetail,
        errors=(404,),
        codes={404: ("notification_unknown",)},
        tags=_TAGS,
    ),
)
