"""Which devices' records are passed over by the pipeline, from the catalog: kept up to date, readable from any thread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import trio

from appliance.core import logs
from appliance.core.errors import HomeportError
from storage.catalog import AsyncCatalog, Change

RETRY_S: Final = 5.0

_log = logs.get(__name__)


class ErasedDevices:
    """Make it with `opened`, then `run` it.

    A new erasure says nothing of records after its position, and records before it are read again only by a backlog or a
    rebuild, during which no erasure is carried out: being some moments late is no harm.
    """

    def __init__(self, catalog: AsyncCatalog, positions: Mapping[str, tuple[int, int]]) -> None:
        self._catalog = catalog
        self._positions = positions
        self._changed = trio.Event()

    @staticmethod
    async def opened(catalog: AsyncCatalog) -> ErasedDevices:
        """Read them for the first time. Raises Unavailable, StorageError: the catalog can't be read."""
        return ErasedDevices(catalog, await _read(catalog))

    def positions(self) -> Mapping[str, tuple[int, int]]:
        """Device → (epoch, sequence) before which none of its records is stored. From any thread."""
        return self._positions

    async def run(self) -> None:
        """Follow the catalog until cancelled."""
        stop = self._catalog.subscribe(self._note)
        try:
            while True:
                # No deadline: nothing changes for years.
                await self._changed.wait()
                self._changed = trio.Event()
                try:
                    self._positions = await _read(self._catalog)
                except HomeportError as error:
                    _log.warning("erasures not read", reason=error.message)
                    self._changed.set()
                    await trio.sleep(RETRY_S)
        finally:
            stop()

    def _note(self, changes: tuple[Change, ...]) -> None:
        if any(change.table == "erasures" for change in changes):
            self._changed.set()


async def _read(catalog: AsyncCatalog) -> Mapping[str, tuple[int, int]]:
    return await catalog.read(lambda reader: reader.erasures_for_pipeline())
