"""SIGKILL of the node at every transition of a rollout over 20 devices: the devices end as if nothing had happened, byte for byte.

Each life of the node is a real process over the real catalog, killed in the middle of a transaction or right after it, and the next one
goes on with what is on disk. The devices, and the broker's part, are here; time is virtual. One device's new image does not boot, so the way
back is among what is cut off.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any, cast

import pytest

from appliance.core.clock import ManualClock
from appliance.management.gates import Gate
from appliance.management.rollout_plan import Plan, Policy
from appliance.management.waves import Wave, assign
from device_fw_sim.faults import Fault, FaultKind, FaultPlan
from tests.update_node import NodeDied, Push, SiteHealth, UpdateNode
from tests.update_site import Site, make_template
from tests.update_world import image

DEVICE_COUNT = 20
NAMES = [f"d{index}" for index in range(DEVICE_COUNT)]
PLAN = Plan(
    waves=(Wave(1, False), Wave(25, True), Wave(100, True)),
    gate=Gate(soak_s=60, health=False),
    start_spread_s=5,
)
POLICY = Policy(confirm_s=600)
IMAGE = image(size_bytes=5_000)
ENDED = ("completed", "paused", "stopped", "rolled_back")
ROOT = Path(__file__).parents[2]


class KilledNode:
    """A node in another process; one that answers no more has died.

    Args:
        deaths: For each life, the transition in which it dies, counted from when it has heard who is there, and whether that is
            committed; a life without one lives on.
    """

    def __init__(
        self, address: str, path: Path, clock: ManualClock, push: Push, deaths: Iterator[tuple[int, bool]]
    ) -> None:
        self.clock = clock
        self.health = SiteHealth(clock)
        self.lives = 0
        self._address, self._push, self._deaths = address, push, deaths
        self._next_ms: int | None = None
        self.start()

    def start(self) -> None:
        self.lives += 1
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(60)
        self._socket.connect(self._address)
        self._stream = self._socket.makefile("rwb")

    def doom(self) -> None:
        """Tell it when it dies."""
        death = next(self._deaths, None)
        if death is not None:
            self.ask("dies", *death)

    def die(self) -> None:
        self._stream.close()
        self._socket.close()

    def ask(self, name: str, *arguments: Any) -> Any:
        line = json.dumps([name, arguments, self.clock.now_ms(), self.clock.mono_ms()])
        try:
            self._stream.write(line.encode() + b"\n")
            self._stream.flush()
            answer = self._stream.readline()
        except ConnectionError:
            answer = b""
        if not answer:
            raise NodeDied
        result, pushed, self._next_ms = json.loads(answer)
        for device_id, messages in pushed:
            self._push(device_id, [(topic, payload.encode()) for topic, payload in messages])
        return result

    # --- What a site asks of its node ------------------------------------------------------------------

    def next_ms(self) -> int | None:
        return self._next_ms

    def settle(self) -> None:
        self.ask("settle")

    def asked(self, device_id: str, topic: str, payload: bytes) -> list[tuple[str, bytes]]:
        answers = self.ask("asked", device_id, topic, payload.decode())
        return [(topic, data.encode()) for topic, data in answers]

    def status(self, device_id: str, payload: bytes, at_ms: int) -> None:
        self.ask("status", device_id, payload.decode(), at_ms)

    def say_again(self, statuses: Sequence[tuple[str, bytes, int]]) -> None:
        self.ask("say_again", [(device_id, text.decode(), at_ms) for device_id, text, at_ms in statuses])

    def online(self, device_id: str, is_online: bool) -> None:
        self.ask("online", device_id, is_online)

    def listening(self, device_id: str, is_listening: bool) -> None:
        self.ask("listening", device_id, is_listening)


def outcome(folder: Path, deaths: Iterator[tuple[int, bool]]) -> tuple[Any, dict[str, Any], int]:
    """Play the rollout; how it ended, what is on the devices, and how many lives the node had."""
    folder.mkdir()
    make_template(folder / "template.db", DEVICE_COUNT, IMAGE)
    waves = assign(NAMES, PLAN.waves, seed="r1")
    # In the last wave, so that one failure of twenty lets the rollout end.
    bad = min(name for name, wave in waves.items() if wave == max(waves.values()))
    fault = Fault(kind=FaultKind.BOOT_LOOP, after_ms=0, for_ms=86_400_000)
    plans = [FaultPlan([fault] if name == bad else []) for name in NAMES]
    address = str(folder / "s")
    command = [sys.executable, "-m", "tests.crash.updates_process", address, str(folder / "catalog.db")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"

            def node(path: Path, clock: ManualClock, push: Push) -> UpdateNode:
                return cast(UpdateNode, KilledNode(address, path, clock, push, deaths))

            site = Site(folder, folder / "template.db", IMAGE, plans, seed=7, node=node)
            remote = cast(KilledNode, site.node)
            site.on_restarted = remote.doom
            remote.doom()
            site.run(5_000)
            begun = False
            while not begun:
                # Begun or not, whichever the death left: a rollout is there whole or not at all.
                begun = site.at_node(
                    lambda: remote.ask("begin", NAMES, PLAN.to_json(), POLICY.to_json()) or True
                ) or (site.at_node(lambda: bool(remote.ask("exists"))) is True)
            state: Any = None
            for _ in range(200):
                site.run(60_000)
                found = site.at_node(lambda: remote.ask("outcome"))
                if found is not None and found[0] in ENDED:
                    state = found
                    break
            site.run(1_200_000)
            on_devices = {each.device_id: contents(each) for each in site.devices.values()}
            lives = remote.lives
            state = site.at_node(lambda: remote.ask("outcome")) or state
            remote.die()
        finally:
            process.kill()
    return state, on_devices, lives


def contents(each: Any) -> Any:
    """What a device's flash holds: both slots, and which of them is what."""
    record = each.flash.get("slots")
    slots = {slot: b"".join(each.flash.pieces(slot)) for slot in "AB"}
    return slots, record["confirmed"], record["trial"], record["slots"]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, dict[str, Any], int]:
    found = outcome(tmp_path_factory.mktemp("undisturbed") / "x", iter(()))
    state, _, lives = found
    assert lives == 1
    assert state[0] == "completed"
    assert sorted(each[1] for each in state[1]) == ["rolled_back"] + ["succeeded"] * (DEVICE_COUNT - 1)
    return found


def test_killed_now_and_then(tmp_path: Path, undisturbed: tuple[Any, dict[str, Any], int]) -> None:
    deaths = ((4 + 7 * number % 23, number % 2 == 0) for number in range(12))
    state, on_devices, lives = outcome(tmp_path / "x", iter(deaths))
    assert lives > 5
    assert (state, on_devices) == undisturbed[:2]


@pytest.mark.long
@pytest.mark.parametrize("after_commit", [True, False], ids=["after each commit", "in each transaction"])
def test_killed_at_every_transition(
    tmp_path: Path, undisturbed: tuple[Any, dict[str, Any], int], after_commit: bool
) -> None:
    """After each commit, so that every transition is the last of a life; or within each, which the next life then gets through first."""
    deaths = repeat((1, True) if after_commit else (2, False))
    state, on_devices, lives = outcome(tmp_path / "x", deaths)
    assert lives > 100
    assert (state, on_devices) == undisturbed[:2]
