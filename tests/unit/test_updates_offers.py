"""What a device has to do, and in which order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.management.execution import Execution
from appliance.management.executions import State
from appliance.updates.offers import next_of, offered
from storage.catalog.catalog import Catalog
from tests.execution_kit import NOW_MS, an_execution
from tests.updates_kit import NODE_ID

OFFERED = {
    State.QUEUED, State.NOTIFIED, State.DOWNLOADING, State.DOWNLOADED, State.VERIFIED, State.WAIT_WINDOW, State.INSTALLING,
    State.REBOOTING, State.TESTING, State.UNCONFIRMED, State.ROLLBACK_PENDING, State.ROLLING_BACK,
}  # fmt: skip


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = Catalog.open(tmp_path / "catalog.db", clock=ManualClock(), node_id=NODE_ID)
    yield opened
    opened.close()


def put(catalog: Catalog, *executions: Execution) -> None:
    with catalog.transaction():
        for execution in executions:
            catalog.insert_execution(execution)


@pytest.mark.parametrize("state", list(State))
def test_what_is_the_device_s_business(catalog: Catalog, state: State) -> None:
    put(catalog, an_execution(state))
    assert bool(offered(catalog, "pump-1", NOW_MS)) == (state in OFFERED)


def test_what_is_over_is_not(catalog: Catalog) -> None:
    put(catalog, an_execution(State.TESTING, ended_at_ms=1))
    assert next_of(catalog, "pump-1", NOW_MS) is None


def test_the_way_back_comes_first_then_what_has_begun_then_the_older(catalog: Catalog) -> None:
    put(
        catalog,
        an_execution(execution_id="new", number=4, created_at_ms=20),
        an_execution(execution_id="old", number=1, created_at_ms=10),
        an_execution(State.DOWNLOADING, execution_id="begun", number=2, created_at_ms=30),
        an_execution(State.ROLLBACK_PENDING, execution_id="back", number=3, created_at_ms=40),
    )
    assert [each.execution_id for each in offered(catalog, "pump-1", NOW_MS)] == [
        "back",
        "begun",
        "old",
        "new",
    ]


@pytest.mark.parametrize(
    ("changes", "is_offered"),
    [
        ({"is_admitted": False}, False),
        ({"push_due_at_ms": NOW_MS + 1}, False),
        ({"push_due_at_ms": NOW_MS}, True),
        # It was told before: whoever asks by itself is answered.
        ({"push_due_at_ms": NOW_MS + 1, "started_at_ms": 5}, True),
        ({"state": State.ROLLBACK_PENDING, "push_due_at_ms": NOW_MS + 1}, False),
        ({"state": State.ROLLBACK_PENDING, "push_due_at_ms": NOW_MS}, True),
        ({"state": State.DOWNLOADING, "push_due_at_ms": NOW_MS + 1}, True),
    ],
)
def test_not_before_its_time(catalog: Catalog, changes: dict[str, object], is_offered: bool) -> None:
    put(catalog, an_execution(**changes))  # type: ignore[arg-type]
    assert bool(offered(catalog, "pump-1", NOW_MS)) == is_offered
