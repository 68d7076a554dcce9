"""What the doctor says of notifications: nobody to tell, given up, waiting, well."""

from __future__ import annotations

from pathlib import Path

from appliance.core.clock import ManualClock
from appliance.core.config import Config, NodeConfig
from appliance.management.notification_targets import Mqtt
from appliance.management.on_call import Member, OnCallDefinition
from appliance.run.doctor_check import Check, Result
from appliance.run.doctor_notifications import check_notifications
from storage.catalog.catalog import Catalog
from tests.notification_kit import new

CLOCK = ManualClock(now_ms=1_795_000_000_000)


def found(folder: Path) -> Check:
    return check_notifications(Config(node=NodeConfig(data_dir=folder, run_dir=folder)), CLOCK)


def test_from_nobody_to_well_and_back(tmp_path: Path) -> None:
    assert found(tmp_path).result is Result.SKIPPED
    catalog = Catalog.open(tmp_path / "catalog.db", clock=CLOCK, node_id=bytes(16))
    assert "Nobody is told" in found(tmp_path).detail
    catalog.add_target("t1", name="T", settings=Mqtt(topic="a"), secret_sealed=b"")
    members = (Member(name="Anna", targets=("t1",)),)
    catalog.add_on_call("l1", name="L", definition=OnCallDefinition(P1=None, members=members))
    assert found(tmp_path).result is Result.WARNING
    catalog.add_on_call("l2", name="M", definition=OnCallDefinition(members=members))
    assert found(tmp_path).result is Result.OK
    with catalog.transaction():
        catalog.make_notifications([new("k1", "t1", due_at_ms=CLOCK.now_ms() - 20 * 60_000)])
    assert "One has waited for 20 minutes." in found(tmp_path).detail
    with catalog.transaction():
        assert catalog.begin_next_notification("t1", CLOCK.now_ms()) is not None
        catalog.end_notification("k1", "given_up", error="no")
    check = found(tmp_path)
    assert check.detail == "1 notifications of the last day reached nobody."
    assert "notify log" in check.hint
    catalog.edit_target("t1", is_enabled=False)
    assert "Nobody is told" in found(tmp_path).detail
    catalog.close()
