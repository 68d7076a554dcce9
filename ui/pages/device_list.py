"""Which devices a page of the list shows, and how many there are of each state.

Presence lives in memory, everything else in the catalog. A filter on presence is a scan of a dictionary and then
one indexed read of one page; no request reads all devices from the catalog except for "never seen".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from appliance.core.limits import PAGE_ROW_COUNT_DEFAULT, PAGE_WAITING_COUNT_MAX
from storage.catalog import AsyncCatalog, Catalog, Device, DeviceState
from ui.pages.looks import PRESENCE, REGISTRY
from ui.services import DeviceLive

FILTER_TEXT_LENGTH_MAX: Final = 128
_REGISTRY_FILTERS: Final[dict[str, DeviceState]] = {
    "rejected": "rejected",
    "decommissioned": "decommissioned",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What the URL asks for.

    Attributes:
        state: A presence, "rejected" or "decommissioned"; "" for all devices in service.
        text: Part of an id, a name or a tag.
        after: The last device id of the page before.
    """

    state: str = ""
    text: str = ""
    after: str = ""

    @classmethod
    def of_query(cls, query: Mapping[str, str]) -> Filter:
        """From a URL's query. What means nothing is left out, so that an old bookmark still shows a list."""
        state = query.get("state", "")
        return cls(
            state=state if state in PRESENCE or state in _REGISTRY_FILTERS else "",
            text=query.get("q", "").strip()[:FILTER_TEXT_LENGTH_MAX],
            after=query.get("after", "")[:FILTER_TEXT_LENGTH_MAX],
        )

    def query(self, *, state: str | None = None, after: str = "") -> str:
        """The query of a list like this one with another state, or from another device on."""
        chosen = self.state if state is None else state
        pairs = [("state", chosen), ("q", self.text), ("after", after)]
        encoded = urlencode([(key, value) for key, value in pairs if value])
        return f"?{encoded}" if encoded else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceList:
    """One page: devices in service (or as filtered), where the next begins, and those that wait."""

    devices: tuple[Device, ...]
    next_after: str | None
    waiting: tuple[Device, ...]
    waiting_total: int


def ids_by_presence(live: Mapping[str, DeviceLive]) -> dict[str, list[str]]:
    """Ids of known devices by presence; every presence but never_seen has an entry."""
    ids: dict[str, list[str]] = {word: [] for word in PRESENCE if word != "never_seen"}
    for device_id, device in live.items():
        bucket = ids.get(device.presence)
        if bucket is not None:
            bucket.append(device_id)
    return ids


async def read_list(
    catalog: AsyncCatalog,
    live: Mapping[str, DeviceLive],
    chosen: Filter,
    *,
    limit: int = PAGE_ROW_COUNT_DEFAULT,
) -> DeviceList:
    """Read one page.

    Raises:
        Unavailable: the catalog did not answer in time.
    """
    ids = ids_by_presence(live).get(chosen.state)
    seen = (
        frozenset(i for i, d in live.items() if d.presence != "never_seen")
        if chosen.state == "never_seen"
        else None
    )

    def read(c: Catalog) -> DeviceList:
        states: tuple[DeviceState, ...] = (_REGISTRY_FILTERS.get(chosen.state, "active"),)
        wanted = [i for i in c.device_ids() if i not in seen] if seen is not None else ids
        page = c.list_devices(
            states=states, q=chosen.text, ids=wanted, cursor=chosen.after or None, limit=limit
        )
        waiting = c.list_devices(states=("waiting",), limit=PAGE_WAITING_COUNT_MAX)
        return DeviceList(
            devices=page.devices,
            next_after=page.next_cursor,
            waiting=waiting.devices,
            waiting_total=c.count_devices(states=("waiting",))
            if waiting.next_cursor
            else len(waiting.devices),
        )

    return await catalog.read(read)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceCounts:
    """Active devices by presence, and all devices by the catalog's state."""

    by_presence: Mapping[str, int]
    by_registry: Mapping[DeviceState, int]

    def of(self, state: str) -> int:
        """A filter's number: of a presence, of a state of the catalog, or of all in service for ""."""
        if state in _REGISTRY_FILTERS or state in REGISTRY:
            return self.by_registry[state]  # type: ignore[index] # keys of REGISTRY are states
        return self.by_presence[state] if state else self.by_registry["active"]


async def read_counts(catalog: AsyncCatalog, live: Mapping[str, DeviceLive]) -> DeviceCounts:
    """Count once for all chips and tiles.

    Raises:
        Unavailable: the catalog did not answer in time.
    """
    ids_of = ids_by_presence(live)

    def read(c: Catalog) -> DeviceCounts:
        by_registry = c.count_by_state()
        by_presence = {
            word: c.count_devices(states=("active",), ids=ids) if ids else 0 for word, ids in ids_of.items()
        }
        by_presence["never_seen"] = max(0, by_registry["active"] - sum(by_presence.values()))
        return DeviceCounts(by_presence=by_presence, by_registry=by_registry)

    return await catalog.read(read)
