"""Finding devices: one, a page, how many; and who may see which.

Every method takes a scope, None for the whole site. A device outside of it is one that isn't there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final, TypedDict, Unpack

from appliance.core.errors import NotFound, UsageError
from appliance.core.limits import PAGE_ITEM_COUNT_DEFAULT, PAGE_ITEM_COUNT_MAX
from appliance.management.access import Kind
from appliance.management.permissions import Scope, sees
from storage.catalog.database import CatalogDatabase, Value
from storage.catalog.rows import DEVICE_STATES, Device, DevicePage, DeviceState, TagCount

COLUMNS: Final = (
    "device_id, kind, access, role, state, name, tags, groups, serial, first_contact_at_ms, created_at_ms, "
    "updated_at_ms, replaced_at_ms, hlc"
)
ROLE_SCHEMA_VERSION: Final = 2
"""From which on a device may have a role."""
_HAS_TAG: Final = "EXISTS (SELECT 1 FROM json_each(devices.tags) WHERE value = ?)"
_IN_GROUPS: Final = (
    "EXISTS (SELECT 1 FROM json_each(devices.groups) WHERE value IN (SELECT value FROM json_each(?)))"
)


class DeviceFilter(TypedDict, total=False):
    """Which devices; what is left out or empty doesn't matter.

    Keys:
        states: In any of these.
        kind: "device" or "application".
        q: With this in id, name, serial or a tag; A to Z match a to z.
        ids: Any of these (for filters on what isn't in the catalog, such as presence), up to 100,000; None for all.
        groups: In any of these.
        tags: With all of these.
        serial: With exactly this one.
        scope: Within it; None for the whole site.
    """

    states: Sequence[DeviceState]
    kind: Kind | None
    q: str
    ids: Sequence[str] | None
    groups: Sequence[str]
    tags: Sequence[str]
    serial: str
    scope: Scope


class DeviceQueries(CatalogDatabase):
    """Methods of the catalog that find devices."""

    def find_device(self, device_id: str, *, scope: Scope = None) -> Device | None:
        """The device, or None."""
        found = self.row(f"SELECT {COLUMNS} FROM devices WHERE device_id = ?", (device_id,))  # noqa: S608
        device = device_of(found) if found else None
        return device if device and sees(scope, device.groups) else None

    def get_device(self, device_id: str, *, scope: Scope = None) -> Device:
        """The device.

        Raises:
            NotFound: `device_unknown`, for one outside the scope too.
        """
        device = self.find_device(device_id, scope=scope)
        if device is None:
            raise NotFound(
                f"There is no device “{device_id[:200]}”.",
                hint="Look at the list of devices; ids are case-sensitive.",
                code="device_unknown",
            )
        return device

    def list_devices(
        self,
        *,
        cursor: str | None = None,
        limit: int = PAGE_ITEM_COUNT_DEFAULT,
        **chosen: Unpack[DeviceFilter],
    ) -> DevicePage:
        """A page of devices in the order of their ids.

        Args:
            cursor: The last page's `next_cursor`.
            limit: 1..1000.
            chosen: See DeviceFilter.
        """
        if not 1 <= limit <= PAGE_ITEM_COUNT_MAX:
            raise UsageError(
                f"A page has 1 to {PAGE_ITEM_COUNT_MAX} items, not {limit}.", hint="Ask for fewer at a time."
            )
        where, parameters = _conditions(chosen)
        found = self.rows(
            f"SELECT {COLUMNS} FROM devices WHERE device_id > ? AND {where} ORDER BY device_id LIMIT ?",  # noqa: S608
            (cursor or "", *parameters, limit + 1),
        )
        devices = tuple(device_of(row) for row in found[:limit])
        return DevicePage(devices=devices, next_cursor=devices[-1].device_id if len(found) > limit else None)

    def count_devices(self, **chosen: Unpack[DeviceFilter]) -> int:
        """How many devices `list_devices` would give in all."""
        where, parameters = _conditions(chosen)
        found = self.row(f"SELECT count(*) FROM devices WHERE {where}", parameters)  # noqa: S608
        assert found
        return int(found[0])

    def count_by_state(self, *, scope: Scope = None) -> dict[DeviceState, int]:
        """How many devices are in each state; every state has an entry."""
        where, parameters = _conditions({"scope": scope})
        counts = dict(
            self.rows(f"SELECT state, count(*) FROM devices WHERE {where} GROUP BY state", parameters)  # noqa: S608
        )
        return {state: counts.get(state, 0) for state in DEVICE_STATES}

    def roles_in_use(self) -> dict[str, int]:
        """Roles of active devices and applications, and of how many each."""
        if self.schema_version < ROLE_SCHEMA_VERSION:
            return {}  # Opened for reading, and not upgraded yet.
        return dict(
            self.rows(
                "SELECT role, count(*) FROM devices WHERE role != '' AND state = 'active' GROUP BY role"
            )
        )

    def device_ids(self, *, states: Sequence[DeviceState] = DEVICE_STATES, scope: Scope = None) -> list[str]:
        """The ids of all devices in any of these states, in order."""
        where, parameters = _conditions({"scope": scope})
        sql = f"SELECT device_id FROM devices WHERE state IN (SELECT value FROM json_each(?)) AND {where} ORDER BY device_id"  # noqa: S608
        return [row[0] for row in self.rows(sql, (json.dumps(list(states)), *parameters))]

    def list_tags(
        self, *, scope: Scope = None, cursor: str = "", limit: int = PAGE_ITEM_COUNT_DEFAULT
    ) -> tuple[list[TagCount], str | None]:
        """Tags in their order with how many devices have each, and where the next page begins (None at the end)."""
        where, parameters = _conditions({"scope": scope})
        found = self.rows(
            "SELECT t.value AS tag, count(*) AS device_count FROM devices, json_each(devices.tags) t "  # noqa: S608
            f"WHERE t.value > ? AND {where} GROUP BY t.value ORDER BY t.value LIMIT ?",
            (cursor, *parameters, limit + 1),
        )
        tags = [TagCount(row["tag"], row["device_count"]) for row in found[:limit]]
        return tags, tags[-1].tag if len(found) > limit else None


def _conditions(chosen: DeviceFilter) -> tuple[str, list[Value]]:
    where: list[str] = []
    parameters: list[Value] = []

    def wanted(condition: str, *values: Value) -> None:
        where.append(condition)
        parameters.extend(values)

    if states := chosen.get("states"):
        wanted("state IN (SELECT value FROM json_each(?))", json.dumps(list(states)))
    if kind := chosen.get("kind"):
        wanted("kind = ?", kind)
    if q := chosen.get("q"):
        escaped = q.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        wanted(
            "(device_id LIKE ? ESCAPE '\\' OR name LIKE ? ESCAPE '\\' OR serial LIKE ? ESCAPE '\\' OR EXISTS "
            "(SELECT 1 FROM json_each(devices.tags) WHERE value LIKE ? ESCAPE '\\'))",
            *[f"%{escaped}%"] * 4,
        )
    ids = chosen.get("ids")
    if ids is not None:
        wanted("device_id IN (SELECT value FROM json_each(?))", json.dumps(list(ids)))
    if groups := chosen.get("groups"):
        wanted(_IN_GROUPS, json.dumps(list(groups)))
    for tag in chosen.get("tags", ()):
        wanted(_HAS_TAG, tag)
    if serial := chosen.get("serial"):
        wanted("serial = ? AND serial != ''", serial)
    scope = chosen.get("scope")
    if scope is not None:
        wanted(_IN_GROUPS, json.dumps(sorted(scope)))
    return " AND ".join(where) or "TRUE", parameters


def device_of(row: Any) -> Device:
    """A row of COLUMNS as a value."""
    return Device(
        device_id=row["device_id"],
        kind=row["kind"],
        access=row["access"],
        role=row["role"],
        state=row["state"],
        name=row["name"],
        tags=tuple(json.loads(row["tags"])),
        groups=tuple(json.loads(row["groups"])),
        serial=row["serial"],
        first_contact_at_ms=row["first_contact_at_ms"],
        created_at_ms=row["created_at_ms"],
        updated_at_ms=row["updated_at_ms"],
        replaced_at_ms=row["replaced_at_ms"],
        version=row["hlc"],
    )
