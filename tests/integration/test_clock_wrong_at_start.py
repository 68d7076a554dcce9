"""A box that starts in 1970 or leaps to 2099, and is put right: the real programs, by a clock of their own."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from appliance.core.errors import Unavailable
from tests.false_time import IN_1970, IN_2099, FalseTime
from tests.integration.test_broker_verbs import Appliance, until
from tests.protocol.raw_client import RawClient

COUNT = 25
SESSION = b"\x11\0\0\x0e\x10"
"""Session expiry: an hour."""
DAY_OF_1970 = "1970-01-01"
DAY = 86_400_000


class Box:
    """An appliance with a false clock, a device that sends to it, and somebody who listens and goes away."""

    def __init__(self, folder: Path, at_s: int) -> None:
        self.time = FalseTime(folder)
        self.time.set(at_s)
        with self.time.starting():
            self.appliance = Appliance(folder)
        self.sent: list[float] = []
        self.own_times: dict[float, int] = {}
        self.classes = 0

    def begin(self) -> None:
        self.appliance.wait_until_ready()
        self.token = self.appliance.answer("device", "add", "pump")["token"].encode()
        self.panel = self.appliance.answer(
            "device", "add", "panel", "--kind", "application", "--access", "site"
        )["token"].encode()

    def restart(self, at_s: int | None = None) -> None:
        """With the clock set meanwhile; to the right time for None."""
        self.appliance.stop()
        assert self.appliance.process.returncode == 0
        if at_s is None:
            self.time.put_right()
        else:
            self.time.set(at_s)
        with self.time.starting():
            self.appliance.start()
        self.appliance.wait_until_ready()

    def send(self) -> None:
        """COUNT readings with the device's own time, which is right, and as many without any."""
        with RawClient(("127.0.0.1", self.appliance.port), 4) as client:
            client.connect_in_time("pump", username="pump", password=self.token)
            for number in range(2 * COUNT):
                value = float(len(self.sent))
                self.sent.append(value)
                message: dict[str, Any] = {"v": {"n": value}}
                if number % 2:
                    self.own_times[value] = message["ts"] = int(time.time() * 1_000) - 60_000 + number
                client.publish("dm/pump/telemetry", json.dumps(message).encode(), packet_id=number + 1)

    def listen_and_go(self) -> None:
        with RawClient(("127.0.0.1", self.appliance.port), 5) as client:
            client.connect_in_time(
                "panel", username="panel", password=self.panel, clean=False, properties=SESSION
            )
            client.subscribe(("to/panel", 1))

    def comes_back(self) -> None:
        """Whoever went away has their session."""
        with RawClient(("127.0.0.1", self.appliance.port), 5) as client:
            client.resume("panel", username="panel", password=self.panel, properties=SESSION)

    def stored(self) -> list[tuple[float, int]]:
        """Value and time of all readings that the API answers with."""
        now_ms = int(time.time() * 1_000)
        found = [
            self.get(
                f"/api/v1/devices/pump/telemetry?metric=n&aggregation=raw&from={from_ms}&to={to_ms}&limit=10000"
            )["series"]
            for from_ms, to_ms in ((0, 30 * DAY), (now_ms - 30 * DAY, now_ms + 30 * DAY))
        ]
        return [
            pair
            for series in found
            for one in series
            for pair in zip(one["value"], one["at_ms"], strict=True)
        ]

    def get(self, target: str) -> Any:
        """The answer, however busy the machine is."""

        def answer() -> Any:
            try:
                return self.appliance.api().get(target)
            except Unavailable:
                return None

        return until(answer)

    def check_all_is_there_once(self) -> None:
        until(lambda: len(self.stored()) >= len(self.sent))
        found = self.stored()
        assert Counter(value for value, _ in found) == Counter(self.sent)
        assert {value: at_ms for value, at_ms in found if value in self.own_times} == self.own_times

    def clock(self) -> Any:
        return self.get("/api/v1/status")["clock"]

    def metric(self, name: str) -> float:
        transport = httpx.HTTPTransport(uds=str(self.appliance.config.parent / "run" / "node.sock"))
        with httpx.Client(transport=transport, base_url="http://node", timeout=60) as client:
            text = client.get("/health/metrics").text
        return float(next(line for line in text.splitlines() if line.startswith(f"{name} ")).split()[1])

    def wait_until_archived(self, day: str, *where: str) -> None:
        """The keeper looks when a class changes, and otherwise once a minute."""
        self.classes += 1
        name = f"class-{self.classes}"
        options = ("--metric", name, "--hot-days", "1", "--archive-days", "1")
        self.appliance.answer("retention", "set", name, *options)

        def is_there() -> bool:
            days = self.appliance.answer("archive", "list")["days"]
            return any(each["day"] == day and each["where"] in where for each in days)

        until(is_there)

    def doctor(self) -> Any:
        """What the command says, by the box's clock."""
        with self.time.starting():
            done = subprocess.run(
                [sys.executable, "-m", "appliance", "doctor", "--json", "--config", str(self.appliance.config)],
                stdout=subprocess.PIPE, check=False, timeout=120,
            )  # fmt: skip
        (check,) = [each for each in json.loads(done.stdout)["checks"] if each["name"] == "clock"]
        return check


