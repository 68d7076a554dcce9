"""The whole appliance with a bridge: the supervisor starts it, the node shows it, a removed one holds nothing back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from appliance.cli import main
from tests.interop.bridging import bridge_settings, eventually
from tests.interop.brokers import mosquitto
from tests.ports import free_port

DEADLINE_S = 60


@contextmanager
def running(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (path.parent / "homeport.log").open("ab") as sink:
        process = subprocess.Popen(
            [sys.executable, "-c", "from appliance.cli import main; main()", "run", "--config", str(path)],
            cwd=Path(__file__).parents[2],
            env=dict(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(DEADLINE_S)
    assert process.returncode == 0, "it drained in order"


def answer(*arguments: str | Path) -> Any:
    result = CliRunner().invoke(main, [*map(str, arguments), "--json"])
    return json.loads(result.stdout) if result.exit_code == 0 else {}


def state_of(path: Path) -> str:
    found = answer("bridge", "list", "--config", path).get("bridges", [])
    return str(found[0]["state"]) if found else ""


def test_the_appliance_carries_a_bridge_and_shows_it(tmp_path: Path) -> None:
    path = tmp_path / "homeport.toml"
    base = f"""[node]
data_dir = "data"
run_dir = "run"
[broker]
tcp_bind = "127.0.0.1:{free_port()}"
tls_bind = "off"
[ui]
bind = "127.0.0.1:{free_port()}"
"""
    with mosquitto(tmp_path / "m", tls_listener=False) as remote:
        path.write_text(base + bridge_settings(remote.port, 'direction = "out"\ntopic = "dm/#"'))
        with running(path):
            eventually(lambda: state_of(path) == "connected", "the bridge is up", DEADLINE_S)
            shown = answer("bridge", "show", "up", "--config", path)
            assert (shown["connects"], shown["topics"][0]["topic"]) == (1, "dm/#")
            text = CliRunner().invoke(main, ["bridge", "list", "--config", str(path)]).stdout
            assert text.splitlines()[0].split()[:3] == ["BRIDGE", "ADDRESS", "STATE"]
            assert "connected" in text
            details = CliRunner().invoke(main, ["bridge", "show", "up", "--config", str(path)]).stdout
            assert "DIRECTION" in details
            missing = CliRunner().invoke(main, ["bridge", "show", "nobody", "--config", str(path)])
            assert missing.exit_code == 3
            remote.stop()
            eventually(lambda: state_of(path) == "waiting", "it says that the other broker is away")
            status = answer("status", "--config", path)
            assert status, "the appliance is ready all the same"
        cursor = tmp_path / "data" / "cursors" / "bridge-up.json"
        assert json.loads(cursor.read_text())["next_seq"] > 1
    path.write_text(base)
    with running(path):
        eventually(lambda: "bridges" in answer("bridge", "list", "--config", path), "it is up", DEADLINE_S)
        assert answer("bridge", "list", "--config", path) == {"bridges": []}
    assert not cursor.exists()
    assert cursor.with_name("bridge-up.json.removed").exists()
