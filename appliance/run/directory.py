"""The catalog as the pipeline and the control socket see it: whose readings are kept, and who is new."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

import trio

from appliance.core import logs
from appliance.core.clock import Clock
from appliance.core.errors import HomeportError
from appliance.core.limits import CATALOG_READ_TIMEOUT_MS, TOPIC_ROUTE_COUNT_MAX
from appliance.management.audit import Act
from storage.catalog import AsyncCatalog, Catalog, Change, LookupCache

CONTACT_MESSAGE_COUNT_MAX: Final = 16
KEPT_STATES: Final = frozenset({"active", "waiting"})


_log = logs.get(__name__)


def _is_kept(catalog: Catalog, device_ids: Sequence[str]) -> dict[str, bool]:
    found = (catalog.find_device(device_id) for device_id in device_ids)
    return {device.device_id: device.state in KEPT_STATES for device in found if device is not None}


class CatalogDirectory:
    """Answers the pipeline from the catalog (appliance.pipeline.directory.DeviceDirectory).

    Args:
        waits: devices.first_contact is "wait": unknown devices are listed as waiting for adoption.
    """

    def __init__(self, catalog: AsyncCatalog, clock: Clock, *, waits: bool) -> None:
        self._catalog = catalog
        self._clock = clock
        self._waits = waits
        self._kept: LookupCache[str, bool] = LookupCache(
            "devices",
            catalog,
            _is_kept,
            rows_of=lambda device_id, _: (Change("devices", device_id),),
            clock=clock,
            pool="pipeline",
            # A batch asks for thousands at once.
            load_timeout_ms=CATALOG_READ_TIMEOUT_MS,
            entry_count_max=TOPIC_ROUTE_COUNT_MAX,
        )

    async def known(self, device_ids: Sequence[str]) -> Collection[str]:
        """Those of the ids whose readings are kept.

        While the catalog is away, those that are known are answered for from memory.

        Raises:
            Unavailable: the catalog can't be asked now, and some are not known.
        """
        found = await self._kept.get_many(device_ids)
        return [device_id for device_id, is_kept in found.items() if is_kept]

    async def first_contact(self, device_ids: Sequence[str]) -> Collection[str]:
        """List unknown devices as waiting, where configured.

        Returns:
            Those whose readings are kept from now on; fewer than asked for when too many wait already.
        Raises:
            Unavailable, StorageError: the catalog can't be written now.
        """
        if not self._waits:
            return ()
        at_ms = self._clock.now_ms()
        return await self._catalog.write(
            lambda catalog: catalog.note_first_contact(device_ids, at_ms=at_ms),
            by=Act(action="device.first_contact"),
        )

    async def of_site(self, device_ids: Sequence[str]) -> Collection[str]:
        """Those of the ids that the catalog doesn't have at all. Raises Unavailable."""
        found = await self._kept.get_many(device_ids)
        return [device_id for device_id in device_ids if device_id not in found]


class FirstContacts:
    """Lists unknown devices that the broker heard of. Bounded: what comes too fast is heard of again later.

    Args:
        directory: Where they are listed.
    """

    def __init__(self, directory: CatalogDirectory) -> None:
        self._directory = directory
        self._send, self._receive = trio.open_memory_channel[list[str]](CONTACT_MESSAGE_COUNT_MAX)

    def note(self, user_names: list[str]) -> None:
        """Take names from the control socket; never waits."""
        try:
            self._send.send_nowait(user_names)
        except trio.WouldBlock:
            _log.warning("too many unknown devices at once", names=len(user_names))

    async def run(self) -> None:
        """List them. Runs until cancelled."""
        async for user_names in self._receive:
            try:
                await self._directory.first_contact(user_names)
            except HomeportError as error:
                _log.warning("unknown devices could not be listed", error=error.message, hint=error.hint)
