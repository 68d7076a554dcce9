"""Finding executions: within a scope, in need of a hand, of a device; devices that run something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import NotFound
from appliance.management.execution import Execution
from appliance.management.executions import NEEDS_A_HAND, State
from storage.catalog import Catalog
from storage.catalog.execution_lists import IN_NEED
from tests.acts import ACT
from tests.execution_kit import NEW_DIGEST, OLD_DIGEST, THIRD_DIGEST, an_execution, firmware

HALL = frozenset({"hall"})


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    opened = Catalog.open(tmp_path / "catalog.db", clock=ManualClock(), node_id=b"n" * 16)
    with opened.transaction(ACT):
        opened.add_group("hall")
    return opened


def put(catalog: Catalog, *executions: Execution, groups: tuple[str, ...] = ("hall",)) -> None:
    with catalog.transaction(ACT):
        for each in executions:
            if catalog.find_device(each.device_id) is None:
                catalog.add_device(each.device_id, groups=groups)
            catalog.insert_execution(each)


def one(number: int, state: State = State.QUEUED, **changes: object) -> Execution:
    fields = {"execution_id": f"e{number:03}", "device_id": f"d{number:03}", **changes}
    return an_execution(state, **fields)


def test_a_rollouts_executions_come_in_pages_and_within_a_scope(catalog: Catalog) -> None:
    put(catalog, *(one(n) for n in range(5)))
    put(catalog, one(5), one(6, State.FAILED), groups=())
    first = catalog.list_executions(rollout_id="r1", limit=4)
    assert [each.execution_id for each in first.executions] == ["e000", "e001", "e002", "e003"]
    rest = catalog.list_executions(rollout_id="r1", cursor=first.next_cursor, limit=4)
    assert [each.execution_id for each in rest.executions] == ["e004", "e005", "e006"]
    assert rest.next_cursor is None
    assert len(catalog.list_executions(rollout_id="r1", scope=HALL, limit=10).executions) == 5
    failed = catalog.list_executions(rollout_id="r1", states=[State.FAILED], limit=10).executions
    assert [each.execution_id for each in failed] == ["e006"]
    assert catalog.list_executions(rollout_id="r2", limit=10).executions == ()


def test_one_of_a_device_outside_of_a_scope_is_not_there_and_its_device_not_named(catalog: Catalog) -> None:
    put(catalog, one(1))
    put(catalog, one(2), groups=())
    assert catalog.visible_execution("e001", scope=HALL).device_id == "d001"
    assert catalog.visible_execution("e002").device_id == "d002"
    for execution_id in ("e002", "e003"):
        with pytest.raises(NotFound) as missing:
            catalog.visible_execution(execution_id, scope=HALL)
        assert str(missing.value).startswith(f"There is no execution “{execution_id}”.")
        assert "d002" not in str(missing.value)


def test_the_work_queue_has_states_that_need_a_hand_and_marks(catalog: Catalog) -> None:
    put(catalog, *(one(n, state) for n, state in enumerate(sorted(NEEDS_A_HAND))))
    put(catalog, one(10, State.ROLLBACK_PENDING, needs_manual_intervention=True, rollout_id="r2"), groups=())
    put(catalog, one(11, State.SUCCEEDED))
    everybody = catalog.executions_in_need(limit=10)
    assert len(everybody.executions) == len(NEEDS_A_HAND) + 1 == catalog.count_in_need()
    assert catalog.count_in_need(scope=HALL) == len(NEEDS_A_HAND)
    assert [
        each.execution_id for each in catalog.executions_in_need(rollout_id="r2", limit=10).executions
    ] == ["e010"]
    first = catalog.executions_in_need(scope=HALL, limit=3)
    assert first.next_cursor == "e002"
    assert len(catalog.executions_in_need(scope=HALL, cursor="e002", limit=3).executions) == 1


def test_the_work_queue_is_read_from_its_index(catalog: Catalog) -> None:
    plan = catalog.rows(f"EXPLAIN QUERY PLAN SELECT count(*) FROM executions AS e WHERE {IN_NEED}")
    assert "executions_in_need" in plan[0]["detail"]


def test_a_devices_updates_the_newest_first(catalog: Catalog) -> None:
    put(
        catalog,
        *(one(n, State.CANCELED, device_id="d", rollout_id=f"r{n}", created_at_ms=n) for n in range(3)),
    )
    assert [each.rollout_id for each in catalog.executions_of_device("d", limit=2)] == ["r2", "r1"]


def test_drift_is_what_runs_against_what_the_last_update_ended_with(catalog: Catalog) -> None:
    ended = {"ended_at_ms": 5}
    put(
        catalog,
        one(0, State.SUCCEEDED, **ended),  # runs what it should
        one(1, State.SUCCEEDED, **ended),  # runs the old one
        one(2, State.ROLLED_BACK, **ended),  # should be on the old one, and is
        one(3, State.ROLLED_BACK, **ended),  # says no digest, and another version
        one(4, State.SUCCEEDED, **ended),  # is being updated again
        one(5, State.CANCELED, **ended),  # was never touched
        one(6, State.DOWNLOADING, device_id="d004", rollout_id="r2"),
    )
    reports = {0: (NEW_DIGEST, "2.0"), 1: (OLD_DIGEST, "1.0"), 2: (OLD_DIGEST, "1.0"), 3: ("", "1.5"),
               4: (THIRD_DIGEST, "9"), 5: (THIRD_DIGEST, "9")}  # fmt: skip
    with catalog.transaction(ACT):
        for number, (digest, version) in reports.items():
            catalog.save_device_firmware(firmware(digest, device_id=f"d{number:03}", version=version), 1)
    found = catalog.drift(limit=10)
    assert [(each.device_id, each.should_version, each.version) for each in found] == [
        ("d001", "2.0", "1.0"),
        ("d003", "1.0", "1.5"),
    ]
    assert len(catalog.drift(scope=HALL, limit=1)) == 1
    assert catalog.drift(scope=frozenset({"elsewhere"}), limit=10) == ()


def test_what_is_bad_for_a_device_or_its_hardware(catalog: Catalog) -> None:
    with catalog.transaction(ACT):
        catalog.save_device_firmware(firmware(OLD_DIGEST, device_id="d1", hw="rev2"), 1)
        for key, device_id, hw in (("a", "d1", ""), ("b", "", "rev2"), ("c", "d2", ""), ("d", "", "rev3")):
            catalog.execute(
                "INSERT INTO known_bad (known_bad_id, device_id, hw, digest, execution_id, reason, created_at_ms, origin, hlc) "
                "VALUES (?, ?, ?, ?, 'e', 'It fell back.', 1, ?, ?)",
                (key, device_id, hw, NEW_DIGEST, catalog.origin, catalog.hlc),
            )
    assert [each.known_bad_id for each in catalog.known_bad_of("d1")] == ["a", "b"]
