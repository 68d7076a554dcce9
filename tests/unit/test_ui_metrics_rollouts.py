"""How rollouts stand, as metrics and in the health check."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.management.executions import State
from tests.node_kit import running_node
from tests.people_kit import person
from tests.rollout_kit import node_with_updates, put_execution, started
from ui.health import Degraded, updates_check
from ui.metrics_rollouts import read_update_numbers


async def test_the_metrics(tmp_path: Path) -> None:
    async with node_with_updates(tmp_path) as node, person(node, "operator") as operator:
        await started(node, operator, 3)
        await put_execution(node, "d000", State.MANUAL, rollback_attempt_count=3)
        await put_execution(node, "d001", State.SUCCEEDED, ended_at_ms=1)
        async with node.client(local=True) as client:
            text = (await client.get("/health/metrics")).text
        for line in (
            'homeport_rollouts{state="running"} 1.0', 'homeport_rollouts{state="paused"} 0.0',
            'homeport_executions{state="manual"} 1.0', "homeport_needs_manual_intervention 1.0",
            "homeport_rollback_attempts 3.0", "homeport_firmware_drift 1.0",
        ):  # fmt: skip
            assert line in text, line


async def test_a_catalog_that_does_not_answer_leaves_the_other_numbers(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        assert await read_update_numbers(node.services) is not None
        await node.catalog.aclose()
        assert await read_update_numbers(node.services) is None


async def test_the_health_check_names_who_runs_something_else(tmp_path: Path) -> None:
    async with node_with_updates(tmp_path) as node, person(node, "operator") as operator:
        probe = updates_check(node.catalog)
        assert await probe() == "nobody needs a hand"
        await started(node, operator, 2)
        await put_execution(node, "d001", State.SUCCEEDED, ended_at_ms=1)
        with pytest.raises(Degraded) as found:
            await probe()
        assert found.value.message == "1 device runs something else than the last update ended with: d001."
        assert found.value.code == "updates_need_a_hand"


async def test_a_catalog_that_is_away_is_not_told_of_twice(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await node.catalog.aclose()
        assert await updates_check(node.catalog)() == "not known while the catalog is away"
