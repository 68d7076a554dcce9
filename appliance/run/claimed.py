"""Ends the setup code when the box has an admin who did not come by it: of another node of the site, or by a command.

A box that joins a site starts without anybody and offers to be claimed; its people come by replication a moment later.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import trio

from appliance.core import logs
from appliance.core.errors import Unavailable
from appliance.identity.setup_code import SetupCode, SetupState
from storage.catalog import AsyncCatalog

RETRY_S = 1.0
_OPEN = frozenset({SetupState.VALID, SetupState.EXPIRED, SetupState.LOCKED})
_log = logs.get(__name__)


class ChangedTable(Protocol):
    """What is needed of a change of the catalog."""

    @property
    def table(self) -> str: ...


class Claimed:
    """See the module's docstring. Told of changes by `note`, from the event loop."""

    def __init__(self, catalog: AsyncCatalog, setup_code: SetupCode) -> None:
        self._catalog = catalog
        self._setup_code = setup_code
        self._changed = trio.Event()

    def note(self, changes: Iterable[ChangedTable]) -> None:
        """The catalog has changed."""
        if self._setup_code.state in _OPEN and any(change.table == "users" for change in changes):
            self._changed.set()

    async def run(self) -> None:
        """Look whenever people have changed while the code is open, until cancelled."""
        while True:
            await self._changed.wait()
            self._changed = trio.Event()
            try:
                has_admin = await self._catalog.read(lambda reader: reader.has_admin())
            except Unavailable:
                self._changed.set()
                await trio.sleep(RETRY_S)
                continue
            if has_admin and self._setup_code.state in _OPEN:
                self._setup_code.end()
                _log.info("the box has an admin: its setup code has ended")
