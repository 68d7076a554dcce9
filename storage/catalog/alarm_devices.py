"""Which devices have alarms that are active and stand for themselves, for lists of devices."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from appliance.management.permissions import Scope
from storage.catalog.database import CatalogDatabase

_ACTIVE: Final = "place < 2"
"""Neither shelved nor suppressed (see the table's generated column)."""


@dataclass(frozen=True, slots=True)
class DeviceAlarms:
    """How many a device has, and the severity of the worst."""

    severity: str
    count: int


class AlarmDeviceTable(CatalogDatabase):
    """Methods of the catalog about devices with alarms."""

    def alarms_by_device(self, device_ids: Collection[str]) -> dict[str, DeviceAlarms]:
        """Of those of these devices that have any."""
        found = self.rows(
            "SELECT device_id, min(severity), count(*) FROM alarms "  # noqa: S608 - our own text
            f"WHERE {_ACTIVE} AND device_id IN (SELECT value FROM json_each(?)) GROUP BY device_id",
            (json.dumps(list(device_ids)),),
        )
        return {row[0]: DeviceAlarms(row[1], row[2]) for row in found}

    def devices_with_alarms(self, *, scope: Scope = None) -> list[str]:
        """Ids of all devices in service that have any, within a scope."""
        where, parameters = "", []
        if scope is not None:
            where = "AND EXISTS (SELECT 1 FROM json_each(d.groups) WHERE value IN (SELECT value FROM json_each(?)))"
            parameters = [json.dumps(sorted(scope))]
        found = self.rows(
            f"SELECT DISTINCT d.device_id FROM alarms AS a JOIN devices AS d USING (device_id) "  # noqa: S608
            f"WHERE a.{_ACTIVE} AND d.state = 'active' {where} ORDER BY d.device_id",
            parameters,
        )
        return [row[0] for row in found]
