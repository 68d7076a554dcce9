"""A PostgreSQL server of Debian's on loopback for tests: its cluster in a folder, as the user postgres, ended with the test."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest

from replication.tier.engines.credentials import Credentials
from tests.seaweed_kit import free_ports

USER: Final = "homeport"
DATABASE: Final = "copies"
_OWNER: Final = "postgres"
_START_S: Final = 60


class PostgresServer:
    """A server that can be killed and started again.

    Attributes:
        home: Its folder, of the user postgres.
    """

    def __init__(self, home: Path, binaries: Path) -> None:
        self.home, self._binaries = home, binaries
        (self.port,) = free_ports(1)
        self.password = secrets.token_hex(8)
        self._data = home / "data"
        secret = home / "password"
        secret.write_text(self.password)
        secret.chmod(0o600)
        if os.geteuid() == 0:
            shutil.chown(secret, _OWNER)
        self._run("initdb", "-D", self._data, "-U", _OWNER, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C",
                  f"--pwfile={secret}", "--no-sync")  # fmt: skip
        with (self._data / "postgresql.conf").open("a") as conf:
            conf.write(f"listen_addresses = '127.0.0.1'\nport = {self.port}\nunix_socket_directories = ''\n")
            conf.write("shared_buffers = '32MB'\nmax_connections = 50\nlc_messages = 'C'\n")

    @property
    def credentials(self) -> Credentials:
        return Credentials({"password": self.password})

    def address(self, schema: str, *, user: str = USER, database: str = DATABASE) -> str:
        """Of a tier in it."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}?schema={schema}"

    def session(self) -> psycopg.Connection[tuple[Any, ...]]:
        """A session of the server's owner, who begins and ends transactions."""
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user=_OWNER, password=self.password, dbname=DATABASE
        )

    def execute(self, statement: str, database: str = DATABASE) -> list[tuple[Any, ...]]:
        """Run a statement as the server's owner."""
        with psycopg.connect(host="127.0.0.1", port=self.port, user=_OWNER, password=self.password, dbname=database, autocommit=True) as session:  # fmt: skip
            done = session.execute(statement)
            return done.fetchall() if done.description else []

    def make_database(self) -> None:
        """The tier's user and its database."""
        self.execute(f"CREATE USER {USER} PASSWORD '{self.password}'", "postgres")
        self.execute(f"CREATE DATABASE {DATABASE} OWNER {USER}", "postgres")

    def start(self) -> None:
        self._run("pg_ctl", "-D", self._data, "-w", "-t", str(_START_S), "-l", self.home / "log", "start")

    def kill(self) -> None:
        """End it without a checkpoint, as a crash does."""
        self._run("pg_ctl", "-D", self._data, "-w", "-m", "immediate", "stop")

    def reload(self, settings: str) -> None:
        """Write settings, and have them read."""
        with (self._data / "postgresql.auto.conf").open("w") as conf:
            conf.write(settings)
        self._run("pg_ctl", "-D", self._data, "reload")

    def _run(self, name: str, *arguments: object) -> None:
        done = subprocess.run(
            [str(self._binaries / name), *map(str, arguments)],
            user=_OWNER if os.geteuid() == 0 else None, extra_groups=[] if os.geteuid() == 0 else None,
            cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{name}: {done.stderr[-1_000:]}"


@contextmanager
def postgres_server(where: Path | None = None) -> Iterator[PostgresServer]:
    """A running server with a database for tiers.

    Args:
        where: The folder for its cluster's; in memory otherwise, where there is some: the subject is what it does, not the disk.
    """
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not binaries:
        pytest.skip("PostgreSQL is not installed; on Debian: apt-get install postgresql")
    memory = where or Path("/dev/shm")
    with tempfile.TemporaryDirectory(
        prefix="homeport-postgres-", dir=memory if os.access(memory, os.W_OK) else None
    ) as folder:
        home = Path(folder)
        if os.geteuid() == 0:
            # The server refuses to run as root.
            os.chown(home, pwd.getpwnam(_OWNER).pw_uid, -1)
        server = PostgresServer(home, binaries[-1].parent)
        server.start()
        try:
            server.make_database()
            yield server
        finally:
            server.kill()
