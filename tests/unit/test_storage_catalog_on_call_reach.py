"""Whether alarms of a severity reach anybody."""

from __future__ import annotations

from pathlib import Path

from appliance.core.clock import ManualClock
from appliance.management.notification_targets import Mqtt
from appliance.management.on_call import Member, OnCallDefinition, Plan, Step
from storage.catalog import Catalog
from storage.catalog.on_call_reach import reaches_anybody


def test_a_list_in_force_with_a_target_that_is_on(tmp_path: Path) -> None:
    catalog = Catalog.open(tmp_path / "catalog.db", clock=ManualClock(), node_id=b"n" * 16)
    with catalog.transaction():
        assert not reaches_anybody(catalog, "P1")
        target = catalog.add_target("anna", name="Anna", settings=Mqtt(topic="a"), secret_sealed=b"")
        assert not reaches_anybody(catalog, "P1"), "no list"
        definition = OnCallDefinition(
            P1=Plan(steps=(Step(),)), P2=None, members=(Member(name="Anna", targets=(target.target_id,)),)
        )
        catalog.add_on_call("site", name="Site", definition=definition)
        assert reaches_anybody(catalog, "P1")
        assert not reaches_anybody(catalog, "P2"), "no plan"
        catalog.edit_target("anna", is_enabled=False)
        assert not reaches_anybody(catalog, "P1"), "switched off"
    catalog.close()
