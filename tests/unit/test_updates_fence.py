"""The fence: higher each time, in all that is under way, whatever the clock says."""

from __future__ import annotations

from pathlib import Path

from appliance.core.clock import ManualClock
from appliance.management.rollout_plan import Plan, Policy, Targets
from appliance.updates.fence import current_fence, raise_fence
from storage.catalog import Catalog


def test_it_is_a_time_and_never_goes_back(tmp_path: Path) -> None:
    catalog = Catalog.open(tmp_path / "catalog.db", clock=ManualClock(), node_id=bytes(16))
    with catalog.transaction():
        for rollout_id, state in (("r1", "running"), ("r2", "completed"), ("r3", "ready")):
            catalog.create_rollout(
                rollout_id, name="r", artifact_id="a1", targets=Targets(all=True), plan=Plan(), policy=Policy(), created_by="x"
            )  # fmt: skip
            catalog.change_rollout(rollout_id, state=state)
        assert current_fence(catalog) == 0
        assert raise_fence(catalog, 1_700_000_000_123) == 1_700_000_000
        assert raise_fence(catalog, 1_000) == 1_700_000_001  # the clock is behind
    assert current_fence(catalog) == catalog.get_rollout("r1").fence == 1_700_000_001
    assert catalog.get_rollout("r2").fence == 1_700_000_001  # it may be rolled back yet
    assert catalog.get_rollout("r3").fence == 0  # it gets the fence of its start
    catalog.close()
