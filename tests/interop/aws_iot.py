"""AWS IoT's SDK for devices as a client of ours: a virtual environment of its own, built once, and a process that speaks JSON lines."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent
REQUIREMENTS: Final = HERE / "aws_iot_requirements.txt"
DEADLINE_S: Final = 60.0
BUILD_DEADLINE_S: Final = 300.0


def python() -> Path:
    """The interpreter of an environment with the pinned SDK, outside the tree; made at the first call.

    Several test processes may call this at once: one builds, the others wait.
    """
    lock_text = REQUIREMENTS.read_text()
    name = hashlib.sha256(f"{sys.version}\n{lock_text}".encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "homeport-tests"
    folder = cache / f"awsiotsdk-{name}"
    folder.mkdir(parents=True, exist_ok=True)
    interpreter = folder / "venv" / "bin" / "python"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = folder / "installed"
        if not done.exists():
            _run([sys.executable, "-m", "venv", "--clear", str(folder / "venv")])
            _run(
                [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                 "--require-hashes", "--only-binary", ":all:", "-r", str(REQUIREMENTS)]
            )  # fmt: skip
            done.write_text(lock_text)
    return interpreter


def _run(command: list[str]) -> None:
    made = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        timeout=BUILD_DEADLINE_S,
        stdin=subprocess.DEVNULL,
    )
    assert made.returncode == 0, f"{command}: {made.stderr}"


class AwsDevice:
    """A thing that is connected with the SDK.

    Args:
        mqtt: 3 for MQTT 3.1.1, 5 for MQTT 5.
    """

    def __init__(
        self, *, host: str, port: int, ca_file: Path, certificate: Path, key: Path, thing: str, mqtt: int
    ) -> None:
        self.name = thing
        self._process = subprocess.Popen(
            [str(python()), str(HERE / "aws_iot_driver.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        where = {
            "host": host,
            "port": port,
            "ca_file": str(ca_file),
            "certificate": str(certificate),
            "key": str(key),
            "thing": thing,
            "mqtt": mqtt,
        }
        self._ask(where)

    def call(self, name: str, **arguments: Any) -> Any:
        """What the SDK understood of the answer. Raises Refused with what it understood of a refusal."""
        answer = self._ask({"do": name, **arguments})
        if "error" in answer:
            raise Refused(answer["error"])
        return answer["ok"]

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate(timeout=DEADLINE_S)

    def _ask(self, words: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            _, errors = self._process.communicate(timeout=DEADLINE_S)
            raise AssertionError(f"the SDK's process has ended: {errors}")
        found: dict[str, Any] = json.loads(line)
        return found


class Refused(Exception):  # noqa: N818 - what it is
    """A refusal as the SDK understood it: `code`, `message`, and what else it knows."""

    def __init__(self, words: dict[str, Any]) -> None:
        super().__init__(str(words))
        self.words = words
