"""Which devices a page of the list shows, and how many there are of each state.

Presence lives in memory, everything else in the catalog. A filter on presence is a scan of a dictionary and then
one indexed read of one page; no request reads all devices from the catalog except for "never seen".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from appliance.core.limits import (
    DEVICE_TAG_LENGTH_MAX,
    GROUP_ID_LENGTH_MAX,
    PAGE_ROW_COUNT_DEFAULT,
    PAGE_WAITING_COUNT_MAX,
)
from appliance.core.limits_executions import FIRMWARE_VERSION_LENGTH_MAX
from appliance.management.clock_offset import is_wrong
from appliance.management.permissions import Scope
from storage.catalog import AsyncCatalog, Catalog, Device, DeviceState, Group
from storage.catalog.alarm_devices import DeviceAlarms
from ui.pages.looks import PRESENCE, REGISTRY
from ui.services import DeviceLive

FILTER_TEXT_LENGTH_MAX: Final = 128
_REGISTRY_FILTERS: Final[dict[str, DeviceState]] = {
    "rejected": "rejected",
    "decommissioned": "decommissioned",
}


WRONG_CLOCK: Final = "wrong_clock"
"""The filter for devices whose clock is judged wrong."""
WITH_ALARMS: Final = "with_alarms"
"""The filter for devices with active alarms that nobody has set aside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What the URL asks for.

    Attributes:
        state: A presence, "wrong_clock", "with_alarms", "rejected" or "decommissioned"; "" for all devices in service.
        text: Part of an id, a name, a serial number or a tag.
        group: Only devices in this group; "" for all.
        tag: Only devices with this tag; "" for all.
        firmware: Only devices that say that they run this version; "" for all.
        after: The last device id of the page before.
    """

    state: str = ""
    text: str = ""
    group: str = ""
    tag: str = ""
    firmware: str = ""
    after: str = ""

    @classmethod
    def of_query(cls, query: Mapping[str, str]) -> Filter:
        """From a URL's query. What means nothing is left out, so that an old bookmark still shows a list."""
        state = query.get("state", "")
        return cls(
            state=state
            if state in PRESENCE or state in _REGISTRY_FILTERS or state in (WRONG_CLOCK, WITH_ALARMS)
            else "",
            text=query.get("q", "").strip()[:FILTER_TEXT_LENGTH_MAX],
            group=query.get("group", "")[:GROUP_ID_LENGTH_MAX],
            tag=query.get("tag", "")[:DEVICE_TAG_LENGTH_MAX],
            firmware=query.get("fw", "")[:FIRMWARE_VERSION_LENGTH_MAX],
            after=query.get("after", "")[:FILTER_TEXT_LENGTH_MAX],
        )

    @property
    def narrows(self) -> bool:
        """Whether some devices are left out."""
        return bool(self.state or self.text or self.group or self.tag or self.firmware)

    def query(self, *, state: str | None = None, after: str = "") -> str:
        """The query of a list like this one with another state, or from another device on."""
        chosen = self.state if state is None else state
        pairs = [
            ("state", chosen), ("q", self.text), ("group", self.group), ("tag", self.tag), ("fw", self.firmware),
            ("after", after),
        ]  # fmt: skip
        encoded = urlencode([(key, value) for key, value in pairs if value])
        return f"?{encoded}" if encoded else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceList:
    """One page: devices in service (or as filtered) and their alarms, where the next begins, those that wait, and the groups to filter by."""

    devices: tuple[Device, ...]
    next_after: str | None
    waiting: tuple[Device, ...]
    waiting_total: int
    groups: tuple[Group, ...]
    alarms: Mapping[str, DeviceAlarms]


def ids_by_presence(live: Mapping[str, DeviceLive]) -> dict[str, list[str]]:
    """Ids of known devices by presence; every presence but never_seen has an entry."""
    ids: dict[str, list[str]] = {word: [] for word in PRESENCE if word != "never_seen"}
    for device_id, device in live.items():
        bucket = ids.get(device.presence)
        if bucket is not None:
            bucket.append(device_id)
    return ids


def wrong_clocks(live: Mapping[str, DeviceLive]) -> list[str]:
    """Ids of devices whose clock is judged wrong."""
    return [device_id for device_id, device in live.items() if is_wrong(device.clock_offset_ms)]


