"""Endpoints about groups of devices. Whoever is limited to some sees these."""

from __future__ import annotations

from msgspec import UNSET

from storage import catalog
from storage.catalog import Catalog
from ui.api import device_structs
from ui.api.chunks import write_in_chunks
from ui.api.endpoint import Call, Endpoint, Reply


def group_answer(group: catalog.Group) -> device_structs.Group:
    return device_structs.Group(
        group_id=group.group_id,
        name=group.name,
        description=group.description,
        created_at_ms=group.created_at_ms,
        updated_at_ms=group.updated_at_ms,
        device_count=group.device_count,
        version=str(group.version),
    )


async def list_groups(call: Call) -> Reply:
    groups = await call.services.catalog.read(lambda reader: reader.list_groups(scope=call.scope))
    return Reply(content=device_structs.GroupList(groups=tuple(group_answer(group) for group in groups)))


async def get_group(call: Call) -> Reply:
    group_id = call.path["group_id"]
    group = await call.services.catalog.read(lambda reader: reader.get_group(group_id, scope=call.scope))
    return Reply(content=group_answer(group), version=str(group.version))


async def create_group(call: Call) -> Reply:
    new: device_structs.NewGroup = call.body
    group = await call.write(
        lambda writer: writer.add_group(new.group_id, name=new.name, description=new.description)
    )
    return Reply(content=group_answer(group), version=str(group.version))


async def edit_group(call: Call) -> Reply:
    wish: device_structs.GroupEdit = call.body
    group_id = call.path["group_id"]

    def write(writer: Catalog) -> catalog.Group:
        call.expect(str(writer.get_group(group_id).version))
        return writer.edit_group(
            group_id,
            name=None if wish.name is UNSET else wish.name,
            description=None if wish.description is UNSET else wish.description,
        )

    group = await call.write(write)
    return Reply(content=group_answer(group), version=str(group.version))


async def remove_group(call: Call) -> Reply:
    query: device_structs.GroupRemoval = call.query
    group_id = call.path["group_id"]
    if query.force:
        # Asked for first: devices stay where they are when the group can't go.
        await call.services.catalog.read(lambda reader: reader.check_group_unnamed(group_id))
        await write_in_chunks(call, lambda writer, count: writer.clean_group(group_id, count_max=count))
    await call.write(lambda writer: writer.remove_group(group_id))
    return Reply(content=None)


_GROUP = "/groups/{group_id}"
_TAGS = ("groups",)
ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/groups",
        handler=list_groups,
        needs="groups.read",
        summary="List groups of devices",
        answer=device_structs.GroupList,
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path="/groups",
        handler=create_group,
        needs="groups.manage",
        action="group.create",
        idempotent=True,
        summary="Make a group",
        body=device_structs.NewGroup,
        answer=device_structs.Group,
        status=201,
        errors=(409,),
        tags=_TAGS,
    ),
    Endpoint(
        method="GET",
        path=_GROUP,
        handler=get_group,
        needs="groups.read",
        summary="Get a group",
        etag=True,
        answer=device_structs.Group,
        errors=(404,),
        tags=_TAGS,
    ),
    Endpoint(
        method="PATCH",
        path=_GROUP,
        handler=edit_group,
        needs="groups.manage",
        action="group.edit",
        summary="Change a group's name or description",
        body=device_structs.GroupEdit,
        etag=True,
        answer=device_structs.Group,
        errors=(404,),
        tags=_TAGS,
    ),
    Endpoint(
        method="DELETE",
        path=_GROUP,
        handler=remove_group,
        needs="groups.manage",
        action="group.remove",
        summary="Remove a group that no account, API token or claim names",
        query=device_structs.GroupRemoval,
        is_bulk=True,
        errors=(404, 409),
        tags=_TAGS,
    ),
)
