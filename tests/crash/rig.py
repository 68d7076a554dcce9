"""Both processes of an appliance, to be killed; and publishers that remember what was acknowledged."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb

from appliance.run.local_api import LocalApi
from broker.mqtt.codec import PacketReader, encode
from broker.mqtt.packets import Connack, Connect, Puback, Publish, Version
from storage.log.reader import LogReader
from tests.ports import free_port
from tests.waiting import Pause

START_DEADLINE_S = 60.0
"""Ends the waiting; how long a start takes is nobody's promise here, and a machine that runs three of them at once is slow."""
CONFIG = """\
[node]
name = "crash"
data_dir = "{data_dir}"
run_dir = "{run_dir}"
[log]
segment_mib = 4
[broker]
tcp_bind = "127.0.0.1:{port}"
tls_bind = "off"
[ui]
bind = "127.0.0.1:{ui_port}"
[logging]
format = "json"
"""


def wait_for(condition: Callable[[], bool], deadline_s: float, what: str) -> None:
    """Poll until a condition holds; fails the test at the deadline."""
    end = time.monotonic() + deadline_s
    pause = Pause()
    while not condition():
        assert time.monotonic() < end, f"not within {deadline_s} s: {what}"
        pause()


def stored_numbers(store: Path, device: str) -> list[int]:
    """Readings of a device in a store that nobody has open."""
    connection = duckdb.connect(str(store), read_only=True)
    try:
        rows = connection.execute(
            "SELECT num FROM v_readings WHERE device = ? AND metric = 'n' ORDER BY num", [device]
        ).fetchall()
    finally:
        connection.close()
    return [int(row[0]) for row in rows]


