"""What the catalog has once no write is under way any more: whether one that was left has happened after all is never guessed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import trio

from appliance.core import logs
from appliance.core.errors import Unavailable
from appliance.management.audit import Act
from storage.catalog import AsyncCatalog, Catalog

SETTLE_INTERVAL_S: Final = 0.5

_T = TypeVar("_T")
_log = logs.get(__name__)


async def read_settled(catalog: AsyncCatalog, read: Callable[[Catalog], _T], *, by: Act) -> _T:
    """Read in a write that does nothing, which waits for those before it.

    Without a deadline: what holds for the next record is not known before the disk has answered, and readings wait in
    the log. A process that must end is killed by its supervisor.
    """
    while True:
        try:
            return await catalog.write(read, by=by)
        except Unavailable as error:
            _log.warning("not read yet what holds from here on", reason=error.message)
            await trio.sleep(SETTLE_INTERVAL_S)
