"""`homeport client` and `homeport retained` against the whole appliance: both processes, real sockets, a real client."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from appliance.cli import main
from appliance.run.local_api import LocalApi
from tests.ports import free_port
from tests.protocol.raw_client import RawClient
from tests.waiting import Pause

DEADLINE_S = 180.0
"""Machines that test several things at once are slow; nothing waits for it where all is well."""
CLIENT_ID = "hall 2/panel"


class Appliance:
    """`homeport run`, and its command line."""

    def __init__(self, folder: Path, *, more: str = "") -> None:
        self.port, ui_port = free_port(), free_port()
        self.config = folder / "homeport.toml"
        self.config.write_text(
            f'[node]\ndata_dir = "{folder / "data"}"\nrun_dir = "{folder / "run"}"\n'
            f'[broker]\ntcp_bind = "127.0.0.1:{self.port}"\ntls_bind = "off"\n[ui]\nbind = "127.0.0.1:{ui_port}"\n{more}'
        )
        self.start()

    def start(self) -> None:
        """Start it, for the first time or after `stop`."""
        self.process = subprocess.Popen(
            [str(Path(sys.executable).parent / "homeport"), "run", "--config", str(self.config)],
            stderr=subprocess.PIPE,
            text=True,
        )
        self._last_resort = threading.Timer(DEADLINE_S, self.process.kill)
        self._last_resort.start()

    def wait_until_ready(self) -> None:
        assert self.process.stderr is not None
        seen = []
        for line in self.process.stderr:
            seen.append(line)
            if "everything is ready" in line:
                return
        raise AssertionError(f"it ended before it was ready: {seen}")

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(main, [*arguments, "--config", str(self.config)], catch_exceptions=False)

    def api(self) -> LocalApi:
        return LocalApi(self.config.parent / "run" / "node.sock")

    def answer(self, *arguments: str) -> Any:
        result = self.run(*arguments, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=DEADLINE_S)
        self._last_resort.cancel()


def until(found: Callable[[], Any]) -> Any:
    deadline_s = time.monotonic() + DEADLINE_S / 2
    pause = Pause()
    while not (value := found()):
        assert time.monotonic() < deadline_s
        pause()
    return value


@pytest.fixture
def appliance(tmp_path: Path) -> Iterator[Appliance]:
    running = Appliance(tmp_path)
    try:
        running.wait_until_ready()
        yield running
    finally:
        running.stop()
    assert running.process.returncode == 0


def test_clients_and_retained_messages(appliance: Appliance) -> None:
    added = appliance.answer("device", "add", "panel", "--kind", "application", "--access", "site")
    with RawClient(("127.0.0.1", appliance.port), 5) as client:
        expiry = b"\x11\0\0\x0e\x10"
        client.connect_in_time(
            CLIENT_ID, username="panel", password=added["token"].encode(), properties=expiry
        )
        client.subscribe(("elsewhere/#", 1))
        client.publish("plant/line 1", b"running", retain=True)
        (row,) = until(lambda: appliance.answer("client", "list")["clients"])
        assert (row["client_id"], row["principal"], row["subscriptions"]) == (CLIENT_ID, "panel", 1)
        assert appliance.answer("client", "list", "--filter", "nobody") == {"clients": []}
        listed = appliance.run("client", "list").stdout.splitlines()
        assert listed[0].split() == [
            "CLIENT",
            "USER",
            "STATE",
            "ADDRESS",
            "BY",
            "MQTT",
            "SUBSCRIPTIONS",
            "WAITING",
        ]
        assert listed[1].startswith(CLIENT_ID)
        shown = appliance.run("client", "show", CLIENT_ID).stdout
        assert "version: 5.0" in shown
        assert "elsewhere/#  1" in shown

        (message,) = appliance.answer("retained", "list")["retained"]
        assert (message["topic"], message["payload_bytes"], message["client_id"]) == (
            "plant/line 1", 7, CLIENT_ID,
        )  # fmt: skip
        assert "plant/line 1" in appliance.run("retained", "list", "--filter", "LINE").stdout
        assert appliance.run("retained", "list", "--filter", "other").stdout == "(none)\n"
        assert appliance.answer("retained", "clear", "plant/line 1")["topic"] == "plant/line 1"
        assert appliance.answer("retained", "list") == {"retained": []}
        assert appliance.run("retained", "clear", "plant/line 1").exit_code == 3

        assert appliance.answer("client", "kick", CLIENT_ID) == {"client_id": CLIENT_ID}
        client.expect_disconnect(0x98)
    (row,) = appliance.answer("client", "list", "--state", "away")["clients"]
    assert (row["client_id"], row["subscriptions"]) == (CLIENT_ID, 1)
    assert "away" in appliance.run("client", "list").stdout
    assert appliance.run("client", "kick", CLIENT_ID).exit_code == 4
    assert appliance.answer("client", "end-session", CLIENT_ID) == {
        "client_id": CLIENT_ID,
        "was_connected": False,
    }
    refused = appliance.run("client", "end-session", CLIENT_ID)
    assert refused.exit_code == 3
    assert "has a session" in refused.stderr
