"""Where all devices belong, for whoever watches their readings."""

from __future__ import annotations

import json
from typing import Final

from appliance.management.watched import Member, Membership
from storage.catalog.database import CatalogDatabase

TABLES: Final = frozenset({"devices", "groups"})
"""A change of these changes it."""


def read_membership(catalog: CatalogDatabase) -> Membership:
    """All devices with their groups and tags, and how groups are called: some 5 µs a device."""
    devices = {
        row["device_id"]: Member(
            groups=frozenset(json.loads(row["groups"])),
            tags=frozenset(json.loads(row["tags"])),
            is_watched=row["state"] == "active",
        )
        for row in catalog.rows("SELECT device_id, state, groups, tags FROM devices", ())
    }
    named = catalog.rows("SELECT group_id, name FROM groups WHERE name <> ''", ())
    return Membership(devices=devices, group_names={row["group_id"]: row["name"] for row in named})
