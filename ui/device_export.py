"""Devices as CSV, a page of the catalog at a time, so that 100,000 of them take no memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Unpack

from appliance.core.limits import PAGE_ITEM_COUNT_MAX
from appliance.management.device_csv import COLUMNS, IGNORED_COLUMNS, csv_line, join_list
from storage.catalog import AsyncCatalog, Catalog, Device, DevicePage
from storage.catalog.device_queries import DeviceFilter

FILE_NAME = "devices.csv"
HEADER_LINE = csv_line((*COLUMNS, *IGNORED_COLUMNS))


async def export_devices(catalog: AsyncCatalog, **chosen: Unpack[DeviceFilter]) -> AsyncIterator[bytes]:
    """The header, then lines of devices in the order of their ids. Tokens are not in it: nobody can read them.

    A list that ends early, because the catalog failed in the middle, is one that the HTTP answer shows to be broken.
    """
    yield HEADER_LINE.encode()
    cursor: str | None = None
    while True:

        def read(cursor: str | None, reader: Catalog) -> DevicePage:
            return reader.list_devices(cursor=cursor, limit=PAGE_ITEM_COUNT_MAX, **chosen)

        page = await catalog.read(partial(read, cursor))
        if page.devices:
            yield "".join(device_line(device) for device in page.devices).encode()
        cursor = page.next_cursor
        if cursor is None:
            return


def device_line(device: Device) -> str:
    """A device as a line that can be imported again."""
    return csv_line(
        (
            device.device_id,
            device.name,
            device.kind,
            device.access,
            device.role,
            join_list(device.tags),
            join_list(device.groups),
            device.serial,
            device.state,
            _number(device.first_contact_at_ms),
            _number(device.created_at_ms),
            _number(device.replaced_at_ms),
        )
    )


def _number(value: int | None) -> str:
    return "" if value is None else str(value)
