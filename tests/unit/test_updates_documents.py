"""The job document of an execution."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import Conflict
from appliance.management.executions import State
from appliance.updates.documents import job_document
from storage.catalog.catalog import Catalog
from tests.execution_kit import NEW_DIGEST, OLD_DIGEST, an_execution
from tests.updates_kit import NODE_ID, put_rollout


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = Catalog.open(tmp_path / "catalog.db", clock=ManualClock(), node_id=NODE_ID)
    with opened.transaction():
        put_rollout(opened, policy={"confirm_s": 60}, plan='{"window": {"from": "01:00"}}', fence=5)
    yield opened
    opened.close()


def test_to_install(catalog: Catalog) -> None:
    with catalog.transaction():
        catalog.execute(
            "UPDATE artifacts SET hw = '[\"rev2\"]', min_version = '1.0', manifest = '{\"epoch\":1}', origin = ?, hlc = ?",
            (catalog.origin, catalog.hlc),
        )
    assert job_document(catalog, an_execution(attempt=2)) == {
        "op": "fw.install",
        "rollout": "r1",
        "attempt": 2,
        "artifact": {
            "name": "pump-r1",
            "version": "2.0",
            "size": 1_000,
            "sha256": NEW_DIGEST,
            "format": "raw",
            "stream": f"fw-{NEW_DIGEST[:32]}",
            "url": f"/dl/{NEW_DIGEST}",
        },
        "compat": {"hw": ["rev2"], "min_version": "1.0"},
        "epoch": 0,
        "manifest": {"epoch": 1},
        "sig": [],
        "policy": {
            "confirm_s": 60,
            "reboot_s": 600,
            "max_attempts": 3,
            "max_rollback_attempts": 3,
            "window": {"from": "01:00"},
        },
        "fence": 5,
    }


@pytest.mark.parametrize(("state", "attempt"), [(State.ROLLBACK_PENDING, 2), (State.ROLLING_BACK, 1)])
def test_to_go_back(catalog: Catalog, state: State, attempt: int) -> None:
    assert job_document(catalog, an_execution(state, rollback_attempt_count=1)) == {
        "op": "fw.rollback",
        "rollout": "r1",
        "to_version": "1.0",
        "to_sha256": OLD_DIGEST,
        "attempt": attempt,
        "max_rollback_attempts": 3,
        "fence": 5,
    }


def test_without_a_rollout(catalog: Catalog) -> None:
    with pytest.raises(Conflict) as error:
        job_document(catalog, an_execution(rollout_id="r9"))
    assert error.value.code == "execution_without_artifact"
