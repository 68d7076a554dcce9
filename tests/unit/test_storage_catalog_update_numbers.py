"""How updates stand, in numbers and sentences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from appliance.core.clock import ManualClock
from appliance.management.rollout_plan import Plan, Policy, Targets
from storage.catalog import Catalog
from storage.catalog.rollout_executions import NewExecution
from tests.rollout_kit import NEW, OLD, add_devices, names


def put(catalog: Catalog, states: dict[str, dict[str, Any]]) -> None:
    """Executions by device; what a row has beside its id."""
    add_devices(catalog, list(states))
    with catalog.transaction():
        rollout = catalog.create_rollout(
            "r1", name="r", artifact_id="a1", targets=Targets(all=True), plan=Plan(), policy=Policy(), created_by="x"
        )  # fmt: skip
        made = [
            NewExecution(
                execution_id=f"e-{each}", device_id=each, wave=0, from_version="1.0", from_digest=OLD
            )
            for each in states
        ]
        catalog.add_executions(rollout, made, to_version="2.0", to_digest=NEW, size_bytes=1, deadline_at_ms=9)
        for device_id, columns in states.items():
            values = {**columns, "origin": catalog.origin, "hlc": catalog.hlc}
            catalog.execute(
                f"UPDATE executions SET {', '.join(f'{name} = ?' for name in values)} WHERE device_id = ?",
                (*values.values(), device_id),
            )


def test_nothing_wants_anybody(tmp_path: Path) -> None:
    catalog = Catalog.open(tmp_path / "catalog.db", clock=ManualClock(), node_id=bytes(16))
    numbers = catalog.update_numbers()
    assert (numbers.in_need, numbers.rollback_attempts, numbers.drifted, numbers.sentences()) == (
        0,
        0,
        (),
        [],
    )
    assert numbers.rollouts["running"] == 0
    catalog.close()


def test_what_wants_somebody(tmp_path: Path) -> None:
    catalog = Catalog.open(tmp_path / "catalog.db", clock=ManualClock(), node_id=bytes(16))
    states: dict[str, dict[str, Any]] = {
        "stuck": {"state": "rolling_back", "rollback_attempt_count": 2},
        "away": {"state": "rollback_pending", "rollback_attempt_count": 1, "needs_manual_intervention": 1},
    }
    # They still report the old version.
    states |= {each: {"state": "succeeded", "ended_at_ms": 1} for each in names(12)}
    put(catalog, states)
    numbers = catalog.update_numbers()
    assert (numbers.in_need, numbers.rollback_attempts, len(numbers.drifted)) == (1, 3, 12)
    assert numbers.executions == {"rolling_back": 1, "rollback_pending": 1, "succeeded": 12}
    assert (numbers.rollouts["draft"], numbers.rollouts["running"]) == (1, 0)
    need, drift = numbers.sentences()
    assert need == "1 device needs a hand after an update."
    assert drift.startswith("12 devices run something else than the last update ended with: d000, d001,")
    assert drift.endswith("d009 ….")
    catalog.close()