class Rig:
    """An appliance in a folder: broker and node as real processes, without a supervisor that would hide a crash."""

    def __init__(self, folder: Path, run_dir: Path) -> None:
        self.port = free_port()
        self.ui_port = free_port()
        self.data_dir = folder / "data"
        self.run_dir = run_dir
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        for each in (self.data_dir, run_dir):
            each.mkdir(mode=0o700, parents=True, exist_ok=True)
        config = run_dir / "homeport.toml"
        config.write_text(
            CONFIG.format(port=self.port, ui_port=self.ui_port, run_dir=run_dir, data_dir=self.data_dir)
        )
        self.environ = {**os.environ, "HOMEPORT_CONFIG": str(config)}
        self.log_path = run_dir / "processes.log"
        self.log = self.log_path.open("ab")

    def add_device(self, device_id: str, *options: str) -> str:
        """Register a device while the node is stopped; returns its token."""
        out = subprocess.run(
            [sys.executable, "-m", "appliance", "device", "add", device_id, *options, "--json"],
            env=self.environ, stdout=subprocess.PIPE, check=True, timeout=60,
        )  # fmt: skip
        token: str = json.loads(out.stdout)["token"]
        return token

    def start(self, name: str) -> None:
        self.processes[name] = subprocess.Popen(
            [sys.executable, "-m", f"appliance.run.{name}_process"],
            env=self.environ,
            stdout=self.log,
            stderr=self.log,
        )

    def kill(self, name: str) -> None:
        """SIGKILL, as a power cut for one process."""
        self.processes[name].kill()
        self.processes[name].wait(10)

    def stop(self, name: str) -> None:
        process = self.processes.pop(name)
        process.send_signal(signal.SIGTERM)
        code = process.wait(15)
        assert code == 0, f"{name} ended with {code}\n{self.read_log()}"

    def close(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait(10)
        self.log.close()

    def read_log(self) -> str:
        return self.log_path.read_text()[-4000:]

    def wait_for_broker(self) -> None:
        wait_for(self._listens, START_DEADLINE_S, f"the broker listens\n{self.read_log()}")

    def _listens(self) -> bool:
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0

    def pipeline(self) -> dict[str, Any]:
        """What the node says of its pipeline; nothing while it is away."""
        try:
            status = LocalApi(self.run_dir / "node.sock").request("GET", "/api/v1/status")
        except Exception:  # noqa: BLE001 - the node may be starting; the caller's deadline tells when that is wrong
            return {}
        # Killed in the middle of its answer, it said nothing.
        found: dict[str, Any] = (status or {}).get("pipeline", {})
        return found

    def wait_until_stored(self, deadline_s: float) -> None:
        """Wait until the node has put everything in the log into the store."""
        reader = LogReader(self.data_dir / "log" / "telemetry")

        def is_stored() -> bool:
            # The log's own head, from before the question: the node may not have looked at it since the last block came.
            head_seq = reader.head().next_seq
            return bool(self.pipeline().get("complete_seq", 0) >= head_seq)

        wait_for(is_stored, deadline_s, "the pipeline has caught up")
        reader.close()


class Publisher(threading.Thread):
    """A device that publishes numbered readings with QoS 1, reconnects whatever happens, and resends with the same number.

    `acknowledged` holds the numbers whose PUBACK came, and for which `confirm` then raised no OSError.
    """

    WINDOW = 40

    def __init__(
        self,
        port: int,
        device_id: str,
        token: str,
        seed: int,
        *,
        confirm: Callable[[], object] = lambda: None,
    ) -> None:
        super().__init__(name=device_id, daemon=True)
        self._port = port
        self._device_id = device_id
        self._token = token
        self._confirm = confirm
        self._random = random.Random(seed)
        self._next = 1
        self._unacknowledged: dict[int, int] = {}  # packet id → number
        self._resend: list[int] = []
        self._done = threading.Event()
        self.acknowledged: set[int] = set()
        self.reconnects = 0
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            while not self._done.is_set():
                try:
                    self._session()
                except (OSError, EOFError):
                    self.reconnects += 1
                    self._resend = sorted({*self._resend, *self._unacknowledged.values()})
                    self._unacknowledged = {}
                    self._done.wait(0.05)
        except BaseException as error:
            self.error = error
            raise

    def finish(self) -> None:
        """Publish nothing new; wait for the last acknowledgements."""
        self._done.set()
        self.join(30)
        assert not self.is_alive()
        assert self.error is None

    def _session(self) -> None:
        with socket.create_connection(("127.0.0.1", self._port), timeout=10) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            reader = PacketReader(Version.MQTT_3_1_1, packet_bytes_max=1024)
            connect = Connect(client_id=self._device_id, username=self._device_id, password=self._token.encode(),
                              version=Version.MQTT_3_1_1, keep_alive_s=30)  # fmt: skip
            sock.sendall(encode(connect, Version.MQTT_3_1_1))
            packet_id = 0
            is_connected = False
            while not self._done.is_set() or self._unacknowledged:
                while is_connected and len(self._unacknowledged) < self.WINDOW and not self._done.is_set():
                    packet_id = packet_id % 60_000 + 1
                    sock.sendall(encode(self._message(packet_id), Version.MQTT_3_1_1))
                data = sock.recv(65_536)
                if not data:
                    raise EOFError
                packets = reader.receive_bytes(data)
                self._confirm()
                for packet in packets:
                    if isinstance(packet, Puback):
                        self.acknowledged.add(self._unacknowledged.pop(packet.packet_id))
                    else:
                        assert isinstance(packet, Connack)
                        assert packet.reason_code == 0
                        is_connected = True

    def _message(self, packet_id: int) -> Publish:
        if self._resend:
            number = self._resend.pop(0)
        else:
            number, self._next = self._next, self._next + 1
        self._unacknowledged[packet_id] = number
        payload = {"ts": int(time.time() * 1000), "seq": number, "boot_id": "b1", "v": {"n": number}}
        return Publish(topic=f"dm/{self._device_id}/telemetry", payload=json.dumps(payload).encode(), qos=1,
                       packet_id=packet_id)  # fmt: skip
