"""Endpoints about twins. People set what is desired; what is reported only devices say."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.core.errors import Conflict
from appliance.management.twin import UNNAMED, SectionChange, TwinChange
from appliance.management.twin_json import check_text, decode
from appliance.management.twin_merge import Section, change_between, without_nulls
from appliance.management.twin_messages import section_change
from storage.catalog import Catalog
from storage.catalog.twins import KeptTwin, TwinChanged
from ui.api import twin_structs
from ui.api.chosen_devices import choose, each_by_itself
from ui.api.endpoint import Call, Endpoint, Reply


def twin_answer(kept: KeptTwin) -> twin_structs.Twin:
    """A twin of the catalog as the API tells it."""
    twin = kept.twin
    return twin_structs.Twin(
        device_id=kept.device_id,
        name=kept.name,
        version=twin.version,
        desired_version=str(kept.desired_version),
        desired=twin.desired,
        reported=twin.reported,
        delta=twin.delta,
        desired_at=twin.desired_at,
        reported_at=twin.reported_at,
        desired_set_at_ms=kept.desired_set_at_ms,
        reported_at_ms=kept.reported_at_ms,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinWish:
    """What somebody wants a device to be.

    Attributes:
        values: Put on top of what is desired, or instead of it; None for nothing at all.
        is_whole: Nothing else is desired. What stays as it is keeps its time.
    """

    values: Section | None
    is_whole: bool = False

    def change(self, before: Section) -> TwinChange:
        """What becomes of what was desired."""
        if self.values is None:
            return TwinChange(desired=SectionChange(is_cleared=True))
        values = change_between(before, without_nulls(self.values)) if self.is_whole else self.values
        return TwinChange(desired=SectionChange(values=values))


def wish_of(text: bytes, *, is_whole: bool) -> TwinWish:
    """What somebody wants, read strictly: a key that stands twice is refused.

    Raises:
        UsageError: `json_invalid`, `twin_request_invalid`.
    """
    value = decode(text)
    check_text(value)
    change = section_change({"desired": value}, "desired")
    assert change is not None
    return TwinWish(values=None if change.is_cleared else change.values, is_whole=is_whole)


def set_desired(
    catalog: Catalog, device_id: str, name: str, wish: TwinWish, *, expected: str | None = None
) -> TwinChanged:
    """Change what a device is wanted to be, in a transaction.

    Args:
        expected: The `desired_version` that the asker saw, None for any.
    Raises:
        Conflict: `device_decommissioned`, `twin_changed`. NotFound: `device_unknown`. And as TwinTable.update_twin.
    """
    if catalog.get_device(device_id).state == "decommissioned":
        raise Conflict(
            f"The device “{device_id}” was ended for good.",
            hint="Its twin can be looked at.",
            code="device_decommissioned",
        )
    before = catalog.find_twin(device_id, name)
    if expected is not None and str(before.desired_version) != expected:
        raise Conflict(
            "Somebody else has changed what is desired since you read it.",
            hint="Look at what is desired now, and make your change again.",
            code="twin_changed",
        )
    return catalog.update_twin(device_id, name, wish.change(before.twin.desired))


async def get_twin(call: Call) -> Reply:
    device_id, name = call.path["device_id"], call.path.get("name", UNNAMED)

    def read(reader: Catalog) -> KeptTwin:
        reader.get_device(device_id, scope=call.scope)
        return reader.get_twin(device_id, name)

    return _reply(await call.services.catalog.read(read))


async def get_named_twin(call: Call) -> Reply:
    return await get_twin(call)


async def list_twins(call: Call) -> Reply:
    device_id = call.path["device_id"]

    def read(reader: Catalog) -> list[KeptTwin]:
        reader.get_device(device_id, scope=call.scope)
        return reader.list_twins(device_id)

    twins = await call.services.catalog.read(read)
    return Reply(content=twin_structs.TwinList(device_id=device_id, twins=tuple(map(twin_answer, twins))))


async def edit_twin(call: Call) -> Reply:
    device_id, name = call.path["device_id"], call.path.get("name", UNNAMED)
    wish = wish_of(bytes(call.body.desired), is_whole=call.body.replace)

    def write(writer: Catalog) -> TwinChanged:
        writer.get_device(device_id, scope=call.scope)
        call.expect(str(writer.find_twin(device_id, name).desired_version))
        return set_desired(writer, device_id, name, wish)

    changed = await call.write(write)
    call.services.twins.desk.changed(changed)
    return _reply(changed.after)


async def edit_named_twin(call: Call) -> Reply:
    return await edit_twin(call)


async def delete_twin(call: Call) -> Reply:
    device_id, name = call.path["device_id"], call.path.get("name", UNNAMED)

    def write(writer: Catalog) -> TwinChanged:
        writer.get_device(device_id, scope=call.scope)
        call.expect(str(writer.get_twin(device_id, name).desired_version))
        return writer.delete_twin(device_id, name)

    changed = await call.write(write)
    call.services.twins.desk.changed(changed)
    return _reply(changed.after)


async def delete_named_twin(call: Call) -> Reply:
    return await delete_twin(call)


async def edit_twins_of_many(call: Call) -> Reply:
    body: twin_structs.BulkTwinEdit = call.body
    wish = wish_of(bytes(body.edit.desired), is_whole=body.edit.replace)
    device_ids = await choose(call, body.devices, body.device_count)
    made: list[TwinChanged] = []

    def do(catalog: Catalog, device_id: str) -> None:
        made.append(set_desired(catalog, device_id, body.name, wish))

    outcome = await each_by_itself(call, device_ids, do)
    for changed in made:
        call.services.twins.desk.changed(changed)
    return Reply(content=outcome)


def _reply(kept: KeptTwin) -> Reply:
    return Reply(content=twin_answer(kept), version=str(kept.desired_version))


_TWIN = "/devices/{device_id}/twin"
_NAMED = "/devices/{device_id}/twins/{name}"
_TAGS = ("twins",)
_REFUSALS = ("json_invalid", "twin_request_invalid", "twin_too_deep")
_CODES = {
    404: ("device_unknown",),
    409: ("device_decommissioned", "twin_count"),
    413: ("twin_too_large",),
    422: _REFUSALS,
}
_NAMED_CODES = {**_CODES, 422: (*_REFUSALS, "twin_name_invalid")}
ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/devices/{device_id}/twins",
        handler=list_twins,
        needs="devices.read",
        summary="List a device's twins",
        answer=twin_structs.TwinList,
        errors=(404,),
        codes={404: ("device_unknown",)},
        tags=_TAGS,
    ),
    Endpoint(
        method="GET",
        path=_TWIN,
        handler=get_twin,
        needs="devices.read",
        summary="Get a device's twin: what is desired, what is reported, what differs",
        etag=True,
        answer=twin_structs.Twin,
        errors=(404,),
        codes={404: ("device_unknown", "twin_unknown")},
        tags=_TAGS,
    ),
    Endpoint(
        method="PATCH",
        path=_TWIN,
        handler=edit_twin,
        needs="twins.write",
        action="twin.edit",
        summary="Change what a device is wanted to be; it is told at once if it listens",
        body=twin_structs.TwinEdit,
        etag=True,
        answer=twin_structs.Twin,
        errors=(404, 409),
        codes=_CODES,
        tags=_TAGS,
    ),
    Endpoint(
        method="DELETE",
        path=_TWIN,
        handler=delete_twin,
        needs="twins.write",
        action="twin.delete",
        summary="Forget a device's twin, both sides; its version goes on",
        etag=True,
        answer=twin_structs.Twin,
        errors=(404,),
        codes={404: ("device_unknown", "twin_unknown")},
        tags=_TAGS,
    ),
    Endpoint(
        method="GET",
        path=_NAMED,
        handler=get_named_twin,
        needs="devices.read",
        summary="Get one of a device's named twins",
        etag=True,
        answer=twin_structs.Twin,
        errors=(404, 422),
        codes={404: ("device_unknown", "twin_unknown"), 422: ("twin_name_invalid",)},
        tags=_TAGS,
    ),
    Endpoint(
        method="PATCH",
        path=_NAMED,
        handler=edit_named_twin,
        needs="twins.write",
        action="twin.edit",
        summary="Change what is desired in one of a device's named twins",
        body=twin_structs.TwinEdit,
        etag=True,
        answer=twin_structs.Twin,
        errors=(404, 409),
        codes=_NAMED_CODES,
        tags=_TAGS,
    ),
    Endpoint(
        method="DELETE",
        path=_NAMED,
        handler=delete_named_twin,
        needs="twins.write",
        action="twin.delete",
        summary="Forget one of a device's named twins",
        etag=True,
        answer=twin_structs.Twin,
        errors=(404, 422),
        codes={404: ("device_unknown", "twin_unknown"), 422: ("twin_name_invalid",)},
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path="/twins/bulk",
        handler=edit_twins_of_many,
        needs="twins.write",
        action="twin.edit",
        idempotent=True,
        summary="Set the same desired values for up to 1,000 devices; the answer says of each what came of it",
        body=twin_structs.BulkTwinEdit,
        is_bulk=True,
        answer=twin_structs.BulkOutcome,
        codes={
            409: ("device_count_unconfirmed", "device_count_differs"),
            422: (*_REFUSALS, "devices_not_chosen", "devices_too_many"),
        },
        tags=_TAGS,
    ),
)
