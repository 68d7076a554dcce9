"""Endpoints about targets of notifications: where somebody is told."""

from __future__ import annotations

from msgspec import UNSET

from appliance.management.audit import Act
from storage.catalog import Catalog
from storage.catalog.notification_targets import NotificationTarget
from ui.api import notification_structs as structs
from ui.api.endpoint import Call, Endpoint, Reply
from ui.api.notifications import notification_answer
from ui.auth import actor_of


def target_answer(target: NotificationTarget) -> structs.Target:
    return structs.Target(
        target_id=target.target_id,
        name=target.name,
        kind=target.kind,
        settings=target.settings,
        has_secret=target.has_secret,
        enabled=target.is_enabled,
        created_at_ms=target.created_at_ms,
        updated_at_ms=target.updated_at_ms,
        version=str(target.version),
    )


async def list_notification_targets(call: Call) -> Reply:
    targets = await call.services.catalog.read(lambda reader: reader.list_targets())
    return Reply(content=structs.TargetList(targets=tuple(map(target_answer, targets))))


async def get_notification_target(call: Call) -> Reply:
    target_id = call.path["target_id"]
    target = await call.services.catalog.read(lambda reader: reader.get_target(target_id))
    return Reply(content=target_answer(target), version=str(target.version))


async def add_notification_target(call: Call) -> Reply:
    wish: structs.NewTarget = call.body
    desk = call.services.notifications
    target = await call.write(
        lambda writer: desk.add_target(
            writer, name=wish.name, settings=wish.settings, secret=wish.secret, is_enabled=wish.enabled
        )
    )
    return Reply(content=target_answer(target), version=str(target.version))


async def edit_notification_target(call: Call) -> Reply:
    wish: structs.TargetEdit = call.body
    target_id = call.path["target_id"]
    desk = call.services.notifications

    def write(writer: Catalog) -> NotificationTarget:
        call.expect(str(writer.get_target(target_id).version))
        return desk.edit_target(
            writer,
            target_id,
            name=None if wish.name is UNSET else wish.name,
            settings=None if wish.settings is UNSET else wish.settings,
            secret=None if wish.secret is UNSET else wish.secret,
            is_enabled=None if wish.enabled is UNSET else wish.enabled,
        )

    target = await call.write(write)
    return Reply(content=target_answer(target), version=str(target.version))


async def remove_notification_target(call: Call) -> Reply:
    target_id = call.path["target_id"]
    await call.write(lambda writer: writer.remove_target(target_id))
    return Reply(content=None)


async def try_notification_target(call: Call) -> Reply:
    by = Act(action=call.action, actor=await actor_of(call.request))
    sent = await call.services.notifications.try_target(call.path["target_id"], by=by)
    return Reply(content=notification_answer(sent))


_TARGET = "/notification-targets/{target_id}"
_TAGS = ("notifications",)
_UNKNOWN = {404: ("target_unknown",)}
ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/notification-targets",
        handler=list_notification_targets,
        needs="notifications.read",
        summary="List targets of notifications",
        answer=structs.TargetList,
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path="/notification-targets",
        handler=add_notification_target,
        needs="notifications.manage",
        action="notification_target.create",
        idempotent=True,
        summary="Add a target: a webhook, a mail address, a topic of the broker",
        body=structs.NewTarget,
        answer=structs.Target,
        status=201,
        errors=(409, 422),
        codes={409: ("target_exists",), 422: ("target_invalid",), 429: ("target_count",)},
        tags=_TAGS,
    ),
    Endpoint(
        method="GET",
        path=_TARGET,
        handler=get_notification_target,
        needs="notifications.read",
        summary="Get a target, without its secret",
        etag=True,
        answer=structs.Target,
        errors=(404,),
        codes=_UNKNOWN,
        tags=_TAGS,
    ),
    Endpoint(
        method="PATCH",
        path=_TARGET,
        handler=edit_notification_target,
        needs="notifications.manage",
        action="notification_target.edit",
        summary="Change a target or switch it on or off",
        body=structs.TargetEdit,
        etag=True,
        answer=structs.Target,
        errors=(404, 409, 422),
        codes={**_UNKNOWN, 409: ("target_exists",), 422: ("target_invalid", "target_secret_wanted")},
        tags=_TAGS,
    ),
    Endpoint(
        method="DELETE",
        path=_TARGET,
        handler=remove_notification_target,
        needs="notifications.manage",
        action="notification_target.remove",
        summary="Remove a target that no on-call list names",
        errors=(404, 409),
        codes={**_UNKNOWN, 409: ("target_in_use",)},
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path=f"{_TARGET}/test",
        handler=try_notification_target,
        needs="notifications.manage",
        action="notification_target.test",
        summary="Send a try now, and answer with what came of it",
        answer=structs.Notification,
        errors=(404,),
        codes=_UNKNOWN,
        tags=_TAGS,
    ),
)
