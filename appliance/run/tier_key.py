"""The generation of the tier's key: kept where the replicator finds it at its start, and told to it by the node when the site's catalog names a later one.

The catalog is the record, so all boxes of a site follow, and a restored box has it again. The file beside is what the replicator knows without the node; a
generation never goes back by it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

import trio

from appliance.core import logs
from appliance.core.config import Config
from appliance.core.errors import HomeportError, StorageError
from appliance.identity import files
from appliance.management.tier_key import SETTING, recorded
from appliance.run import layout
from replication.control import ask
from storage.catalog import AsyncCatalog, Catalog
from storage.catalog.database import Change

AGAIN_S: Final = 30.0
"""After which a replicator that could not be told is told again."""
_log = logs.get(__name__)
Tell = Callable[[int], Awaitable[Mapping[str, Any]]]


def kept_generation(data_dir: Path) -> int:
    """What was kept; 0 for nothing, and for a file that can't be read: the node tells again."""
    path = layout.tier_key_generation(data_dir)
    try:
        found = recorded(int(path.read_bytes()))
    except FileNotFoundError:
        return 0
    except (OSError, ValueError) as error:
        _log.warning("the generation of the tier's key can't be read", path=str(path), error=str(error))
        return 0
    return found


def keep_generation(data_dir: Path, generation: int) -> None:
    """Keep a generation, durably, unless a later one is kept. Blocks for some ms.

    Raises:
        StorageError: it can't be written.
    """
    if generation <= kept_generation(data_dir):
        return
    path = layout.tier_key_generation(data_dir)
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        files.replace(path, b"%d\n" % generation)
    except OSError as error:
        raise StorageError(
            f"{path} can't be written: {error.strerror}.",
            hint="Look at the data folder's disk and owner.",
            code="tier_key_not_kept",
        ) from error


def generation_in(catalog: Catalog) -> int:
    """What the site's catalog names; 0 for nothing."""
    return recorded(catalog.get_setting(SETTING))


def sealer(config: Config) -> Tell:
    """Has the replicator seal with a generation from now on; it answers with the one that it uses."""

    async def seal_with(generation: int) -> Mapping[str, Any]:
        return await ask(layout.replicator_socket(config), "tier_seal_with", generation=generation)

    return seal_with


class TierKeyTelling:
    """Tells the replicator what the catalog names, at the start and when it changes; until the replicator has it.

    Args:
        tell: As `sealer` makes one.
    """

    def __init__(self, config: Config, catalog: AsyncCatalog, tell: Tell) -> None:
        self._is_wanted = bool(config.tier_region) and config.tier.encrypt == "on"
        self._catalog, self._tell = catalog, tell
        self._changed = trio.Event()
        self.told = 0

    async def run(self) -> None:
        """Until cancelled."""
        if not self._is_wanted:
            return
        self._catalog.subscribe(self._note)
        while True:
            self._changed = trio.Event()
            is_told = await self._look()
            with trio.move_on_after(float("inf") if is_told else AGAIN_S):
                await self._changed.wait()

    def _note(self, changes: tuple[Change, ...]) -> None:
        if any(change.table == "settings" for change in changes):
            self._changed.set()

    async def _look(self) -> bool:
        try:
            wanted = await self._catalog.read(generation_in)
            if wanted > self.told:
                await self._tell(wanted)
                self.told = wanted
        except HomeportError as error:
            _log.info("the replicator is told again of the tier's key", reason=error.message)
            return False
        return True
