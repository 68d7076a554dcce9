"""PostgreSQL beside the store: a server of its own on a socket in the benchmark's folder, asked through psql in one session.

What psql's `\\timing` says counts: sending the question, the server's work and reading all rows; not printing them.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.bench.harness import BenchError

BINARIES: Final = Path("/usr/lib/postgresql/15/bin")
USER: Final = "postgres"
SETTINGS: Final = {
    "listen_addresses": "''",
    "shared_buffers": "'1GB'",
    "work_mem": "'64MB'",
    "maintenance_work_mem": "'512MB'",
    "max_wal_size": "'8GB'",
    "effective_cache_size": "'8GB'",
    "random_page_cost": "1.1",
}
"""More memory than the store has (512 MiB), and costs as for an SSD."""
_TIME: Final = re.compile(r"^Time: ([0-9.]+) ms", re.MULTILINE)


class Postgres:
    """A running server. Statements are run by `run`, questions timed by `timed_ms`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def run(self, sql: str) -> str:
        """Run statements; gives what psql wrote, without alignment."""
        return self._psql(sql)

    def timed_ms(self, sql: str, rounds: int) -> list[float]:
        """The same question several times in one session: milliseconds of each."""
        script = "\\timing on\n\\o /dev/null\n" + f"{sql};\n" * rounds
        found = [float(ms) for ms in _TIME.findall(self._psql(script))]
        if len(found) != rounds:
            raise BenchError(f"psql timed {len(found)} of {rounds} rounds.")
        return found

    def _psql(self, script: str) -> str:
        done = subprocess.run(
            ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", str(self._folder), "-U", USER, "postgres"],
            input=script, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise BenchError(f"PostgreSQL refused: {done.stderr.strip()[-500:]}")
        return done.stdout


@contextmanager
def postgres(folder: Path) -> Iterator[Postgres]:
    """Make a cluster below the folder, run it, and end it.

    Raises:
        BenchError: Debian's postgresql-15 is not installed, or the server did not start.
    """
    if not (BINARIES / "initdb").exists():
        raise BenchError(
            "PostgreSQL 15 is needed to compare with. On Debian, as root: apt-get install postgresql-15"
        )
    home = folder / "postgres"
    home.mkdir(mode=0o700)
    user: str | None = None
    if os.geteuid() == 0:
        # The server refuses to run as root.
        user = USER
        shutil.chown(home, pwd.getpwnam(USER).pw_uid)
        folder.chmod(0o755)
    data = home / "data"
    _run([BINARIES / "initdb", "-D", data, "-U", USER, "--auth=trust", "--encoding=UTF8", "--locale=C"], user)
    with (data / "postgresql.conf").open("a") as conf:
        conf.write(f"unix_socket_directories = '{home}'\n")
        conf.writelines(f"{name} = {value}\n" for name, value in SETTINGS.items())
    _run([BINARIES / "pg_ctl", "-D", data, "-w", "-t", "60", "-l", home / "log", "start"], user)
    try:
        yield Postgres(home)
    finally:
        _run([BINARIES / "pg_ctl", "-D", data, "-w", "-m", "fast", "stop"], user)


def _run(command: list[str | Path], user: str | None) -> None:
    done = subprocess.run(
        command, user=user, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False,
        cwd="/", extra_groups=[] if user else None,
    )  # fmt: skip
    if done.returncode:
        raise BenchError(f"{Path(command[0]).name} failed: {done.stderr.strip()[-500:]}")
