"""Foreign MQTT clients as processes with one face: subscribe and publish.

A driver (paho_driver.py, amqtt_driver.py, mqttjs/driver.js) takes a JSON object on standard input, so that no token
stands on a command line, and prints JSON lines: {"ready": [granted QoS]} after SUBACK, then {"topic", "payload" (hex),
"qos"} for each message. mosquitto's own tools are driven by their configuration files and their own output.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

HERE = Path(__file__).parent
DEADLINE_S = 30.0


@dataclass(frozen=True, slots=True)
class Message:
    """One application message."""

    topic: str
    payload: bytes
    qos: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where and how a client connects.

    Attributes:
        certificate: The client's own, with its key, PEM in one file.
        web: Over WebSocket, at /mqtt.
    """

    host: str
    port: int
    tls: bool
    ca_file: str
    version: int
    username: str | None
    password: str | None
    client_id: str
    certificate: str | None = None
    web: bool = False


class Subscriber(Protocol):
    """A running subscriber whose SUBACK has come."""

    granted: list[int]

    def messages(self) -> list[Message]:
        """Wait for as many as were asked for, and for the process to end well."""


class Client(Protocol):
    """A kind of client."""

    name: str
    versions: tuple[int, ...]

    def subscriber(
        self, target: Target, topic_filter: str, qos: int, count: int, folder: Path
    ) -> contextlib.AbstractContextManager[Subscriber]:
        """Subscribe; the block begins when SUBACK has come."""

    def publish(self, target: Target, messages: Sequence[Message], qos: int, folder: Path) -> None:
        """Publish all and, with QoS 1, wait for every PUBACK."""


class DrivenClient:
    """A library behind a driver.

    Args:
        name: Shown in test ids.
        command: The driver.
        versions: MQTT protocol levels that the library speaks.
        environment: More variables of the driver.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        versions: tuple[int, ...],
        environment: dict[str, str] | None = None,
    ) -> None:
        self.name = name
        self.versions = versions
        self._command = list(command)
        self._environment = os.environ | (environment or {})

    @contextlib.contextmanager
    def subscriber(
        self, target: Target, topic_filter: str, qos: int, count: int, folder: Path
    ) -> Iterator[Subscriber]:
        job = {
            **asdict(target),
            "action": "subscribe",
            "topic_filter": topic_filter,
            "qos": qos,
            "count": count,
        }
        process = self._start(job)
        try:
            yield _DrivenSubscriber(process)
        finally:
            end(process)

    def publish(self, target: Target, messages: Sequence[Message], qos: int, folder: Path) -> None:
        listed = [{"topic": each.topic, "payload": each.payload.hex()} for each in messages]
        process = self._start({**asdict(target), "action": "publish", "qos": qos, "messages": listed})
        try:
            _, errors = process.communicate(timeout=DEADLINE_S)
        finally:
            end(process)
        assert process.returncode == 0, f"{self.name} could not publish: {errors.decode()}"

    def _start(self, job: dict[str, object]) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self._environment,
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps(job).encode())
        process.stdin.close()
        process.stdin = None
        return process


class _DrivenSubscriber:
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            _, errors = process.communicate(timeout=DEADLINE_S)
            raise AssertionError(f"the subscriber ended before SUBACK: {errors.decode()}")
        self.granted: list[int] = json.loads(line)["ready"]

    def messages(self) -> list[Message]:
        output, errors = self._process.communicate(timeout=DEADLINE_S)
        assert self._process.returncode == 0, errors.decode()
        received = [json.loads(line) for line in output.splitlines()]
        return [Message(each["topic"], bytes.fromhex(each["payload"]), each["qos"]) for each in received]


class MosquittoTools:
    """mosquitto_pub and mosquitto_sub, as Debian packages them."""

    name = "mosquitto-tools"
    versions: tuple[int, ...] = (4, 5)

    @contextlib.contextmanager
    def subscriber(
        self, target: Target, topic_filter: str, qos: int, count: int, folder: Path
    ) -> Iterator[Subscriber]:
        # -d prints "Subscribed (mid: 1): 1"; line buffering makes it visible at once.
        command = [
            "stdbuf",
            "-oL",
            _tool("mosquitto_sub"),
            "-d",
            "-t",
            topic_filter,
            "-q",
            str(qos),
            "-C",
            str(count),
        ]
        command += ["-F", "MESSAGE %q %x %t", "-W", str(int(DEADLINE_S))]
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environment(target, folder, "mosquitto_sub"),
        )
        try:
            yield _MosquittoSubscriber(process)
        finally:
            end(process)

    def publish(self, target: Target, messages: Sequence[Message], qos: int, folder: Path) -> None:
        environment = self.environment(target, folder, "mosquitto_pub")
        for each in messages:
            done = subprocess.run(
                [_tool("mosquitto_pub"), "-t", each.topic, "-q", str(qos), "-s"],
                input=each.payload,
                capture_output=True,
                env=environment,
                timeout=DEADLINE_S,
                check=False,
            )
            assert done.returncode == 0, f"mosquitto_pub: {done.stdout.decode()}{done.stderr.decode()}"

    def environment(self, target: Target, folder: Path, tool: str) -> dict[str, str]:
        """Options in a file that only we can read: mosquitto's tools take them from XDG_CONFIG_HOME."""
        lines = [f"-h {target.host}", f"-p {target.port}", f"-i {target.client_id}"]
        lines.append(f"-V {'mqttv5' if target.version == 5 else 'mqttv311'}")
        if target.username is not None:
            lines += [f"-u {target.username}", f"-P {target.password}"]
        if target.tls:
            lines.append(f"--cafile {target.ca_file}")
        if target.certificate is not None:
            lines += [f"--cert {target.certificate}", f"--key {target.certificate}"]
        home = folder / f"{target.client_id}-config"
        home.mkdir(mode=0o700, exist_ok=True)
        config = home / tool
        config.touch(mode=0o600)
        config.write_text("\n".join(lines) + "\n")
        return os.environ | {"XDG_CONFIG_HOME": str(home)}


