"""A network between boxes that can be cut, slowed and made one-way: network namespaces, one for each box.

As root only. Whatever a test does, its namespaces and what runs in them end with it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fleet.rig import SiteBox

BROKER_PORT, PEER_PORT, UI_PORT = 1883, 8885, 8443
_NEEDED = ("ip", "nft", "tc")


def run(*words: str) -> str:
    """A command that has to succeed."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
    return done.stdout


@dataclass(frozen=True)
class Wire:
    """Two namespaces and the wire between them.

    Attributes:
        one, other: Their names; 10.77.0.1 and 10.77.0.2.
    """

    one: str
    other: str

    def cut(self) -> None:
        """Nothing goes either way, and nobody is told."""
        for name in (self.one, self.other):
            self._drop(name)

    def cut_towards_one(self) -> None:
        """What the other sends does not arrive."""
        self._drop(self.one)

    def heal(self) -> None:
        for name in (self.one, self.other):
            run("ip", "netns", "exec", name, "nft", "flush", "ruleset")
            with contextlib.suppress(AssertionError):  # none was set
                run("tc", "-n", name, "qdisc", "del", "dev", "eth0", "root")

    def slow(self, rate: str, *, burst: str = "4kb") -> None:
        """So much a second each way, such as 50kbit.

        Args:
            burst: At once; a quick line needs at least what it carries between two ticks of the kernel's clock.
        """
        for name in (self.one, self.other):
            run("tc", "-n", name, "qdisc", "add", "dev", "eth0", "root", "tbf",
                "rate", rate, "burst", burst, "latency", "2s")  # fmt: skip

    def lossy(self, percent: int) -> None:
        """So many of a hundred packets are lost, each way."""
        for name in (self.one, self.other):
            self._nft(name, f"numgen random mod 100 < {percent} drop")

    def _drop(self, name: str) -> None:
        self._nft(name, "drop")

    def _nft(self, name: str, rule: str) -> None:
        words = ("ip", "netns", "exec", name, "nft")
        run(*words, "add table inet cut")
        run(*words, "add chain inet cut input { type filter hook input priority 0 ; }")
        run(*words, f'add rule inet cut input iifname "eth0" {rule}')


@contextmanager
def wire() -> Iterator[Wire]:
    """Two namespaces that reach each other.

    Skips the test where this can't be had: not as root, or tools are missing; in CI that fails it.
    """
    missing = [tool for tool in _NEEDED if shutil.which(tool) is None]
    if os.geteuid() != 0 or missing:
        pytest.skip(f"network namespaces need root and {', '.join(_NEEDED)}")
    tag = uuid.uuid4().hex[:6]
    made = Wire(f"hp-{tag}-1", f"hp-{tag}-2")
    names = (made.one, made.other)
    try:
        for name in names:
            run("ip", "netns", "add", name)
        run(
            "ip",
            "link",
            "add",
            "eth0",
            "netns",
            made.one,
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            made.other,
        )
        for number, name in enumerate(names, start=1):
            run("ip", "-n", name, "addr", "add", f"10.77.0.{number}/24", "dev", "eth0")
            run("ip", "-n", name, "link", "set", "eth0", "up")
            run("ip", "-n", name, "link", "set", "lo", "up")
        yield made
    finally:
        for name in names:
            pids = subprocess.run(("ip", "netns", "pids", name), capture_output=True, text=True, check=False)
            for pid in pids.stdout.split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            subprocess.run(("ip", "netns", "del", name), capture_output=True, check=False)


class WiredBox(SiteBox):
    """A box in a namespace of its own."""

    def __init__(self, folder: Path, name: str, namespace: str, address: str) -> None:
        self.folder = folder / name
        self.folder.mkdir()
        self.name, self.namespace = name, namespace
        self.port, self.ui_port, self.peer_port = BROKER_PORT, UI_PORT, PEER_PORT
        self.config = self.folder / "homeport.toml"
        self.config.write_text(
            f'[node]\nname = "{name}"\ndata_dir = "{self.data_dir}"\nrun_dir = "{self.folder / "run"}"\n'
            f'[broker]\ntcp_bind = "{address}:{BROKER_PORT}"\ntls_bind = "off"\n'
            f'[ui]\nbind = "{address}:{UI_PORT}"\n'
            f'[replication]\nbind = "{address}:{PEER_PORT}"\naddresses = ["{address}:{PEER_PORT}"]\n'
        )
        self.address = address

    def command(self, *words: str) -> list[str]:
        """`homeport …` in the box's namespace."""
        homeport = str(Path(sys.executable).parent / "homeport")
        return ["ip", "netns", "exec", self.namespace, homeport, *words]

    def popen(self) -> list[str]:
        return self.command("run", "--config", str(self.config))

    def join_from_there(self, token: str) -> None:
        """Join as a command in the namespace: the invitation leads to an address there."""
        done = subprocess.run(
            self.command("peer", "join", "--config", str(self.config), "--json"),
            input=token + "\n", capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    def devices(self, credentials: Path, *, rate: float, seconds: float, seed: int) -> subprocess.Popen[str]:
        """Simulated devices in the namespace; they end by themselves.

        Args:
            seed: Another one for each switch-on: with the same one they have the same boot ids, and send the same readings once more.
        """
        return subprocess.Popen(
            self.command(
                "sim", "fleet", "--host", self.address, "--credentials", str(credentials),
                "--rate", str(rate), "--seed", str(seed), "--duration", str(seconds), "--drain", "90", "--json",
            ),
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def log_much(self, device: str, token: str, mebibytes: int) -> None:
        """Have a device publish what doesn't pack, and wait until all of it was acknowledged."""
        script = Path(__file__).with_name("publish_much.py")
        run(
            *("ip", "netns", "exec", self.namespace, sys.executable, str(script)),
            *(self.address, device, token, str(mebibytes)),
        )
