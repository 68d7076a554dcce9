"""A whole appliance as a process, with devices that have certificates, for clients that nobody here wrote."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from appliance.cli import main
from appliance.core.errors import Unavailable
from appliance.run.local_api import LocalApi
from tests.ports import free_port
from tests.processes import child_running

DEADLINE_S = 60.0
CONFIG = """\
[node]
name = "est"
data_dir = "{folder}/data"
run_dir = "{folder}/run"
[broker]
tcp_bind = "off"
tls_bind = "127.0.0.1:{tls}"
[devices]
first_contact = "wait"
[ui]
bind = "127.0.0.1:{ui}"
"""


class Box:
    """A running appliance, and a device's folder beside it."""

    def __init__(self, folder: Path) -> None:
        self.device = folder / "device"
        self.device.mkdir()
        self.tls_port, self.https_port = free_port(), free_port()
        self.config = folder / "homeport.toml"
        self.config.write_text(CONFIG.format(folder=folder, tls=self.tls_port, ui=free_port()))
        self.ca_file = folder / "data" / "identity" / "tls.crt"
        self._log = (folder / "log.txt").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "appliance", "run", "--config", str(self.config)],
            cwd=Path(__file__).parents[2],
            env=os.environ | {"HOMEPORT_DEVICES__HTTPS_BIND": f"127.0.0.1:{self.https_port}"},
            stdout=self._log,
            stderr=self._log,
        )
        self.node_socket = folder / "run" / "node.sock"
        self.api = LocalApi(self.node_socket)

    def wait_ready(self) -> None:
        end = time.monotonic() + DEADLINE_S
        while True:
            try:
                self.api.get("/health/ready")
                return
            except Unavailable:
                self._log.seek(0)
                assert self.process.poll() is None, self._log.read()
                assert time.monotonic() < end
                time.sleep(0.1)

    def kill_node(self) -> None:
        """SIGKILL to the node process; the supervisor starts it again."""
        node = child_running(self.process.pid, "node_process")
        assert node is not None
        os.kill(node, signal.SIGKILL)

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(DEADLINE_S)
        self._log.close()

    def homeport(self, *arguments: str) -> Any:
        result = CliRunner().invoke(main, [*arguments, "--config", str(self.config), "--json"])
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def shell(self, command: str) -> str:
        """Run what a manual would say, in the device's folder."""
        environment = os.environ | {
            "EST": f"https://127.0.0.1:{self.https_port}/.well-known/est",
            "CA": str(self.ca_file),
        }
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=self.device,
            env=environment,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def post(self, path: str, *options: str) -> tuple[int, dict[str, str], bytes]:
        """`curl` as a device would call it; the answer whatever its status."""
        body = self.device / "answer"
        body.unlink(missing_ok=True)
        status = self.shell(
            "curl -sS --cacert $CA -H 'Content-Type: application/pkcs10' --data-binary @request.b64 -D head "
            f"-o answer -w '%{{http_code}}' {' '.join(map(shlex.quote, options))} $EST/{path}"
        )
        lines = (self.device / "head").read_text().splitlines()
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        return int(status), headers, body.read_bytes() if body.exists() else b""