@pytest.fixture
def boxes() -> Iterator[list[Box]]:
    started: list[Box] = []
    yield started
    for box in started:
        box.appliance.stop()
        assert box.appliance.process.returncode == 0


def test_1970_is_put_right_as_it_runs_and_2099_lets_nothing_go(tmp_path: Path, boxes: list[Box]) -> None:
    box = Box(tmp_path, IN_1970)
    boxes.append(box)
    box.begin()
    box.send()
    box.listen_and_go()
    box.check_all_is_there_once()
    in_1970 = [at_ms for value, at_ms in box.stored() if value not in box.own_times]
    assert len(in_1970) == COUNT
    assert all(day_of(at_ms) == DAY_OF_1970 for at_ms in in_1970)
    assert box.clock()["doubt"] == "before"
    assert "NOT BELIEVED" in box.appliance.run("status").stdout
    assert box.metric('homeport_clock_doubted{why="before"}') == 1
    check = box.doctor()
    assert (check["result"], DAY_OF_1970 in check["detail"]) == ("failed", True)

    box.time.put_right()
    until(lambda: box.clock()["steps_total"] == 1)
    assert box.clock()["doubt"] == ""
    assert "clock: was set" in box.appliance.run("status").stdout
    box.send()
    box.comes_back()
    box.wait_until_archived(DAY_OF_1970, "archived")
    box.check_all_is_there_once()
    assert box.metric("homeport_clock_steps_total") == 1
    assert box.metric('homeport_clock_doubted{why="before"}') == 0

    today = day_of(box.time.now_ms())
    box.restart(IN_2099)
    assert box.clock()["doubt"] == "ahead"
    assert "2099-01-01" in box.doctor()["detail"]
    box.comes_back()
    box.wait_until_archived(today, "both", "part", "archived")
    box.check_all_is_there_once()
    box.time.put_right()
    until(lambda: box.clock()["doubt"] == "")
    box.send()
    box.check_all_is_there_once()
    box.comes_back()
    assert box.appliance.run("log", "verify").exit_code == 0


def test_1970_is_put_right_while_the_box_is_off(tmp_path: Path, boxes: list[Box]) -> None:
    box = Box(tmp_path, IN_1970)
    boxes.append(box)
    box.begin()
    box.send()
    box.listen_and_go()
    box.check_all_is_there_once()

    box.restart()
    assert (box.clock()["doubt"], box.clock()["steps_total"]) == ("", 0)
    box.comes_back()
    box.send()
    box.wait_until_archived(DAY_OF_1970, "archived")
    box.check_all_is_there_once()

    box.restart(IN_1970)
    assert box.clock()["doubt"] == "before"
    box.comes_back()
    box.send()
    box.check_all_is_there_once()
    assert box.appliance.run("log", "verify").exit_code == 0


def day_of(at_ms: int) -> str:
    return f"{dt.datetime.fromtimestamp(at_ms / 1_000, dt.UTC):%Y-%m-%d}"
