"""Two boxes of a site and a bad network between them: cut, one-way, lossy, slow; and a box that stands still.

One pair of boxes for all, with the network whole again between two tests.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from tests.fleet.network import Wire, WiredBox, wire
from tests.fleet.rig import register, within
from tests.integration.test_broker_verbs import until

pytestmark = pytest.mark.long
METRIC = "temperature_celsius"
SLOW_WATCH_S = 120


@dataclass
class Pair:
    """Two boxes, the wire between them, and what their devices have had acknowledged."""

    wire: Wire
    one: WiredBox
    other: WiredBox
    credentials: dict[str, Path]
    acknowledged: int = 0
    sent_count: int = 0

    @property
    def boxes(self) -> tuple[WiredBox, WiredBox]:
        return self.one, self.other

    def send(self, *, rate: float, seconds: float) -> list[subprocess.Popen[str]]:
        """Each box's devices send for a while."""
        self.sent_count += 1
        return [
            box.devices(self.credentials[box.name], rate=rate, seconds=seconds, seed=2 * self.sent_count + at)
            for at, box in enumerate(self.boxes)
        ]

    def finish(self, sending: list[subprocess.Popen[str]]) -> None:
        for process in sending:
            text, _ = process.communicate(timeout=200)
            report = json.loads(text)
            assert report["ok"], report["failures"]
            self.acknowledged += report["acknowledged"]

    def are_linked(self) -> bool:
        return self.one.links() == {"other": "up"} and self.other.links() == {"one": "up"}

    def become_equal(self) -> None:
        """Wait until each reading that was acknowledged is once on both."""
        for box in self.boxes:
            box.has_each_reading_once(METRIC, self.acknowledged)

    def are_alive(self) -> bool:
        return all(box.replication()["peers"][0]["member"] == "alive" for box in self.boxes)

    def check_identity(self) -> None:
        """No box took itself or the other for somebody else."""
        for box in self.boxes:
            state = box.replication()
            assert state["forks"] == []
            assert {held["epoch"] for held in state["held"]} == {1}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("network")
    with ExitStack() as stack:
        between = stack.enter_context(wire())
        one = WiredBox(folder, "one", between.one, "10.77.0.1")
        other = WiredBox(folder, "other", between.other, "10.77.0.2")
        one.start_and_wait()
        stack.callback(one.stopped)
        other.join_from_there(one.invite())
        other.start_and_wait()
        stack.callback(other.stopped)
        until(lambda: one.links() == {"other": "up"})
        credentials = {}
        devices = register(one, 10)
        for box, mine in ((one, devices[:5]), (other, devices[5:])):
            path = credentials[box.name] = folder / f"{box.name}.json"
            path.write_text(json.dumps([{"username": d.username, "password": d.password} for d in mine]))
            path.chmod(0o600)
        made = Pair(between, one, other, credentials)
        within(30, lambda: len(other.answer("device", "list")["devices"]) == 10, "the devices are on both")
        yield made


@pytest.fixture(autouse=True)
def whole_again(pair: Pair) -> Iterator[None]:
    yield
    pair.wire.heal()


def test_both_sides_of_a_cut_go_on_and_are_one_again(pair: Pair) -> None:
    sending = pair.send(rate=4, seconds=20)
    within(30, lambda: pair.one.readings(METRIC)[0] > 20, "readings come")
    pair.wire.cut()
    within(60, lambda: "down" in pair.one.links().values(), "the cut is noticed")
    time.sleep(10)
    assert pair.one.replication()["rpo_ms"] > 5_000, "what comes in is only here"
    pair.wire.heal()
    healed_s = time.monotonic()
    within(120, pair.are_linked, "linked again")
    pair.finish(sending)
    pair.become_equal()
    print(f"one again {time.monotonic() - healed_s:.1f} s after the cut healed, devices' own end included")
    within(60, lambda: pair.one.replication()["rpo_ms"] == 0, "all is safe again")
    pair.check_identity()


def test_one_way_loss_and_a_box_that_stands_still_change_nobody(pair: Pair) -> None:
    sending = pair.send(rate=2, seconds=40)
    pair.wire.cut_towards_one()
    time.sleep(12)
    pair.wire.heal()
    pair.wire.lossy(30)
    time.sleep(12)
    pair.wire.heal()
    stopped = pair.other.pids()
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(12)
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
    within(120, pair.are_linked, "linked again")
    pair.finish(sending)
    pair.become_equal()
    pair.check_identity()
    within(60, pair.are_alive, "alive to each other")


def test_a_slow_wire_carries_heartbeats_and_a_backlog(pair: Pair) -> None:
    pair.wire.cut()
    within(60, lambda: "down" in pair.one.links().values(), "the cut is noticed")
    pair.finish(pair.send(rate=20, seconds=10))
    pair.wire.heal()
    pair.wire.slow("50kbit")
    within(120, pair.are_linked, "linked over the slow wire")
    lacking: list[int] = []
    links: set[str] = set()
    deadline_s = time.monotonic() + 60
    while time.monotonic() < deadline_s and not (lacking and lacking[-1] == 0):
        (peer,) = pair.one.replication()["peers"]
        lacking.append(peer["lag_entries"])
        links.add(peer["link"])
        time.sleep(1)
    assert links == {"up"}, "heartbeats waited behind data"
    assert lacking[-1] < lacking[0] or lacking[0] == 0, "no progress"
    pair.wire.heal()
    pair.become_equal()
    pair.check_identity()


def test_a_hundred_megabytes_on_a_slow_wire_make_nobody_suspect_and_do_not_stop(pair: Pair) -> None:
    pair.wire.cut()
    within(60, lambda: "down" in pair.one.links().values(), "the cut is noticed")
    device = json.loads(pair.credentials["one"].read_text())[0]
    pair.one.log_much(device["username"], device["password"], 100)
    pair.wire.heal()
    pair.wire.slow("50kbit")
    within(120, pair.are_linked, "linked over the slow wire")
    within(60, pair.are_alive, "alive to each other")
    before = [len(box.log_text()) for box in pair.boxes]
    received_bytes = [0]
    deadline_s = time.monotonic() + SLOW_WATCH_S
    while time.monotonic() < deadline_s:
        time.sleep(20)
        (peer,) = pair.other.replication()["peers"]
        assert (peer["link"], peer["member"]) == ("up", "alive")
        received_bytes.append(peer["received_bytes"])
    assert all(later > earlier for earlier, later in pairwise(received_bytes)), received_bytes
    for box, at in zip(pair.boxes, before, strict=True):
        assert "condition=SUSPECT" not in box.log_text()[at:]
    print(f"{(received_bytes[-1] - received_bytes[1]) / (SLOW_WATCH_S - 20):.0f} bytes a second of 6,250")
    pair.wire.heal()
    within(120, lambda: pair.one.replication()["rpo_ms"] == 0, "all is safe once the wire is fast")
    pair.check_identity()
