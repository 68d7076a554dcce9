"""What tests of bridges share: Homeport's bridge process beside its broker, and clients of either side."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from tests.interop import brokers
from tests.interop.brokers import LiveBroker
from tests.waiting import Pause

DEADLINE_S = 60.0


def eventually(condition: Callable[[], object], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Wait until something is so.

    Raises:
        AssertionError: it is not within the deadline.
    """
    end = time.monotonic() + deadline_s
    pause = Pause()
    while not condition():
        assert time.monotonic() < end, f"not within {deadline_s} s: {what}"
        pause()


@dataclass
class Box:
    """A Homeport: its broker process, and a bridge process that can be killed and started again."""

    broker: LiveBroker
    bridge: subprocess.Popen[bytes] | None = None

    @property
    def report_path(self) -> Path:
        return self.broker.folder / "run" / "bridges.json"

    def cursor(self, name: str = "up") -> dict[str, Any]:
        found: dict[str, Any] = json.loads(
            (self.broker.folder / "data" / "cursors" / f"bridge-{name}.json").read_text()
        )
        return found

    def start_bridge(self) -> None:
        sink = (self.broker.folder / "bridge.log").open("ab")
        with sink:
            self.bridge = subprocess.Popen(
                [sys.executable, "-m", "appliance.run.bridge_process"],
                cwd=brokers.ROOT,
                env=os.environ | self.broker.environment,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
            )

    def kill_bridge(self) -> None:
        """SIGKILL."""
        if self.bridge is not None:
            self.bridge.kill()
            self.bridge.wait()
            self.bridge = None

    def stop_bridge(self) -> None:
        if self.bridge is not None:
            self.bridge.terminate()
            self.bridge.wait(DEADLINE_S)
            self.bridge = None

    def report(self, name: str = "up") -> dict[str, Any]:
        """The bridge as last reported; empty before the first report."""
        with contextlib.suppress(FileNotFoundError):
            for each in json.loads(self.report_path.read_text())["bridges"]:
                if each["name"] == name:
                    return dict(each)
        return {}

    def wait_state(self, state: str, name: str = "up") -> None:
        try:
            eventually(lambda: self.report(name).get("state") == state, f"bridge {name} is {state}")
        except AssertionError as error:
            output = (self.broker.folder / "bridge.log").read_text()[-3000:]
            raise AssertionError(f"{error}\n{self.report(name)}\n{output}") from error


@contextlib.contextmanager
def box(
    folder: Path, settings: str, *, devices: Sequence[str] = ("interop",), port: int | None = None
) -> Iterator[Box]:
    """A broker with these bridges, and its bridge process.

    Args:
        settings: `[[bridge]]` and `[[bridge_topic]]` of homeport.toml.
    """
    with brokers.homeport(folder, devices=devices, settings=settings, port=port) as broker:
        running = Box(broker)
        running.start_bridge()
        try:
            yield running
        finally:
            running.stop_bridge()


def bridge_settings(port: int, *topics: str, name: str = "up", more: str = "") -> str:
    """One bridge to a port of this machine, without TLS, and its topics as lines of TOML."""
    rules = "".join(f'[[bridge_topic]]\nbridge = "{name}"\n{topic}\n' for topic in topics)
    return f'[[bridge]]\nname = "{name}"\naddress = "127.0.0.1:{port}"\ntls = "off"\n{more}\n{rules}'


@dataclass
class Client:
    """A paho client that remembers all it gets: (topic, payload, retain)."""

    client: paho.Client
    got: list[tuple[str, bytes, bool]] = field(default_factory=list)
    acknowledged: int = 0

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        """Publish and wait for the acknowledgement."""
        info = self.client.publish(topic, payload, qos=qos, retain=retain)
        info.wait_for_publish(DEADLINE_S)
        assert info.is_published()

    def payloads(self) -> list[bytes]:
        return [payload for _, payload, _ in self.got]


@contextlib.contextmanager
def client(
    broker: LiveBroker, client_id: str, *filters: str, qos: int = 2, version: int = 5
) -> Iterator[Client]:
    """A connected client with its subscriptions granted."""
    connected, subscribed = threading.Event(), threading.Event()
    made = paho.Client(
        CallbackAPIVersion.VERSION2,
        client_id=client_id,
        protocol=paho.MQTTv5 if version == 5 else paho.MQTTv311,
    )
    made.max_inflight_messages_set(200)
    if broker.credentials:
        made.username_pw_set(broker.credentials[0].username, broker.credentials[0].password)
    found = Client(made)
    made.on_connect = lambda *_: connected.set()
    made.on_subscribe = lambda *_: subscribed.set()
    made.on_message = lambda _c, _u, m: found.got.append((m.topic, bytes(m.payload), bool(m.retain)))
    made.connect(broker.host, broker.port)
    made.loop_start()
    try:
        assert connected.wait(DEADLINE_S)
        if filters:
            made.subscribe([(each, qos) for each in filters])
            assert subscribed.wait(DEADLINE_S)
        yield found
    finally:
        made.disconnect()
        made.loop_stop()
