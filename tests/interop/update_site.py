"""A box with a pump that is to be updated from 1.0.0 to 2.0.0, as clients that nobody here wrote see it."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tests.interop.box import Box
from tests.processes import child_running
from tests.waiting import Pause

DEADLINE_S: Final = 120.0


class UpdateSite:
    """See the module's docstring; the box is started at once.

    Args:
        folder: Everything lies there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.box = Box(folder)
        self.token = ""

    def roll_out(self, image: Path, *options: str, bandwidth_bytes_s: int) -> None:
        """Upload an image, and start a rollout of it to the pump."""
        self.token = self.token or self.box.homeport("device", "add", "pump")["token"]
        artifact = self.box.homeport("artifact", "add", str(image), "--name", "pump", *options)
        assert artifact["version"] == "2.0.0"
        wish: dict[str, Any] = {
            "name": "Pumps to 2.0.0",
            "artifact_id": artifact["artifact_id"],
            "targets": {"devices": ["pump"]},
            "plan": {
                "waves": ["100%"], "bandwidth_bytes_s": bandwidth_bytes_s, "start_spread_s": 0,
                "gate": {"success_percent": 95, "soak_s": 0, "health": False},
            },
        }  # fmt: skip
        rollout = self.box.api.post("/api/v1/rollouts", wish)
        path = f"/api/v1/rollouts/{rollout['rollout_id']}"
        for act in ("submit", "start"):
            rollout = self.box.api.post(f"{path}/{act}", {})
        assert rollout["state"] == "running", rollout
        self.wait_until(lambda: self.execution() != {})

    def execution(self) -> dict[str, Any]:
        """Its row, as it is on disk; {} before there is one."""
        rows = self._rows("SELECT * FROM executions WHERE device_id = 'pump'")
        return rows[0] if rows else {}

    def moves(self) -> list[str]:
        """The events that moved it."""
        found = self._rows("SELECT event FROM execution_events WHERE from_state <> to_state ORDER BY number")
        return [row["event"] for row in found]

    def _rows(self, sql: str) -> list[dict[str, Any]]:
        connection = sqlite3.connect(f"file:{self.folder}/data/catalog.db?mode=ro", uri=True)
        connection.row_factory = sqlite3.Row
        try:
            return [dict(row) for row in connection.execute(sql)]
        finally:
            connection.close()

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Poll until a condition holds; fails with all that is known at the deadline."""
        end, pause = time.monotonic() + DEADLINE_S, Pause()
        while not condition():
            assert time.monotonic() < end, self.tell()
            pause()

    def wait_for(self, *states: str) -> None:
        """Until the execution is in one of these."""
        self.wait_until(lambda: self.execution().get("state") in states)

    def tell(self) -> str:
        """What is known, for whoever reads of a failure."""
        return f"{self.execution()}\n{self.moves()}\n{(self.folder / 'log.txt').read_text()[-3000:]}"

    def sent_bytes(self, way: str = "https") -> float:
        """Of images, since the node has started."""
        name = f'homeport_delivery_sent_bytes_total{{way="{way}"}}'
        text = b"".join(self.box.api.download("/health/metrics")).decode()
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))

    def kill_node(self) -> None:
        """SIGKILL; the supervisor starts another."""
        node = child_running(self.box.process.pid, "node_process")
        assert node is not None
        os.kill(node, signal.SIGKILL)

    def close(self) -> None:
        self.box.close()
