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
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from appliance.core.errors import NotFound
from tests.fleet.network import Wire, WiredBox, wire
from tests.fleet.rig import register, within
from tests.integration.test_broker_verbs import until

pytestmark = pytest.mark.long
METRIC = "temperature_celsius"
SLOW_WATCH_S = 120
PARTED_S = 120
BACKLOG_MIB = 10
BACKLOG_BYTES_PER_S = 125_000
TAIL_LATE_S_MAX = 10
"""What is new in another stream of the same box waits no longer, whatever backlog goes over the link."""


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

    def is_there(self, device: str) -> bool:
        """Whether the other box knows a device."""
        try:
            return bool(self.other.api().get(f"/api/v1/devices/{device}"))
        except NotFound:
            return False

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


def test_parted_boxes_become_equal_in_the_time_that_the_bytes_take_and_what_is_new_does_not_wait(
    pair: Pair,
) -> None:
    """Scenario 4, shortened: tests/simulation/test_scenarios.py has 6 h of it."""
    pair.wire.cut()
    within(60, lambda: "down" in pair.one.links().values(), "the cut is noticed")
    sending = pair.send(rate=4, seconds=PARTED_S)
    noisy = json.loads(pair.credentials["one"].read_text())[0]
    pair.one.log_much(noisy["username"], noisy["password"], BACKLOG_MIB)
    pair.finish(sending)
    assert pair.one.replication()["rpo_ms"] > PARTED_S * 500, "it says how much would be lost"
    pair.wire.heal()
    pair.wire.slow(f"{8 * BACKLOG_BYTES_PER_S}bit")
    healed_s = time.monotonic()
    within(120, pair.are_linked, "linked again")
    late_s: list[float] = []
    while pair.one.replication()["peers"][0]["lag_entries"]:
        device = f"late-{len(late_s)}"
        pair.one.api().post("/api/v1/devices", {"device_id": device})
        late_s.append(within(60, partial(pair.is_there, device), f"{device} is there"))
        within_s = 2 * 60 + 1.2 * BACKLOG_MIB * 1024 * 1024 / BACKLOG_BYTES_PER_S
        assert time.monotonic() - healed_s < within_s, "converged within 2 × 60 s and what the bytes take"
    equal_s = time.monotonic() - healed_s
    # The first ones may come with what the catalog itself had missed.
    print(
        f"converged after {equal_s:.0f} s; what was new meanwhile was late by {[round(s, 1) for s in late_s]}"
    )
    assert len(late_s) > 3, "there was no backlog"
    assert max(late_s[1:]) < TAIL_LATE_S_MAX
    pair.wire.heal()
    pair.become_equal()
    pair.check_identity()


def test_a_box_that_stands_still_for_a_minute_is_called_dead_once_at_most_and_calls_nobody_so(
    pair: Pair,
) -> None:
    """Scenario 5: what comes of it is over when it goes on, and no epoch begins."""
    before = [len(box.log_text()) for box in pair.boxes]
    stopped = pair.other.pids()
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(60)
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
    within(120, pair.are_linked, "linked again")
    within(60, pair.are_alive, "alive to each other")
    time.sleep(30)
    assert pair.are_alive(), "and so it stays"
    seen = [box.log_text()[at:].count("condition=DEAD") for box, at in zip(pair.boxes, before, strict=True)]
    assert seen[0] <= 1, "it flapped"
    assert seen[1] == 0, "whoever stood still is no judge of others"
    pair.check_identity()


def test_one_way_loss_and_a_box_that_stands_still_change_nobody(pair: Pair) -> None:
    before = [len(box.log_text()) for box in pair.boxes]
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
    for box, at in zip(pair.boxes, before, strict=True):
        assert "condition=DEAD" not in box.log_text()[at:], "12 s of any of it is no death"


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
