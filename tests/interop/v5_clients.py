"""Foreign MQTT 5 clients that do one thing after the other, for what is new in MQTT 5.

A driver (paho_v5_driver.py, mqttjs/v5_driver.js) takes a JSON object in each line of its standard input (`do` names what),
and answers each with one on its output. Properties have the same names in both: see `NAMES` there.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from tests.interop.brokers import LiveBroker
from tests.interop.clients import HERE, end, mqttjs_folder

KINDS: Final = ("paho", "mqttjs")


@dataclass(frozen=True, slots=True)
class Received:
    """One message as the client's library gives it."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    properties: dict[str, Any]


class Client:
    """One client process."""

    def __init__(self, kind: str, process: subprocess.Popen[str], broker: LiveBroker, client_id: str) -> None:
        self._kind = kind
        self._process = process
        self._broker = broker
        self._client_id = client_id

    def connect(self, *, clean_start: bool = True, **more: Any) -> dict[str, Any]:
        """CONNECT; what CONNACK says."""
        credential = self._broker.credentials[0]
        answer = self._do(
            "connect",
            host=self._broker.host,
            port=self._broker.port,
            username=credential.username,
            password=credential.password,
            client_id=self._client_id,
            clean_start=clean_start,
            **more,
        )
        assert answer["reason"] == 0
        return answer

    def subscribe(self, topic_filter: str, qos: int = 1, **more: Any) -> list[int]:
        options = {"no_local": False, "retain_as_published": False, "retain_handling": 0, **more}
        reasons: list[int] = self._do("subscribe", topic_filter=topic_filter, qos=qos, **options)["reasons"]
        return reasons

    def publish(
        self, topic: str, payload: bytes = b"m", qos: int = 1, *, retain: bool = False, **properties: Any
    ) -> int:
        """PUBLISH, acknowledged; the reason code."""
        answer = self._do(
            "publish", topic=topic, payload=payload.hex(), qos=qos, retain=retain, properties=properties
        )
        reason: int = answer["reason"]
        assert reason in (0, 0x10), f"PUBACK 0x{reason:02X}"
        return reason

    def receive(self) -> Received:
        """The next message, which is waited for."""
        answer = self._do("receive")
        return Received(
            answer["topic"],
            bytes.fromhex(answer["payload"]),
            answer["qos"],
            answer["retain"],
            answer["properties"],
        )

    def disconnect(self, **properties: Any) -> None:
        self._do("disconnect", properties=properties)

    def drop(self) -> None:
        """Go away without DISCONNECT."""
        self._do("drop")

    def _do(self, what: str, **job: Any) -> dict[str, Any]:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps({"do": what, **job}) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            process.wait()
            assert process.stderr is not None
            raise AssertionError(f"{self._kind} could not {what}: {process.stderr.read()}")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextlib.contextmanager
def client(kind: str, broker: LiveBroker, client_id: str) -> Iterator[Client]:
    """A client that has not connected yet; ended with the block, without DISCONNECT."""
    environment = dict(os.environ)
    if kind == "mqttjs":
        environment["HOMEPORT_MQTTJS"] = str(mqttjs_folder())
        command = ["node", str(HERE / "mqttjs" / "v5_driver.js")]
    else:
        command = [sys.executable, str(HERE / "paho_v5_driver.py")]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        yield Client(kind, process, broker, client_id)
    finally:
        end(process)
