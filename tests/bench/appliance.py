"""A whole Homeport, supervisor and both children, on given cores; and its API over HTTPS as an operator's browser uses it."""

from __future__ import annotations

import http.client
import json
import ssl
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from appliance.core.config import load
from appliance.core.errors import Unavailable
from appliance.run import layout
from appliance.run.local_api import LocalApi
from tests.bench.harness import BenchError
from tests.interop.brokers import LiveBroker, pinned, provision
from tests.ports import free_port

READY_DEADLINE_S = 60.0
REQUEST_TIMEOUT_S = 15.0
PASSWORD = "a long bench passphrase"


class Appliance:
    """A running Homeport.

    Attributes:
        broker: Where devices connect, with the credentials that were provisioned.
        node_socket: Where the command line asks the node. local: The API on it.
        ui_port: Of the pages and the API.
    """

    def __init__(self, broker: LiveBroker, node_socket: Path, ui_port: int) -> None:
        self.broker = broker
        self.node_socket = node_socket
        self.local = LocalApi(node_socket)
        self.ui_port = ui_port

    def operator(self) -> Operator:
        """Somebody signed in over HTTPS; the first call claims the box."""
        code = self.local.post("/api/v1/setup/code", {})["code"]
        operator = Operator(self.ui_port, self.broker.ca_file)
        operator.claim(code)
        return operator

    def pipeline(self) -> dict[str, Any]:
        """Totals and lag of the pipeline, as /api/v1/status has them."""
        found: dict[str, Any] = self.local.get("/api/v1/status")["pipeline"]
        return found


class Operator:
    """One HTTPS connection with a session, kept open between requests."""

    def __init__(self, port: int, ca_file: Path) -> None:
        context = ssl.create_default_context(cafile=str(ca_file))
        self._connection = http.client.HTTPSConnection(
            "127.0.0.1", port, context=context, timeout=REQUEST_TIMEOUT_S
        )
        self._cookie = ""

    def claim(self, code: str) -> None:
        """Make the admin's account and sign in."""
        body = json.dumps({"code": code, "user_id": "admin", "password": PASSWORD})
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        self._connection.request("POST", "/api/v1/setup", body, headers)
        response = self._connection.getresponse()
        data = response.read()
        if response.status != 201:
            raise BenchError(f"The box could not be claimed: {response.status} {data[:300]!r}")
        self._cookie = (response.getheader("set-cookie") or "").partition(";")[0]

    def get(self, target: str) -> Any:
        """Decoded answer of a GET.

        Raises:
            BenchError: It wasn't 200.
        """
        return json.loads(self._get(target))

    def _get(self, target: str) -> bytes:
        self._connection.request("GET", target, headers={"Cookie": self._cookie})
        response = self._connection.getresponse()
        data = response.read()
        if response.status != 200:
            raise BenchError(f"GET {target} gave {response.status}: {data[:300]!r}")
        return data

    def metrics(self, room: str) -> dict[str, float]:
        """What a room counts, by name: `homeport_statistic` of /health/metrics."""
        found: dict[str, float] = {}
        for line in self._get("/health/metrics").decode().splitlines():
            if line.startswith("homeport_statistic{") and f'room="{room}"' in line:
                labels, _, value = line.rpartition(" ")
                found[labels.partition('name="')[2].partition('"')[0]] = float(value)
        return found

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


@contextmanager
def running(
    folder: Path, devices: Sequence[str], *, cores: str | None, settings: str = ""
) -> Iterator[Appliance]:
    """Start everything and wait until the node is ready.

    Args:
        folder: Configuration and data.
        devices: Ids to register, each with access to its own topics.
        cores: As taskset takes them; None for all.
        settings: More of homeport.toml: whole sections other than [node], [broker], [devices] and [ui].
    """
    port, tls_port, ui_port = free_port(), free_port(), free_port()
    path = folder / "homeport.toml"
    path.write_text(
        f"""[node]
name = "bench"
data_dir = "{folder / "data"}"
run_dir = "{folder / "run"}"
[broker]
tcp_bind = "127.0.0.1:{port}"
tls_bind = "127.0.0.1:{tls_port}"
connections_max = 12_000
connect_rate_per_address_max = 100_000
connections_per_device_max = 100_000
device_bytes_per_s_max = 0
device_messages_per_s_max = 0
[devices]
https_bind = "off"
[ui]
bind = "127.0.0.1:{ui_port}"
{settings}
"""
    )
    credentials, ca_file = provision(path, devices, "own")
    program = Path(sys.executable).with_name("homeport")
    broker = LiveBroker(
        name="homeport",
        port=port,
        tls_port=tls_port,
        ca_file=ca_file,
        folder=folder,
        command=pinned(cores, [str(program), "run", "--config", str(path)]),
        credentials=credentials,
    )
    appliance = Appliance(broker, layout.node_socket(load(path, {})), ui_port)
    broker.start()
    try:
        _wait_ready(appliance.local, broker)
        yield appliance
    finally:
        broker.stop()


def _wait_ready(local: LocalApi, broker: LiveBroker) -> None:
    deadline = time.monotonic() + READY_DEADLINE_S
    while True:
        try:
            local.get("/health/ready")
        except Unavailable as error:
            if time.monotonic() > deadline:
                raise BenchError(f"The node isn't ready: {error}\n{broker.output()[-3000:]}") from error
            time.sleep(0.1)
        else:
            return
