"""Endpoints about tags: words that people give devices. Whoever is limited to some groups sees and changes those of their devices."""

from __future__ import annotations

from ui.api import device_structs
from ui.api.chunks import write_in_chunks
from ui.api.endpoint import Call, Endpoint, Reply


async def list_tags(call: Call) -> Reply:
    query: device_structs.TagQuery = call.query
    tags, next_cursor = await call.services.catalog.read(
        lambda reader: reader.list_tags(scope=call.scope, cursor=query.cursor, limit=query.limit)
    )
    return Reply(
        content=device_structs.TagPage(
            tags=tuple(
                device_structs.TagCount(tag=each.tag, device_count=each.device_count) for each in tags
            ),
            next_cursor=next_cursor,
        )
    )


async def rename_tag(call: Call) -> Reply:
    wish: device_structs.TagRename = call.body
    return await _change(call, wish.tag, wish.new)


async def remove_tag(call: Call) -> Reply:
    query: device_structs.TagName = call.query
    return await _change(call, query.tag, None)


async def _change(call: Call, tag: str, new: str | None) -> Reply:
    count = await write_in_chunks(
        call, lambda writer, count: writer.change_tag(tag, new, scope=call.scope, count_max=count)
    )
    return Reply(content=device_structs.DevicesChanged(device_count=count))


_TAGS = ("tags",)
ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/tags",
        handler=list_tags,
        needs="devices.read",
        summary="List tags with how many devices have each",
        query=device_structs.TagQuery,
        answer=device_structs.TagPage,
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path="/tags/rename",
        handler=rename_tag,
        needs="devices.operate",
        action="tag.rename",
        idempotent=True,
        summary="Rename a tag on every device that has it",
        body=device_structs.TagRename,
        answer=device_structs.DevicesChanged,
        is_bulk=True,
        tags=_TAGS,
    ),
    Endpoint(
        method="DELETE",
        path="/tags",
        handler=remove_tag,
        needs="devices.operate",
        action="tag.remove",
        summary="Take a tag off every device that has it",
        query=device_structs.TagName,
        answer=device_structs.DevicesChanged,
        is_bulk=True,
        tags=_TAGS,
    ),
)
