"""Endpoints about on-call lists: of which alarms whom is told, when and how often."""

from __future__ import annotations

from datetime import tzinfo

from msgspec import UNSET

from appliance.management.on_call import OnCallList
from storage.catalog import Catalog
from storage.catalog.on_call_lists import OnCallRow
from storage.catalog.site_zone import site_zone
from ui.api import notification_structs as structs
from ui.api.endpoint import Call, Endpoint, Reply


def list_answer(row: OnCallRow, now_ms: int, zone: tzinfo) -> structs.OnCallListAnswer:
    turn = OnCallList(row.list_id, row.name, row.definition).turn(now_ms, zone)
    return structs.OnCallListAnswer(
        list_id=row.list_id,
        name=row.name,
        definition=row.definition,
        enabled=row.is_enabled,
        now=structs.OnCallNow(members=turn.members, targets=turn.targets, fallback=turn.is_fallback),
        created_at_ms=row.created_at_ms,
        updated_at_ms=row.updated_at_ms,
        version=str(row.version),
    )


async def list_on_call_lists(call: Call) -> Reply:
    rows, zone = await call.services.catalog.read(lambda reader: (reader.list_on_call(), site_zone(reader)))
    now_ms = call.services.clock.now_ms()
    return Reply(content=structs.OnCallLists(lists=tuple(list_answer(row, now_ms, zone) for row in rows)))


async def get_on_call_list(call: Call) -> Reply:
    list_id = call.path["list_id"]
    row, zone = await call.services.catalog.read(
        lambda reader: (reader.get_on_call(list_id), site_zone(reader))
    )
    return _reply(call, row, zone)


async def add_on_call_list(call: Call) -> Reply:
    wish: structs.NewOnCallList = call.body
    desk = call.services.notifications
    row, zone = await call.write(
        lambda writer: (
            desk.add_on_call(writer, name=wish.name, definition=wish.definition, is_enabled=wish.enabled),
            site_zone(writer),
        )
    )
    return _reply(call, row, zone)


async def edit_on_call_list(call: Call) -> Reply:
    wish: structs.OnCallListEdit = call.body
    list_id = call.path["list_id"]
    desk = call.services.notifications

    def write(writer: Catalog) -> tuple[OnCallRow, tzinfo]:
        call.expect(str(writer.get_on_call(list_id).version))
        edited = desk.edit_on_call(
            writer,
            list_id,
            name=None if wish.name is UNSET else wish.name,
            definition=None if wish.definition is UNSET else wish.definition,
            is_enabled=None if wish.enabled is UNSET else wish.enabled,
        )
        return edited, site_zone(writer)

    row, zone = await call.write(write)
    return _reply(call, row, zone)


async def remove_on_call_list(call: Call) -> Reply:
    list_id = call.path["list_id"]
    await call.write(lambda writer: writer.remove_on_call(list_id))
    return Reply(content=None)


def _reply(call: Call, row: OnCallRow, zone: tzinfo) -> Reply:
    return Reply(content=list_answer(row, call.services.clock.now_ms(), zone), version=str(row.version))


_LIST = "/on-call-lists/{list_id}"
_TAGS = ("notifications",)
_UNKNOWN = ("on_call_unknown",)
_NAMED = ("target_unknown", "group_unknown")
ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/on-call-lists",
        handler=list_on_call_lists,
        needs="notifications.read",
        summary="List on-call lists, and who has its turn now",
        answer=structs.OnCallLists,
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path="/on-call-lists",
        handler=add_on_call_list,
        needs="notifications.manage",
        action="on_call_list.create",
        idempotent=True,
        summary="Add an on-call list",
        body=structs.NewOnCallList,
        answer=structs.OnCallListAnswer,
        status=201,
        errors=(404, 409, 422),
        codes={
            404: _NAMED,
            409: ("on_call_exists",),
            422: ("on_call_invalid",),
            429: ("on_call_count",),
        },
        tags=_TAGS,
    ),
    Endpoint(
        method="GET",
        path=_LIST,
        handler=get_on_call_list,
        needs="notifications.read",
        summary="Get an on-call list",
        etag=True,
        answer=structs.OnCallListAnswer,
        errors=(404,),
        codes={404: _UNKNOWN},
        tags=_TAGS,
    ),
    Endpoint(
        method="PATCH",
        path=_LIST,
        handler=edit_on_call_list,
        needs="notifications.manage",
        action="on_call_list.edit",
        summary="Change an on-call list or switch it on or off",
        body=structs.OnCallListEdit,
        etag=True,
        answer=structs.OnCallListAnswer,
        errors=(404, 409, 422),
        codes={404: (*_UNKNOWN, *_NAMED), 409: ("on_call_exists",), 422: ("on_call_invalid",)},
        tags=_TAGS,
    ),
    Endpoint(
        method="DELETE",
        path=_LIST,
        handler=remove_on_call_list,
        needs="notifications.manage",
        action="on_call_list.remove",
        summary="Remove an on-call list",
        errors=(404,),
        codes={404: _UNKNOWN},
        tags=_TAGS,
    ),
)
