"""doctor on running processes: what the node says of its dependencies comes out as findings."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import UnixStreamServer
from typing import Any

from appliance.core.config import Config, NodeConfig
from appliance.run.doctor_check import Result
from appliance.run.doctor_processes import check_processes


@contextmanager
def _node(path: Path, status: int, answer: dict[str, Any]) -> Iterator[None]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/health/ready"
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, format: str, *args: object) -> None: ...

        def address_string(self) -> str:
            return "unix"

    with UnixStreamServer(str(path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def test_a_degraded_dependency_is_a_warning_and_a_failing_one_a_failure(tmp_path: Path) -> None:
    config = Config(node=NodeConfig(name="box", data_dir=tmp_path, run_dir=tmp_path))
    answer = {
        "ready": False,
        "degraded": True,
        "dependencies": [
            {"name": "log", "ok": True, "detail": "next record 7"},
            {"name": "catalog_pools", "ok": True, "degraded": True, "detail": "85 % …", "hint": "Look."},
            {"name": "store", "ok": False, "code": "store_unavailable"},
        ],
    }
    with _node(tmp_path / "node.sock", 503, answer):
        found = {check.name: check for check in check_processes(config)}
    assert set(found) == {"node", "node: catalog_pools", "node: store", "broker"}
    assert found["node"].result is Result.OK
    pools = found["node: catalog_pools"]
    assert (pools.result, pools.detail, pools.hint) == (Result.WARNING, "85 % …", "Look.")
    assert (found["node: store"].result, found["node: store"].detail) == (
        Result.FAILED,
        "store_unavailable",
    )
    assert found["broker"].result is Result.SKIPPED


def test_a_node_that_does_not_run_is_no_failure(tmp_path: Path) -> None:
    config = Config(node=NodeConfig(name="box", data_dir=tmp_path, run_dir=tmp_path))
    assert [check.result for check in check_processes(config)] == [Result.SKIPPED, Result.SKIPPED]