def ids_by_firmware(live: Mapping[str, DeviceLive], version: str) -> list[str]:
    """Ids of devices that say that they run a version."""
    return [
        i for i, device in live.items() if device.firmware is not None and device.firmware.version == version
    ]


async def read_list(
    catalog: AsyncCatalog,
    live: Mapping[str, DeviceLive],
    chosen: Filter,
    *,
    scope: Scope,
    limit: int = PAGE_ROW_COUNT_DEFAULT,
) -> DeviceList:
    """Read one page.

    Raises:
        Unavailable: the catalog did not answer in time.
    """
    ids = wrong_clocks(live) if chosen.state == WRONG_CLOCK else ids_by_presence(live).get(chosen.state)
    if chosen.firmware:
        running = ids_by_firmware(live, chosen.firmware)
        ids = running if ids is None else sorted(set(running).intersection(ids))
    seen = (
        frozenset(i for i, d in live.items() if d.presence != "never_seen")
        if chosen.state == "never_seen"
        else None
    )

    def read(c: Catalog) -> DeviceList:
        states: tuple[DeviceState, ...] = (_REGISTRY_FILTERS.get(chosen.state, "active"),)
        wanted = ids
        if chosen.state == WITH_ALARMS:
            alarmed = c.devices_with_alarms(scope=scope)
            wanted = alarmed if ids is None else sorted(set(alarmed).intersection(ids))
        if seen is not None:
            wanted = [i for i in (ids if ids is not None else c.device_ids(scope=scope)) if i not in seen]
        page = c.list_devices(
            states=states,
            q=chosen.text,
            groups=[chosen.group] if chosen.group else (),
            tags=[chosen.tag] if chosen.tag else (),
            ids=wanted,
            scope=scope,
            cursor=chosen.after or None,
            limit=limit,
        )
        waiting = c.list_devices(states=("waiting",), scope=scope, limit=PAGE_WAITING_COUNT_MAX)
        return DeviceList(
            devices=page.devices,
            next_after=page.next_cursor,
            waiting=waiting.devices,
            waiting_total=c.count_devices(states=("waiting",), scope=scope)
            if waiting.next_cursor
            else len(waiting.devices),
            groups=tuple(c.list_groups(scope=scope, counted=False)),
            alarms=c.alarms_by_device([each.device_id for each in page.devices]),
        )

    return await catalog.read(read)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceCounts:
    """Active devices by presence, all devices by the catalog's state, and active ones whose clock is judged wrong or that have alarms."""

    by_presence: Mapping[str, int]
    by_registry: Mapping[DeviceState, int]
    wrong_clocks: int = 0
    with_alarms: int = 0

    def of(self, state: str) -> int:
        """A filter's number: of a presence, of a state of the catalog, or of all in service for ""."""
        if state == WRONG_CLOCK:
            return self.wrong_clocks
        if state == WITH_ALARMS:
            return self.with_alarms
        if state in _REGISTRY_FILTERS or state in REGISTRY:
            return self.by_registry[state]  # type: ignore[index] # keys of REGISTRY are states
        return self.by_presence[state] if state else self.by_registry["active"]


async def read_counts(catalog: AsyncCatalog, live: Mapping[str, DeviceLive], *, scope: Scope) -> DeviceCounts:
    """Count once for all chips and tiles.

    Raises:
        Unavailable: the catalog did not answer in time.
    """
    ids_of = ids_by_presence(live)
    wrong = wrong_clocks(live)

    def read(c: Catalog) -> DeviceCounts:
        by_registry = c.count_by_state(scope=scope)
        by_presence = {
            word: c.count_devices(states=("active",), ids=ids, scope=scope) if ids else 0
            for word, ids in ids_of.items()
        }
        by_presence["never_seen"] = max(0, by_registry["active"] - sum(by_presence.values()))
        return DeviceCounts(
            by_presence=by_presence,
            by_registry=by_registry,
            wrong_clocks=c.count_devices(states=("active",), ids=wrong, scope=scope) if wrong else 0,
            with_alarms=len(c.devices_with_alarms(scope=scope)),
        )

    return await catalog.read(read)
