"""The catalog as the pipeline and the control socket see it: whose readings are kept, and who is new."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

import trio

from appliance.core import logs
from appliance.core.clock import Clock
from appliance.core.errors import HomeportError
from storage.catalog import AsyncCatalog, Catalog

CONTACT_MESSAGE_COUNT_MAX: Final = 16
KEPT_STATES: Final = frozenset({"active", "waiting"})


_log = logs.get(__name__)


class CatalogDirectory:
    """Answers the pipeline from the catalog (appliance.pipeline.directory.DeviceDirectory).

    Args:
        waits: devices.first_contact is "wait": unknown devices are listed as waiting for adoption.
    """

    def __init__(self, catalog: AsyncCatalog, clock: Clock, *, waits: bool) -> None:
        self._catalog = catalog
        self._clock = clock
        self._waits = waits

    async def known(self, device_ids: Sequence[str]) -> Collection[str]:
        """Those of the ids whose readings are kept.

        Raises:
            Unavailable, StorageError: the catalog can't be asked now.
        """

        def find(catalog: Catalog) -> list[str]:
            found = (catalog.find_device(device_id) for device_id in device_ids)
            return [
                device.device_id for device in found if device is not None and device.state in KEPT_STATES
            ]

        return await self._catalog.read(find, pool="pipeline")

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
        return await self._catalog.write(lambda catalog: catalog.note_first_contact(device_ids, at_ms=at_ms))


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
