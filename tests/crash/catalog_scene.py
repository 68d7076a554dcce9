"""A box whose catalog somebody else holds: real processes, a device that publishes, an operator who is signed in."""

from __future__ import annotations

import http.client
import json
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from appliance.core.errors import HomeportError
from appliance.run.local_api import LocalApi
from tests.crash.rig import Publisher, Rig, stored_numbers, wait_for

PASSWORD = "a long crash passphrase"
REQUEST_DEADLINE_S = 10.0
"""Nothing may take longer: 2 s for a connection of the catalog, 5.5 s for a write, and a busy machine."""


class Answer(NamedTuple):
    status: int
    retry_after: str | None
    took_s: float
    content: Any


class Operator:
    """Somebody who is signed in over HTTPS, or who only says so."""

    def __init__(self, port: int, *, cookie: str = "") -> None:
        self._port = port
        # The box's own certificate, over loopback: who it is does not matter here.
        self._context = ssl.create_default_context()
        self._context.check_hostname = False
        self._context.verify_mode = ssl.CERT_NONE
        self._headers = {"Accept": "application/json", "Cookie": cookie}

    def sign_in(self, code: str) -> None:
        """Claim the box."""
        body = {"code": code, "user_id": "admin", "password": PASSWORD}
        connection = self._connect()
        connection.request("POST", "/api/v1/setup", json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        content = json.loads(response.read())
        assert response.status == 201, content
        self._headers["Cookie"] = (response.getheader("set-cookie") or "").partition(";")[0]
        self._headers["X-CSRF-Token"] = content["csrf_token"]
        connection.close()

    def ask(self, method: str, target: str, body: object = None) -> Answer:
        """One request; fails the test when it has no answer within the deadline."""
        connection = self._connect()
        began_s = time.monotonic()
        content = None if body is None else json.dumps(body)
        connection.request(method, target, content, {**self._headers, "Content-Type": "application/json"})
        response = connection.getresponse()
        data = response.read()
        took_s = time.monotonic() - began_s
        connection.close()
        assert took_s < REQUEST_DEADLINE_S, f"{method} {target} took {took_s:.1f} s"
        answer = Answer(
            response.status, response.getheader("retry-after"), took_s, json.loads(data) if data else None
        )
        if answer.status == 503:
            assert answer.retry_after, "503 says when to come again"
        return answer

    def _connect(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(
            "127.0.0.1", self._port, context=self._context, timeout=2 * REQUEST_DEADLINE_S
        )


class Pulse:
    """When acknowledgements came: the longest time without one."""

    def __init__(self, *, pause_s: float = 0.02) -> None:
        self._pause_s = pause_s
        self._last_s = time.monotonic()
        self.longest_gap_s = 0.0

    def __call__(self) -> None:
        now_s = time.monotonic()
        self.longest_gap_s = max(self.longest_gap_s, now_s - self._last_s)
        self._last_s = now_s
        time.sleep(self._pause_s)  # the pace of the device

    def begin(self) -> None:
        self.longest_gap_s, self._last_s = 0.0, time.monotonic()


class Scene:
    """See the module's docstring."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.catalog = rig.data_dir / "catalog.db"
        self.pulse = Pulse()
        token = rig.add_device("dev-a")
        self.late_token = rig.add_device("dev-late")
        rig.start("node")
        rig.start("broker")
        rig.wait_for_broker()
        self.local = LocalApi(rig.run_dir / "node.sock")
        wait_for(self.is_ready, 30, f"the node answers\n{rig.read_log()}")
        self.operator = Operator(rig.ui_port)
        self.operator.sign_in(self.local.post("/api/v1/setup/code", {})["code"])
        self.device = Publisher(rig.port, "dev-a", token, 1, confirm=self.pulse)
        self.device.start()
        wait_for(lambda: bool(self.device.acknowledged), 20, "a first acknowledgement")

    def is_ready(self) -> bool:
        try:
            return bool(self.local.get("/health/ready")["ready"])
        except HomeportError:
            return False

    @contextmanager
    def locked(self, which: str, *, hold_s: float = 600.0, pause_s: float = 0.0) -> Iterator[None]:
        """While another process holds the catalog; see tests/stand_ins/catalog_locker.py."""
        command = [sys.executable, "-m", "tests.stand_ins.catalog_locker", str(self.catalog), which]
        locker = subprocess.Popen(
            [*command, str(hold_s), str(pause_s)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert locker.stdin is not None
        assert locker.stdout is not None
        try:
            assert locker.stdout.readline() == b"held\n"
            yield
            assert locker.poll() is None, "it has held it to the end"
        finally:
            locker.stdin.close()
            locker.stdout.close()
            locker.wait(20)

    def late_device_gets_in(self) -> None:
        """A device that comes only now signs in and has readings acknowledged."""
        late = Publisher(self.rig.port, "dev-late", self.late_token, 2, confirm=Pulse())
        late.start()
        wait_for(lambda: bool(late.acknowledged), 20, "a device that comes now is served")
        late.finish()

    def acknowledges_more(self, deadline_s: float = 10.0) -> None:
        """The device goes on being acknowledged."""
        before = len(self.device.acknowledged)
        wait_for(lambda: len(self.device.acknowledged) > before + 20, deadline_s, "devices go on")

    def doctor_complains_of(self) -> set[str]:
        """What `homeport doctor` finds that is not well, by its name."""
        out = subprocess.run(
            [sys.executable, "-m", "appliance", "doctor", "--json"],
            env=self.rig.environ, stdout=subprocess.PIPE, timeout=60,
        )  # fmt: skip
        checks = json.loads(out.stdout)["checks"]
        return {each["name"] for each in checks if each["result"] in ("warning", "failed")}

    def recovers(self) -> None:
        """Without anybody's help the catalog is read and written again."""

        def works() -> bool:
            read = self.operator.ask("GET", "/api/v1/devices")
            name = f"after-{time.monotonic_ns()}"
            written = self.operator.ask("POST", "/api/v1/devices", {"device_id": name})
            return (read.status, written.status) == (200, 201)

        wait_for(works, 30, f"the API works again\n{self.rig.read_log()}")
        wait_for(self.is_ready, 30, "the node is ready again")

    def all_is_stored(self) -> None:
        """Every acknowledged reading is in the store, once."""
        self.device.finish()
        last = max(self.device.acknowledged)

        def newest() -> list[Any]:
            values = self.local.get("/api/v1/devices/dev-a/newest")["values"]
            return [each["value"] for each in values if each["metric"] == "n"]

        # Not only "nothing is behind": the pipeline looks at the log's head now and then.
        wait_for(lambda: newest() == [last], 60, "the last reading is stored")
        self.rig.stop("broker")
        self.rig.stop("node")
        stored = stored_numbers(self.rig.data_dir / "telemetry.duckdb", "dev-a")
        assert len(stored) == len(set(stored)), "stored twice"
        lost = self.device.acknowledged - set(stored)
        assert not lost, (
            f"{len(lost)} of {len(self.device.acknowledged)} acknowledged and lost: {sorted(lost)[:20]} … {max(lost)}"
        )


def catalog_moved(rig: Rig, to: Path) -> None:
    """Have the catalog on another disk: SQLite follows the link, and puts its own files beside the real one."""
    to.mkdir(mode=0o700)
    for suffix in ("", "-wal", "-shm"):
        path = rig.data_dir / f"catalog.db{suffix}"
        if path.exists():
            path.replace(to / path.name) if path.stat().st_dev == to.stat().st_dev else _move(path, to)
    (rig.data_dir / "catalog.db").symlink_to(to / "catalog.db")


def _move(path: Path, to: Path) -> None:
    (to / path.name).write_bytes(path.read_bytes())
    (to / path.name).chmod(0o600)
    path.unlink()
