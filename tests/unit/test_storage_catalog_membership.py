"""Where devices belong, read in one go."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.management.audit import Act
from appliance.management.watched import STRANGER, Member
from storage.catalog import AsyncCatalog
from storage.catalog.membership import read_membership

pytestmark = pytest.mark.trio


async def test_groups_tags_and_state(tmp_path: Path) -> None:
    async with AsyncCatalog.opened(tmp_path / "c.db", clock=ManualClock(), node_id=bytes(16)) as catalog:

        def fill(writer: object) -> None:
            writer.add_group("hall", name="Hall 4")  # type: ignore[attr-defined]
            writer.add_group("plain")  # type: ignore[attr-defined]
            writer.add_device("pump", groups=["hall"], tags=["wet"])  # type: ignore[attr-defined]
            writer.add_device("gone")  # type: ignore[attr-defined]
            writer.execute("UPDATE devices SET state = 'decommissioned' WHERE device_id = 'gone'")  # type: ignore[attr-defined]

        await catalog.write(fill, by=Act(action="device.add"))
        found = await catalog.read(read_membership)
    assert found.of("pump") == Member(groups=frozenset({"hall"}), tags=frozenset({"wet"}))
    assert not found.of("gone").is_watched
    assert found.of("nobody") == STRANGER
    assert found.group_names == {"hall": "Hall 4"}
