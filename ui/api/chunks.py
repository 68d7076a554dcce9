"""Long changes of the catalog in short transactions, so that other writers get their turn in between."""

from __future__ import annotations

from collections.abc import Callable

from appliance.core.limits import CATALOG_CHUNK_ROW_COUNT_MAX
from storage.catalog import Catalog
from ui.api.endpoint import Call


async def write_in_chunks(call: Call, change: Callable[[Catalog, int], int]) -> int:
    """Repeat a change until nothing is left of it, and return how much it was.

    Each chunk is on disk by itself: what comes to an end in the middle (a full disk, a lost connection) is half done, and doing
    it again does the rest.

    Args:
        change: Changes as many rows as it is told at most, and returns how many it were; 0 when none is left.
    """
    total = 0
    while True:
        done = await call.write(lambda writer: change(writer, CATALOG_CHUNK_ROW_COUNT_MAX))
        total += done
        if done < CATALOG_CHUNK_ROW_COUNT_MAX:
            return total