class _MosquittoSubscriber:
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        assert process.stdout is not None
        while line := process.stdout.readline():
            found = re.match(rb"Subscribed \(mid: \d+\): ([\d, ]+)", line)
            if found:
                self.granted = [int(code) for code in found[1].split(b",")]
                return
        _, errors = process.communicate(timeout=DEADLINE_S)
        raise AssertionError(f"mosquitto_sub ended before SUBACK: {errors.decode()}")

    def messages(self) -> list[Message]:
        output, errors = self._process.communicate(timeout=DEADLINE_S)
        assert self._process.returncode == 0, errors.decode() or output.decode()
        received = []
        for line in output.splitlines():
            if line.startswith(b"MESSAGE "):
                _, qos, payload, topic = line.decode().split(" ", 3)
                received.append(Message(topic, bytes.fromhex(payload), int(qos)))
        return received


def mqttjs_folder() -> Path:
    """Where the pinned MQTT.js is installed, outside the tree; installed at the first call, with no script of it run.

    Several test processes may call this at once: one installs, the others wait.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.fail("MQTT.js needs Node.js. On Debian, as root: apt-get install nodejs npm")
    lock_text = (HERE / "mqttjs" / "package-lock.json").read_text()
    version = json.loads(lock_text)["packages"]["node_modules/mqtt"]["version"]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "homeport-tests"
    folder = cache / f"mqttjs-{version}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = folder / "installed"
        if not done.exists() or done.read_text() != lock_text:
            for name in ("package.json", "package-lock.json"):
                shutil.copyfile(HERE / "mqttjs" / name, folder / name)
            subprocess.run(
                [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
                cwd=folder,
                check=True,
                capture_output=True,
                timeout=300,
            )
            done.write_text(lock_text)
    return folder


def every_client() -> list[Client]:
    """All kinds, ready to use; MQTT.js is installed when it is first used."""
    return [
        MosquittoTools(),
        DrivenClient("paho", [sys.executable, str(HERE / "paho_driver.py")], (4, 5)),
        _MqttJs(),
        DrivenClient("amqtt", [sys.executable, str(HERE / "amqtt_driver.py")], (4,)),
    ]


class _MqttJs(DrivenClient):
    def __init__(self) -> None:
        super().__init__("mqttjs", ["node", str(HERE / "mqttjs" / "driver.js")], (4, 5))

    def _start(self, job: dict[str, object]) -> subprocess.Popen[bytes]:
        self._environment["HOMEPORT_MQTTJS"] = str(mqttjs_folder())
        return super()._start(job)


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.fail(f"{name} isn't installed. On Debian, as root: apt-get install mosquitto-clients")
    return found


def end(process: subprocess.Popen[Any]) -> None:
    if process.poll() is None:
        process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
