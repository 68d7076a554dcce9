"""A Debian machine without a network: a root that debootstrap made, and systemd booted in it by systemd-nspawn.

The unit's sandbox is systemd's own there: users, mounts, system call filter, memory protection, watchdog. Needs root.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.package.building import ROOT
from tests.processes import children_of

CACHE: Final = ROOT / "var" / "package-test"
SUITE: Final = "bookworm"
PACKAGES: Final = (
    "python3",
    "adduser",
    "libpq5",
    "tzdata",
    "systemd",
    "dbus",
    "libstdc++6",
    "ca-certificates",
)
"""What a Debian server has of what Homeport stands on."""
DEBOOTSTRAP_S_MAX: Final = 600
BOOT_S_MAX: Final = 90
STOP_S_MAX: Final = 60
COMMAND_S_MAX: Final = 180
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def until(condition: Callable[[], bool], what: str, deadline_s: float) -> None:
    """Wait until it is true."""
    ends_s = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < ends_s, f"waited {deadline_s} s for {what}"
        time.sleep(0.05)


def mirror() -> str:
    """Where this machine's apt has Debian from."""
    listed = subprocess.run(
        [
            "apt-get",
            "indextargets",
            "--format",
            "$(REPO_URI)",
            "Created-By: Packages",
            f"Codename: {SUITE}",
            "Component: main",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert listed.stdout, f"apt has no source for {SUITE}"
    return listed.stdout.split()[0]


def _proxy() -> dict[str, str]:
    """apt's own proxy, for debootstrap."""
    found = subprocess.run(
        ["apt-config", "--format", "%v%n", "dump", "Acquire::http::Proxy"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {"http_proxy": found.stdout.split()[0]} if found.stdout.strip() else {}


def debian_root() -> Path:
    """The root as an archive, made once for a list of packages."""
    key = hashlib.sha256(" ".join((SUITE, *PACKAGES)).encode()).hexdigest()[:12]
    archive = CACHE / f"root-{key}.tar"
    if archive.exists():
        return archive
    folder = CACHE / f"making-{key}-{os.getpid()}"
    folder.mkdir(parents=True)
    try:
        done = subprocess.run(
            [
                "debootstrap",
                "--variant=minbase",
                f"--include={','.join(PACKAGES)}",
                SUITE,
                folder / "root",
                mirror(),
            ],
            env={**os.environ, **_proxy()},
            capture_output=True,
            text=True,
            timeout=DEBOOTSTRAP_S_MAX,
        )
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
        shutil.rmtree(folder / "root/var/cache/apt/archives", ignore_errors=True)
        subprocess.run(["tar", "-C", folder / "root", "-cf", folder / "root.tar", "."], check=True)
        (folder / "root.tar").rename(archive)
    finally:
        shutil.rmtree(folder)
    return archive


class Box:
    """The machine while it runs.

    Args:
        root: Its file system, seen from outside.
        leader: Process id of its systemd, seen from outside.
    """

    def __init__(self, root: Path, leader: int) -> None:
        self.root = root
        self._leader = leader

    def run(
        self, *argv: str, input: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a program in it as root, with output and errors together; it must succeed, unless told otherwise."""
        done = subprocess.run(
            [
                "nsenter",
                "--target",
                str(self._leader),
                "--all",
                "--wdns=/",
                "env",
                "-i",
                f"PATH={PATH}",
                "LC_ALL=C.UTF-8",
                *argv,
            ],
            input=input,
            stdin=None if input is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_S_MAX,
        )
        assert not check or done.returncode == 0, (
            f"{argv}: {done.returncode}\n{done.stdout}\n{self.journal()[-6000:]}"
        )
        return done

    def beside(self, *argv: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a program of this machine on that one's network."""
        return subprocess.run(
            ["nsenter", "--target", str(self._leader), "--net", *argv],
            capture_output=True,
            text=True,
            timeout=COMMAND_S_MAX,
        )

    def journal(self) -> str:
        return subprocess.run(
            [
                "journalctl",
                "--directory",
                self.root / "var/log/journal",
                "--unit",
                "homeport",
                "--output",
                "cat",
            ],
            capture_output=True,
            text=True,
        ).stdout

    def property(self, name: str) -> str:
        """What systemd knows of the service."""
        return self.run("systemctl", "show", "--value", "--property", name, "homeport").stdout.strip()


@contextmanager
def booted(folder: Path) -> Iterator[Box]:
    """A machine of its own, until the block ends."""
    root = folder / "box"
    root.mkdir()
    subprocess.run(["tar", "-C", root, "-xf", debian_root()], check=True)
    (root / "var/log/journal").mkdir(exist_ok=True)
    (root / "etc/machine-id").write_text(hashlib.sha256(bytes(str(folder), "utf-8")).hexdigest()[:32] + "\n")
    with (folder / "console").open("w") as console:
        nspawn = subprocess.Popen(
            [
                "systemd-nspawn",
                "--quiet",
                "--directory",
                root,
                "--private-network",
                "--register=no",
                "--keep-unit",
                "--boot",
            ],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
        )
        try:
            yield _wait_for_boot(nspawn, root, folder / "console")
        finally:
            _stop(nspawn)


def _leader(nspawn: subprocess.Popen[bytes]) -> int | None:
    return next(iter(children_of(nspawn.pid)), None)


def _wait_for_boot(nspawn: subprocess.Popen[bytes], root: Path, console: Path) -> Box:
    states = ("running", "degraded")

    def is_up() -> bool:
        assert nspawn.poll() is None, console.read_text()[-4000:]
        leader = _leader(nspawn)
        if leader is None:
            return False
        return Box(root, leader).run("systemctl", "is-system-running", check=False).stdout.strip() in states

    until(is_up, "the machine to boot", BOOT_S_MAX)
    leader = _leader(nspawn)
    assert leader is not None
    return Box(root, leader)


def _stop(nspawn: subprocess.Popen[bytes]) -> None:
    """As the power button does it; by force if that has no effect."""
    nspawn.terminate()
    try:
        nspawn.wait(STOP_S_MAX)
    except subprocess.TimeoutExpired:
        nspawn.kill()
        nspawn.wait()
