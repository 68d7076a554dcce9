"""Many devices of a filter, confirmed by their number, each changed by itself in short transactions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from http import HTTPStatus

from appliance.core.errors import Conflict, HomeportError, UsageError
from appliance.core.limits import CATALOG_CHUNK_MS, CATALOG_CHUNK_ROW_COUNT_MAX, DEVICE_BULK_COUNT_MAX
from storage.catalog import Catalog
from storage.catalog.device_import import OF_THE_ROW
from ui.api.endpoint import Call
from ui.api.twin_structs import BulkDone, BulkOutcome, DeviceChoice
from ui.problem import status_of

Do = Callable[[Catalog, str], str | None]
"""Changes one device's things and gives a command's id, or None."""


async def choose(call: Call, choice: DeviceChoice, expected_count: int | None) -> list[str]:
    """The ids of the devices, in order.

    Raises:
        Conflict: `device_count_unconfirmed`, `device_count_differs`: they aren't as many as the asker meant.
        UsageError: `devices_not_chosen`, `devices_too_many`.
    """
    if choice == DeviceChoice():
        raise UsageError(
            "No devices are chosen.",
            hint="Say ids, groups, tags or q; a change of every device there is must be meant.",
            code="devices_not_chosen",
        )

    def read(reader: Catalog) -> tuple[int, list[str]]:
        chosen = {
            "states": ("active",),
            "ids": choice.ids or None,
            "groups": choice.groups,
            "tags": choice.tags,
            "q": choice.q,
            "scope": call.scope,
        }
        page = reader.list_devices(limit=DEVICE_BULK_COUNT_MAX, **chosen)  # type: ignore[arg-type]
        return reader.count_devices(**chosen), [each.device_id for each in page.devices]  # type: ignore[arg-type]

    count, device_ids = await call.services.catalog.read(read)
    if count > DEVICE_BULK_COUNT_MAX:
        raise UsageError(
            f"{count:,} devices are chosen; {DEVICE_BULK_COUNT_MAX:,} can be changed at once.",
            hint="Choose fewer, by a group or a tag.",
            code="devices_too_many",
        )
    if expected_count is None:
        raise Conflict(
            f"This would be for {count} {'device' if count == 1 else 'devices'}.",
            hint=f"Send it again with device_count {count} if that is what you mean.",
            code="device_count_unconfirmed",
        )
    if expected_count != count:
        raise Conflict(
            f"{count} {'device is' if count == 1 else 'devices are'} chosen now, not {expected_count}.",
            hint="Look at the list of devices again, and send it with the number that you mean.",
            code="device_count_differs",
        )
    return device_ids


async def each_by_itself(call: Call, device_ids: Sequence[str], do: Do) -> BulkOutcome:
    """Change each; what fails for one holds up no other, and undoes none.

    Raises:
        Unavailable, StorageError: the catalog failed; what was done before stays.
    """
    items: list[BulkDone] = []
    clock = call.services.clock

    def some(catalog: Catalog) -> list[BulkDone]:
        done: list[BulkDone] = []
        began_at_mono_ms = clock.mono_ms()
        for device_id in device_ids[len(items) : len(items) + CATALOG_CHUNK_ROW_COUNT_MAX]:
            if done and clock.mono_ms() - began_at_mono_ms >= CATALOG_CHUNK_MS:
                break
            done.append(_one(catalog, device_id, do, call))
        return done

    while len(items) < len(device_ids):
        items += await call.write(some)
    failed_count = sum(bool(each.code) for each in items)
    return BulkOutcome(done_count=len(items) - failed_count, failed_count=failed_count, items=tuple(items))


def _one(catalog: Catalog, device_id: str, do: Do, call: Call) -> BulkDone:
    try:
        with catalog.part():
            catalog.get_device(device_id, scope=call.scope)
            return BulkDone(device_id=device_id, status=HTTPStatus.OK, command_id=do(catalog, device_id))
    except OF_THE_ROW as error:
        return _failed(device_id, error)


def _failed(device_id: str, error: HomeportError) -> BulkDone:
    return BulkDone(
        device_id=device_id,
        status=status_of(error),
        code=error.code,
        message=error.message,
        hint=error.hint,
    )
