"""Clients that nobody here wrote, with sessions that are kept: paho-mqtt in threads, mosquitto_sub as a process.

They reconnect by themselves, and what is in flight is theirs to remember: paho does while its object lives, mosquitto_sub while
its process lives. Nothing here helps them.
"""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from tests.crash.rig import wait_for
from tests.interop.clients import MosquittoTools, Target, end

DEADLINE_S = 60.0
EXPIRY_S = 3600
WINDOW = 10
"""Messages that are in flight: fewer than the 20 of paho, which then sends them in order."""
PACKET_IDENTIFIER_NOT_FOUND = 0x92
PACE_S = 0.004
"""Between an answer and the next message, so that a queue of 10,000 lasts longer than anybody is away."""


class Broker(NamedTuple):
    """Where the clients connect, and as who."""

    port: int
    username: str
    token: str


class PublishedMessage(NamedTuple):
    """What is published next."""

    topic: str
    payload: bytes
    qos: int
    retain: bool = False


class Arrived(NamedTuple):
    """A message as a subscriber got it."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    at_mono_s: float


class KeptClient:
    """A paho client in a thread of its own.

    Args:
        version: 4 or 5.
        comes_back: Reconnects whatever happens.
        will: Topic and delay; version 5.
        is_kept: Its session outlives its connections.
    """

    def __init__(
        self,
        broker: Broker,
        client_id: str,
        version: int,
        *,
        comes_back: bool = True,
        will: tuple[str, int] | None = None,
        is_kept: bool = True,
    ) -> None:
        self._client_id = client_id
        self._is_kept = is_kept
        self._connected = threading.Event()
        self.connect_count = 0
        self.faults: list[str] = []
        options: dict[str, Any] = {} if version == 5 else {"clean_session": not is_kept}
        self.client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=paho.MQTTv5 if version == 5 else paho.MQTTv311,
            reconnect_on_failure=comes_back,
            **options,
        )
        self.client.username_pw_set(broker.username, broker.token)
        self.client.reconnect_delay_set(1, 1)
        self.client.on_connect = self._on_connect
        how: dict[str, Any] = {}
        if version == 5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = EXPIRY_S if is_kept else 0
            how = {"clean_start": not is_kept, "properties": properties}
        if will is not None:
            topic, delay_s = will
            properties = Properties(PacketTypes.WILLMESSAGE)  # type: ignore[no-untyped-call]
            properties.WillDelayInterval = delay_s
            self.client.will_set(topic, client_id.encode(), qos=2, properties=properties)
        self.client.connect("127.0.0.1", broker.port, **how)
        self.client.loop_start()
        assert self._connected.wait(DEADLINE_S), f"{client_id} connects"

    def __repr__(self) -> str:
        return self._client_id

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def wait_for_connect(self, count: int) -> None:
        """Wait until it has connected so often."""
        wait_for(
            lambda: self.connect_count >= count, DEADLINE_S, f"{self._client_id} has connected {count} times"
        )

    def _on_connect(self, _client: Any, _data: Any, flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self.faults.append(f"{self._client_id} was refused: {reason}")
            return
        if self.connect_count and self._is_kept and not flags.session_present:
            self.faults.append(f"{self._client_id} has no session after {self.connect_count} connects")
        self.connect_count += 1
        self._connected.set()


class Publisher(KeptClient):
    """Publishes what `message` makes of 0, 1, …, WINDOW at a time and in order.

    All but the first are published by paho's own thread, when an answer has come: never before what it has to send again.
    """

    def __init__(
        self, broker: Broker, client_id: str, version: int, message: Callable[[int], PublishedMessage]
    ) -> None:
        self._message = message
        self._is_paused = True
        self.sent: list[PublishedMessage] = []
        self.done_count = 0
        super().__init__(broker, client_id, version)
        self.client.on_publish = self._on_publish

    def resume(self) -> None:
        """Go on; nothing may be in flight."""
        assert self.done_count == len(self.sent)
        self._is_paused = False
        self._publish()

    def pause(self) -> None:
        """Publish nothing new; wait until everything is done."""
        self._is_paused = True
        wait_for(
            lambda: self.done_count == len(self.sent),
            DEADLINE_S,
            f"what {self._client_id} publishes is done",
        )

    def _publish(self) -> None:
        message = self._message(len(self.sent))
        self.sent.append(message)
        self.client.publish(message.topic, message.payload, message.qos, message.retain)

    def _on_publish(self, _client: Any, _data: Any, _mid: int, reason: Any, _properties: Any) -> None:
        # A PUBREL that was recorded when the broker crashed, and comes again, finds nothing: its message is done.
        if reason.is_failure and reason.value != PACKET_IDENTIFIER_NOT_FOUND:
            self.faults.append(f"{self._client_id} was told {reason}")
        self.done_count += 1
        time.sleep(PACE_S)  # The load's pace, not a wait for something.
        for _ in range(2):
            if not self._is_paused and len(self.sent) - self.done_count < WINDOW:
                self._publish()


class Subscriber(KeptClient):
    """Takes what comes."""

    def __init__(
        self,
        broker: Broker,
        client_id: str,
        version: int,
        topic_filter: str,
        qos: int,
        *,
        is_kept: bool = True,
    ) -> None:
        self.qos = qos
        self.arrived: list[Arrived] = []
        self._granted = threading.Event()
        super().__init__(broker, client_id, version, is_kept=is_kept)
        self.client.on_message = self._on_message
        self.client.on_subscribe = lambda *_: self._granted.set()
        if version == 5:
            self.client.subscribe(topic_filter, options=SubscribeOptions(qos=qos))
        else:
            self.client.subscribe(topic_filter, qos)
        assert self._granted.wait(DEADLINE_S), f"{client_id} subscribes"

    def numbers(self) -> dict[str, list[int]]:
        """What has arrived, by topic."""
        return by_topic([(each.topic, int(each.payload)) for each in list(self.arrived)])

    def _on_message(self, _client: Any, _data: Any, message: Any) -> None:
        self.arrived.append(
            Arrived(message.topic, message.payload, message.qos, bool(message.retain), time.monotonic())
        )


class MosquittoListener:
    """mosquitto_sub -c, which is started and ended now and then; its output is kept."""

    def __init__(
        self, broker: Broker, client_id: str, version: int, topic_filter: str, qos: int, folder: Path
    ) -> None:
        target = Target(
            host="127.0.0.1", port=broker.port, tls=False, ca_file="", version=version,
            username=broker.username, password=broker.token, client_id=client_id,
        )  # fmt: skip
        self.qos = qos
        self._client_id = client_id
        self._environment = MosquittoTools().environment(target, folder, "mosquitto_sub")
        self._command = ["stdbuf", "-oL", "mosquitto_sub", "-c", "-t", topic_filter, "-q", str(qos)]
        self._command += ["-F", "%t %p"]
        if version == 5:
            self._command += ["-x", str(EXPIRY_S)]
        self._output = folder / f"{client_id}.out"
        self._process: subprocess.Popen[bytes] | None = None
        # -E: it goes away with its SUBACK.
        subprocess.run([*self._command, "-E"], env=self._environment, check=True, timeout=DEADLINE_S)

    def __repr__(self) -> str:
        return self._client_id

    @property
    def is_running(self) -> bool:
        return self._process is not None

    def start(self) -> None:
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(self._command, env=self._environment, stdout=output)

    def stop(self) -> None:
        """It says DISCONNECT."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(DEADLINE_S)
        self._process = None

    def close(self) -> None:
        if self._process is not None:
            end(self._process)

    def numbers(self) -> dict[str, list[int]]:
        """What has arrived, by topic."""
        if not self._output.exists():
            return {}
        lines = self._output.read_text().split("\n")[:-1]  # The last one may be half written.
        return by_topic([(topic, int(number)) for topic, number in (line.split(" ") for line in lines)])


def by_topic(arrived: Sequence[tuple[str, int]]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for topic, number in arrived:
        found[topic].append(number)
    return found
