"""Endpoints about retention classes: how long readings are kept, by their metric."""

from __future__ import annotations

from msgspec import UNSET

from appliance.management.retention import Retention, RetentionClass, default_class
from ui.api import archive_structs
from ui.api.archive import keeper_of
from ui.api.endpoint import Call, Endpoint, Reply
from ui.services import Services
from ui.storage_room import disk_room_bytes


async def read_retention(services: Services) -> Retention:
    """All classes, and the configuration's for the rest."""
    classes = await services.catalog.read(lambda reader: reader.retention_classes())
    store = services.config.store
    return Retention(classes, default_class(store.hot_days, store.archive_days))


async def list_retention_classes(call: Call) -> Reply:
    return Reply(content=await _answer(call.services))


async def set_retention_class(call: Call) -> Reply:
    wish: archive_structs.RetentionWish = call.body
    made = RetentionClass(
        class_id=call.path["class_id"],
        metric=wish.metric,
        hot_days=wish.hot_days,
        archive_days=wish.archive_days,
    )
    position = None if wish.position is UNSET else wish.position
    await call.write(lambda writer: writer.set_retention_class(made, position=position))
    return Reply(content=await _answer(call.services))


async def remove_retention_class(call: Call) -> Reply:
    class_id = call.path["class_id"]
    await call.write(lambda writer: writer.remove_retention_class(class_id))
    return Reply(content=None)


async def _answer(services: Services) -> archive_structs.RetentionClassList:
    retention = await read_retention(services)
    forecast = keeper_of(services).forecast(await disk_room_bytes(services))
    # The keeper's answer may be a moment older than the classes.
    found = {each.class_id: each for each in forecast.classes}
    classes = []
    for each in retention.all():
        taken = found.get(each.class_id)
        archive_bytes = taken.archive_bytes if taken is not None else 0
        classes.append(
            archive_structs.RetentionClass(
                class_id=each.class_id,
                metric=each.metric,
                hot_days=each.hot_days,
                archive_days=each.archive_days,
                rows_per_day=round(taken.rows_per_day) if taken is not None else 0,
                store_bytes=round(taken.store_bytes) if taken is not None else 0,
                archive_bytes=None if archive_bytes is None else round(archive_bytes),
            )
        )
    return archive_structs.RetentionClassList(classes=tuple(classes))


_TAGS = ("archive",)
ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/retention",
        handler=list_retention_classes,
        needs="archive.read",
        summary="List retention classes in their order, with what each takes",
        answer=archive_structs.RetentionClassList,
        tags=_TAGS,
    ),
    Endpoint(
        method="PUT",
        path="/retention/{class_id}",
        handler=set_retention_class,
        needs="archive.manage",
        action="retention.set",
        summary="Make a retention class, or change it",
        body=archive_structs.RetentionWish,
        answer=archive_structs.RetentionClassList,
        errors=(404,),
        tags=_TAGS,
    ),
    Endpoint(
        method="DELETE",
        path="/retention/{class_id}",
        handler=remove_retention_class,
        needs="archive.manage",
        action="retention.remove",
        summary="Remove a retention class: its metrics are of the next one that fits",
        errors=(404,),
        tags=_TAGS,
    ),
)
