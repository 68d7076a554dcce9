"""This box's clock as metrics, and in the API's status."""

from __future__ import annotations

import re
from pathlib import Path

from tests.node_kit import NOW_MS, running_node


async def test_a_clock_in_1970_that_is_put_right(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client(local=True) as client:

        async def numbers() -> dict[str, float]:
            text = (await client.get("/health/metrics")).text
            return {
                name: float(value) for name, value in re.findall(r"(?m)^(homeport_clock_\S+) (\S+)$", text)
            }

        assert await numbers() == {
            'homeport_clock_doubted{why="before"}': 0,
            'homeport_clock_doubted{why="back"}': 0,
            'homeport_clock_doubted{why="ahead"}': 0,
            "homeport_clock_off_by_seconds": 0,
            "homeport_clock_steps_total": 0,
        }
        node.clock.set_wall(5_000)
        found = await numbers()
        assert found['homeport_clock_doubted{why="before"}'] == 1
        assert found["homeport_clock_off_by_seconds"] == (5_000 - NOW_MS) / 1_000
        status = (await client.get("/api/v1/status")).json()
        assert (status["clock"]["doubt"], status["clock"]["last_step_ms"]) == ("before", 5_000 - NOW_MS)
        assert status["now_ms"] - status["started_at_ms"] == 5_000
        node.clock.set_wall(NOW_MS)
        assert (await numbers())["homeport_clock_steps_total"] == 2
        assert (await client.get("/api/v1/status")).json()["clock"]["text"] == ""
