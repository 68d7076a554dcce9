"""What the planner reads and writes: standings, who may start, who gives way, waves, admission, health before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.core.clock import ManualClock
from appliance.management.audit import Act, Actor
from appliance.management.executions import State
from appliance.management.gates import Health
from appliance.management.rollout_plan import Plan, Policy, Targets
from appliance.management.wave_counts import Counts
from storage.catalog import Catalog
from storage.catalog.rollout_executions import NewExecution
from tests.rollout_kit import NEW, OLD, add_devices

ANNA = Act(action="rollout.start", actor=Actor(name="anna", kind="user"))
NOW_MS = 1_700_000_000_000


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW_MS)


@pytest.fixture
def catalog(tmp_path: Path, clock: ManualClock) -> Iterator[Catalog]:
    opened = Catalog.open(tmp_path / "catalog.db", clock=clock, node_id=bytes(16))
    yield opened
    opened.close()


def start(catalog: Catalog, rollout_id: str, devices: dict[str, int], *, noop: str = "") -> None:
    """A rollout with its executions, by device and wave; ids are rollout/device."""
    with catalog.transaction(ANNA):
        rollout = catalog.create_rollout(
            rollout_id, name="r", artifact_id="a1", targets=Targets(all=True), plan=Plan(), policy=Policy(), created_by="anna"
        )  # fmt: skip
        catalog.add_executions(
            rollout,
            [
                NewExecution(
                    execution_id=f"{rollout_id}/{device}", device_id=device, wave=wave, from_version="1.0",
                    from_digest=OLD, is_noop=device == noop,
                )
                for device, wave in devices.items()
            ],
            to_version="2.0",
            to_digest=NEW,
            size_bytes=1000,
            deadline_at_ms=NOW_MS + 1000,
        )  # fmt: skip


def put(catalog: Catalog, execution_id: str, **columns: Any) -> None:
    with catalog.transaction():
        values = {**columns, "origin": catalog.origin, "hlc": catalog.hlc}
        catalog.execute(
            f"UPDATE executions SET {', '.join(f'{name} = ?' for name in values)} WHERE execution_id = ?",
            (*values.values(), execution_id),
        )


def test_standings_are_sums_of_what_stands_alike(catalog: Catalog) -> None:
    add_devices(catalog, ["a", "b"], groups=("hall",))
    add_devices(catalog, ["c", "d"], groups=("north",))
    start(catalog, "r1", {"a": 0, "b": 1, "c": 1, "d": 1}, noop="d")
    put(catalog, "r1/a", state="failed", slot_touched=1, started_at_ms=1)
    found = {(each.wave, each.state): each for each in catalog.standings("r1")}
    assert found[1, State.QUEUED].count == 2
    assert found[1, State.NOOP].is_over
    assert found[0, State.FAILED].is_failure
    north = catalog.standings("r1", scope=frozenset({"north"}))
    assert Counts.of(north).total == 2
    assert catalog.standings("r1", scope=frozenset()) == []


def test_nobody_starts_who_is_in_another_execution(catalog: Catalog, clock: ManualClock) -> None:
    add_devices(catalog, ["a", "b"])
    start(catalog, "r1", {"a": 0})
    put(catalog, "r1/a", state="installing")
    clock.advance(1)
    start(catalog, "r2", {"a": 0, "b": 1})
    assert [each.device_id for each in catalog.waiting_for_admission("r2", wave_max=0)] == []
    assert [each.device_id for each in catalog.waiting_for_admission("r2", wave_max=1)] == ["b"]
    put(catalog, "r1/a", state="succeeded", ended_at_ms=1)
    assert [each.device_id for each in catalog.waiting_for_admission("r2", wave_max=0)] == ["a"]


def test_a_newer_rollout_takes_the_place_of_what_has_not_begun(catalog: Catalog) -> None:
    """Also when both were started within the same millisecond."""
    add_devices(catalog, ["a", "b", "c"])
    start(catalog, "r1", {"a": 0, "b": 0, "c": 0})
    put(catalog, "r1/b", state="downloading")
    assert catalog.superseded(limit=9) == []
    start(catalog, "r2", {"a": 0, "b": 0})
    assert [each.execution_id for each in catalog.superseded(limit=9)] == ["r1/a"]


def test_devices_that_are_gone(catalog: Catalog) -> None:
    add_devices(catalog, ["a", "b"])
    start(catalog, "r1", {"a": 0, "b": 0, "never-there": 0})
    with catalog.transaction():
        catalog.execute(
            "UPDATE devices SET state = 'decommissioned', origin = ?, hlc = ? WHERE device_id = 'a'",
            (catalog.origin, catalog.hlc),
        )
    assert {each.device_id for each in catalog.of_devices_gone(limit=9)} == {"a", "never-there"}


def test_who_may_start(catalog: Catalog) -> None:
    add_devices(catalog, ["a", "b", "c"], groups=("hall",))
    start(catalog, "r1", {"a": 0, "b": 1, "c": 1})
    put(catalog, "r1/a", is_admitted=1, updated_at_ms=5)
    put(catalog, "r1/b", is_admitted=1, updated_at_ms=9)
    assert [each.execution_id for each in catalog.admitted("r1")] == ["r1/a", "r1/b"]
    assert [each.execution_id for each in catalog.admitted("r1", since_max_ms=5)] == ["r1/a"]
    assert [each.execution_id for each in catalog.waiting_for_admission("r1", wave_max=9)] == ["r1/c"]
    found = catalog.queued_with_groups("r1")
    assert [(each.execution_id, each.wave, groups) for each, groups in found][:2] == [
        ("r1/a", 0, ("hall",)), ("r1/b", 1, ("hall",)),
    ]  # fmt: skip
    assert sorted(catalog.open_executions("r1")) == ["r1/a", "r1/b", "r1/c"]


def test_how_devices_were_before(catalog: Catalog) -> None:
    add_devices(catalog, ["a", "b"])
    start(catalog, "r1", {"a": 0, "b": 0})
    put(catalog, "r1/a", state="succeeded", health='{"before": {"is_fresh": true, "is_steady": false}}')
    put(catalog, "r1/b", state="succeeded")
    assert catalog.health_before("r1", wave_max=0) == {"a": Health(is_fresh=True, is_steady=False)}


def test_what_is_to_move(catalog: Catalog) -> None:
    add_devices(catalog, ["a", "b", "c"])
    start(catalog, "r1", {"a": 0, "b": 1, "c": 1})
    put(catalog, "r1/a", state="failed")
    put(catalog, "r1/b", state="failed", ended_at_ms=1)
    states = {State.FAILED, State.QUEUED}
    assert [each.execution_id for each in catalog.executions_to_move("r1", states, limit=9)] == [
        "r1/a",
        "r1/c",
    ]
    assert len(catalog.executions_to_move("r1", states, limit=1)) == 1
    assert [each.device_id for each in catalog.executions_to_move("r1", states, wave_min=1, limit=9)] == ["c"]


def test_a_start_is_one_entry_of_the_audit(catalog: Catalog) -> None:
    add_devices(catalog, ["a", "b"])
    start(catalog, "r1", {"a": 0, "b": 0})
    kinds = {row[0] for row in catalog.rows("SELECT object_kind FROM audit WHERE action = 'rollout.start'")}
    assert kinds == {"rollout"}
