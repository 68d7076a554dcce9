from __future__ import annotations

import http.server
import json
import socket
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.core import errors
from appliance.core.errors import HomeportError, Unavailable
from appliance.run.local_api import NODE_STOPPED, LocalApi, from_problem


class _Node(socketserver.ThreadingUnixStreamServer):
    """Answers each target with what `answers` says, and echoes bodies."""

    daemon_threads = True
    answers: dict[str, tuple[int, Any]]


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, _Node)
        self._answer(*self.server.answers[self.path])

    def do_POST(self) -> None:
        if self.path == "/needs-no-body":
            self.close_connection = True
            self._answer(201, {"code": "C0DE"})
            return
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(201, {"echo": json.loads(body), "type": self.headers["Content-Type"]})

    def _answer(self, status: int, body: Any) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def node(tmp_path: Path) -> Iterator[_Node]:
    with _Node(str(tmp_path / "node.sock"), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_answers_are_decoded(node: _Node, tmp_path: Path) -> None:
    node.answers = {"/a?b=c": (200, {"x": 1}), "/empty": (204, b"")}
    api = LocalApi(tmp_path / "node.sock")
    assert api.get("/a?b=c") == {"x": 1}
    assert api.get("/empty") is None
    assert api.post("/p", {"y": 2}) == {"echo": {"y": 2}, "type": "application/json"}


def test_an_answer_that_came_before_the_body_was_sent_is_read(node: _Node, tmp_path: Path) -> None:
    """Larger than a socket holds, so that sending it meets the closed end."""
    assert LocalApi(tmp_path / "node.sock").post("/needs-no-body", "x" * (4 << 20)) == {"code": "C0DE"}


def test_a_problem_becomes_the_error_it_names(node: _Node, tmp_path: Path) -> None:
    problem = {
        "type": "about:blank",
        "title": "Conflict",
        "detail": "There is one.",
        "hint": "Choose.",
        "code": "device_exists",
    }
    node.answers = {"/a": (409, problem), "/ill": (503, {"ready": False})}
    api = LocalApi(tmp_path / "node.sock")
    with pytest.raises(errors.Conflict) as raised:
        api.get("/a")
    assert (raised.value.message, raised.value.hint, raised.value.code) == (
        "There is one.",
        "Choose.",
        "device_exists",
    )
    assert api.request("GET", "/ill", accept=(503,)) == {"ready": False}


@pytest.mark.parametrize(("status", "data"), [(500, b"oops"), (500, b"[1]"), (599, b"{}")])
def test_what_is_no_problem_is_told_by_its_status(status: int, data: bytes) -> None:
    error = from_problem(status, data)
    assert type(error) is HomeportError
    assert str(status) in error.message


def test_nobody_listening_is_a_stopped_node(tmp_path: Path) -> None:
    for there in (False, True):
        if there:
            _dead_socket(tmp_path / "node.sock")
        with pytest.raises(Unavailable) as raised:
            LocalApi(tmp_path / "node.sock").get("/")
        assert raised.value.code == NODE_STOPPED


def _dead_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))


def test_a_node_that_says_nothing_is_told_after_the_timeout(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(tmp_path / "node.sock"))
        deaf.listen()
        with pytest.raises(Unavailable) as raised:
            LocalApi(tmp_path / "node.sock", timeout_s=0.05).get("/")
    assert raised.value.code == "node_silent"
