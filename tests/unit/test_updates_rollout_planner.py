"""The planner by itself; what it does with an engine: tests/integration/test_rollout_scenarios.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.core.clock import ManualClock
from appliance.core.limits_updates import ROLLOUT_SWEEP_INTERVAL_MS
from appliance.management.executions import State
from appliance.management.rollout_plan import Plan, Policy, Targets
from appliance.management.rollouts import RolloutState
from appliance.management.windows import Window as Hours
from appliance.updates import rollout_planner
from appliance.updates.rollout_planner import RolloutPlanner
from appliance.updates.surroundings import Surroundings
from appliance.updates.work import Window, Work
from storage.catalog import Catalog
from storage.catalog.rollout_executions import NewExecution
from tests.rollout_kit import NEW, OLD, add_artifact, add_devices, names

NOW = 1_800_000_000_000 // 86_400_000 * 86_400_000
HOUR_MS = 3_600_000


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = Catalog.open(tmp_path / "catalog.db", clock=ManualClock(NOW), node_id=bytes(16))
    add_artifact(opened)
    yield opened
    opened.close()


def put(catalog: Catalog, plan: Plan, *, count: int = 0, **columns: Any) -> None:
    add_devices(catalog, names(count))
    with catalog.transaction():
        rollout = catalog.create_rollout(
            "r1", name="r", artifact_id="a1", targets=Targets(all=True), plan=plan, policy=Policy(), created_by="x"
        )  # fmt: skip
        made = [
            NewExecution(execution_id=f"r1-{each}", device_id=each, wave=0, from_version="1", from_digest=OLD)
            for each in names(count)
        ]
        catalog.add_executions(
            rollout, made, to_version="2", to_digest=NEW, size_bytes=9, deadline_at_ms=NOW + 9 * HOUR_MS
        )
        catalog.change_rollout("r1", **columns)


def look(catalog: Catalog, planner: RolloutPlanner) -> tuple[Work, int | None]:
    work = Work(catalog, NOW, Surroundings(ManualClock(NOW), random=lambda: 0.5), planner)
    with catalog.transaction():
        return work, planner.look(work)


def test_without_rollouts_nothing_is_looked_at(catalog: Catalog) -> None:
    put(catalog, Plan())
    assert look(catalog, RolloutPlanner())[1] is None


def test_it_looks_again_after_a_while_or_when_a_soak_is_over(catalog: Catalog) -> None:
    planner = RolloutPlanner()
    put(catalog, Plan(), count=1, state=RolloutState.RUNNING, wave_started_at_ms=NOW)
    work, again_ms = look(catalog, planner)
    assert again_ms == NOW + ROLLOUT_SWEEP_INTERVAL_MS
    assert set(work.executions) == {"r1-d000"}  # made elsewhere: the engine has to know its deadline
    assert look(catalog, planner)[0].executions == {}
    catalog.change_rollout("r1", state=RolloutState.SOAKING, soak_until_at_ms=NOW + 5)
    assert look(catalog, planner)[1] == NOW + 5


def test_many_are_moved_in_parts(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout_planner, "ROLLOUT_MOVE_COUNT_MAX", 2)
    planner = RolloutPlanner()
    put(catalog, Plan(), count=5, state=RolloutState.STOPPING, reason="Stopped by hand.")
    for left in (3, 1):
        assert look(catalog, planner)[1] == NOW
        assert sum(each.count for each in catalog.standings("r1") if each.state is State.QUEUED) == left
    look(catalog, planner)
    rollout = catalog.get_rollout("r1")
    assert (rollout.state, rollout.reason) == (RolloutState.STOPPED, "Stopped by hand.")


@pytest.mark.parametrize(
    ("now_ms", "expected"),
    [
        (NOW, Window(is_open=False, ends_at_ms=NOW + 4 * HOUR_MS)),
        (NOW + 3 * HOUR_MS, Window(is_open=True, ends_at_ms=NOW + 4 * HOUR_MS)),
        (NOW + 5 * HOUR_MS, Window(is_open=False, ends_at_ms=NOW + 28 * HOUR_MS)),
    ],
)
def test_windows(catalog: Catalog, now_ms: int, expected: Window) -> None:
    put(catalog, Plan(window=Hours.of((), "02:00", "04:00")))
    planner = RolloutPlanner()
    assert planner.window(catalog, "r1", now_ms) == expected
    assert planner.window(catalog, "unknown", now_ms) == Window()


def test_times_move_with_the_clock(catalog: Catalog) -> None:
    put(catalog, Plan(), state=RolloutState.RUNNING, wave_started_at_ms=NOW, deadline_at_ms=NOW + 7)
    with catalog.transaction():
        RolloutPlanner().shift(catalog, -100)
    rollout = catalog.get_rollout("r1")
    assert (rollout.wave_started_at_ms, rollout.soak_until_at_ms, rollout.deadline_at_ms) == (
        NOW - 100,
        None,
        NOW - 93,
    )


def test_a_device_that_came_here_follows_its_rollout_at_another_node(catalog: Catalog) -> None:
    """The rollout is moved on where it is driven; here its executions pause, resume and stop as its state says."""
    put(catalog, Plan(), count=2, state="running")
    other = "0b" * 16
    with catalog.transaction():
        catalog.execute(
            "UPDATE rollouts SET home = ?, origin = ?, hlc = ?", (other, catalog.origin, catalog.hlc)
        )
        catalog.execute(
            "UPDATE executions SET home = ?, origin = ?, hlc = ? WHERE device_id = ?",
            (other, catalog.origin, catalog.hlc, names(2)[1]),
        )
        catalog.execute(
            "UPDATE executions SET state = 'downloading', is_admitted = 1, origin = ?, hlc = ?",
            (catalog.origin, catalog.hlc),
        )
    mine, theirs = (f"r1-{each}" for each in names(2))
    planner = RolloutPlanner()
    look(catalog, planner)
    assert catalog.get_execution(mine).state is State.DOWNLOADING
    for state, found in (("paused", State.PAUSED), ("running", State.DOWNLOADING)):
        with catalog.transaction():
            catalog.execute(
                "UPDATE rollouts SET state = ?, origin = ?, hlc = ?", (state, catalog.origin, catalog.hlc)
            )
        look(catalog, planner)
        assert catalog.get_execution(mine).state is found
        assert catalog.get_execution(theirs).state is State.DOWNLOADING
        rollout = catalog.find_rollout("r1")
        assert rollout is not None
        assert rollout.state == state, "nobody but its home moves it"
