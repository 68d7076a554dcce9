"""What `homeport backup` asks of the running node; tests/integration/test_cli_backup.py has the stopped one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from appliance.core.errors import StorageError
from appliance.run import backup_commands
from appliance.run.backup_commands import ThroughNode
from appliance.run.local_api import LocalApi

JOB = {"backup_id": "running-1", "directory": "/media/usb", "began_at_ms": 1000, "done": 5, "total": 10}
ROW = {
    "backup_id": "b1",
    "directory": "/media/usb",
    "state": "done",
    "started_at_ms": 1000,
    "detail": "",
}
OLDER = {**ROW, "backup_id": "b0", "started_at_ms": 900}


class Node:
    """Answers as the node's API does: the job runs for two looks."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows
        self.asked: list[tuple[str, str, Any]] = []
        self.looks = 0

    def post(self, target: str, body: object) -> Any:
        self.asked.append(("POST", target, body))
        return JOB

    def request(self, method: str, target: str, body: object = None) -> Any:
        self.asked.append((method, target, body))
        return None

    def get(self, target: str) -> Any:
        assert target == "/api/v1/backups"
        self.looks += 1
        running = JOB if self.looks < 3 else None
        return {"running": running, "backups": [] if running else self.rows}


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup_commands, "POLL_S", 0)


def commands(*rows: dict[str, Any]) -> tuple[ThroughNode, Node]:
    node = Node(list(rows))
    return ThroughNode(cast(LocalApi, node)), node


def test_making_one_waits_and_tells_how_far_it_is() -> None:
    through, node = commands(ROW, OLDER)
    told: list[tuple[int, int]] = []
    assert through.make(Path("/media/usb"), lambda *both: told.append(both)) == ROW
    assert node.asked == [("POST", "/api/v1/backups", {"directory": "/media/usb"})]
    assert told == [(5, 10), (5, 10)]


def test_the_schedules_folder_is_the_nodes_to_know() -> None:
    through, node = commands(ROW)
    through.make(None, lambda *_: None)
    assert node.asked == [("POST", "/api/v1/backups", {})]


def test_one_that_failed_is_an_error_with_its_reason() -> None:
    through, _ = commands({**ROW, "state": "failed", "detail": "The disk is full."}, OLDER)
    with pytest.raises(StorageError, match="The disk is full") as found:
        through.make(None, lambda *_: None)
    assert found.value.code == "backup_failed"


def test_a_node_that_forgot_it_is_said() -> None:
    through, _ = commands(OLDER)
    with pytest.raises(StorageError, match="does not know what became of the backup"):
        through.make(None, lambda *_: None)


def test_removing_and_scheduling() -> None:
    through, node = commands()
    through.remove("b/1")
    through.schedule(Path("/media/usb"))
    through.schedule(None)
    assert node.asked == [
        ("DELETE", "/api/v1/backups/b%2F1", None),
        ("PUT", "/api/v1/backups/schedule", {"directory": "/media/usb"}),
        ("PUT", "/api/v1/backups/schedule", {"directory": None}),
    ]
