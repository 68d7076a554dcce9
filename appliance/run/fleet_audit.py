"""Puts into the audit what others left for it: boxes that were let in, and this box's own joining (appliance/identity/fleet_acts.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import trio

from appliance.core import logs
from appliance.core.errors import StorageError, Unavailable
from appliance.identity import files
from appliance.identity.fleet_acts import FleetAct, acts_left
from appliance.management.audit import LOCAL, Act
from storage.catalog import AsyncCatalog, Catalog

LOOK_INTERVAL_S: Final = 5
_log = logs.get(__name__)


class FleetAudit:
    """See the module's docstring.

    Args:
        fleet: data_dir/fleet; it may come to be later.
    """

    def __init__(self, catalog: AsyncCatalog, fleet: Path) -> None:
        self._catalog = catalog
        self._fleet = fleet

    async def run(self) -> None:
        """Look every few seconds, until cancelled."""
        while True:
            try:
                await self.look()
            except (StorageError, Unavailable) as error:
                _log.warning("joins wait for the audit", error=error.message, hint=error.hint)
            await trio.sleep(LOOK_INTERVAL_S)

    async def look(self) -> None:
        """Note what was left.

        Raises:
            StorageError, Unavailable: the catalog or the folder can't be used now; what is left is tried again.
        """
        for path, act in await trio.to_thread.run_sync(lambda: list(acts_left(self._fleet))):
            if act is None:
                _log.error("what was left for the audit is no act", file=str(path))
            else:
                await self._note(act)
            await trio.to_thread.run_sync(files.remove, path)

    async def _note(self, act: FleetAct) -> None:
        def note(catalog: Catalog) -> None:
            catalog.note(act.action, object_kind="node", object_id=act.node_id, detail=act.detail)

        await self._catalog.write(note, by=Act(action=act.action, actor=LOCAL))
