"""Whole boxes of one site that are killed and come back, with simulated devices on them.

Everything is real: `homeport run`, joined from the command line, sockets on loopback, SIGKILL.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from device_fw_sim.broker_address import BrokerAddress
from device_fw_sim.fitting import FirmwareOptions
from device_fw_sim.fleet import Fleet, FleetOptions
from device_fw_sim.load.options import Credential
from device_fw_sim.report import SimReport
from tests.fleet_boxes import FleetBox
from tests.processes import children_of, is_alive

_STORED = (
    "SELECT count(*), count(DISTINCT device || ' ' || observed_at::VARCHAR) FROM readings WHERE metric = ?"
)


class SiteBox(FleetBox):
    """A box that can lose its power.

    Attributes:
        last_resort_s: A box that is still there then is killed, whatever its test does.
    """

    last_resort_s = 600.0

    def popen(self) -> list[str]:
        """What starts it."""
        return [str(Path(sys.executable).parent / "homeport"), "run", "--config", str(self.config)]

    def start(self) -> None:
        # Into a file: a pipe that nobody reads is full some day, and then whoever logs waits.
        self._log = self.folder / f"log-{time.monotonic_ns()}.txt"
        with self._log.open("w") as log:
            self.process = subprocess.Popen(self.popen(), stderr=log, text=True)
        self._last_resort = threading.Timer(self.last_resort_s, self.process.kill)
        self._last_resort.daemon = True
        self._last_resort.start()

    def start_and_wait(self) -> None:
        self.start()
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        within(60, lambda: "everything is ready" in self._log.read_text(), f"{self.name} is ready")

    def log_text(self) -> str:
        """What its processes have logged since it was started."""
        return self._log.read_text()

    def pids(self) -> list[int]:
        """Of all its processes, the supervisor first."""
        return [self.process.pid, *children_of(self.process.pid)]

    def kill(self) -> None:
        """All of its processes at once, as a power cut would."""
        pids = self.pids()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        self.process.communicate(timeout=30)
        self._last_resort.cancel()
        # Not the supervisor's end alone: another process may be in the middle of a system call, and write after it.
        within(30, lambda: not any(is_alive(pid) for pid in pids), "all of its processes are gone")

    def stopped(self) -> None:
        """Its end, however it stands."""
        if self.process.poll() is None:
            self.stop()

    def replication(self) -> dict[str, Any]:
        """What is safe elsewhere."""
        state = self.api().get("/api/v1/replication")["state"]
        assert isinstance(state, dict)
        return state

    def readings(self, metric: str) -> tuple[int, int]:
        """Rows of a metric in its store, and how many of them are different readings."""
        text = _STORED.replace("?", f"'{metric}'")
        ((rows, different),) = self.answer("query", text)["rows"]
        return rows, different

    def has_each_reading_once(self, metric: str, count: int) -> None:
        """Wait until its store has so many readings of a metric, and no more rows."""
        seen: list[tuple[int, int]] = []

        def is_there() -> bool:
            seen.append(self.readings(metric))
            return seen[-1] == (count, count)

        try:
            within(120, is_there, f"{count} readings once on {self.name}")
        except AssertionError as error:
            raise AssertionError(f"{error}; rows and different ones: {seen[-1]}") from None


def within(seconds: float, found: Callable[[], Any], what: str) -> float:
    """Wait for something; how long it took, seconds."""
    began_s = time.monotonic()
    while not found():
        assert time.monotonic() - began_s < seconds, f"not within {seconds} s: {what}"
        time.sleep(0.1)
    return time.monotonic() - began_s


def register(box: FleetBox, count: int) -> tuple[Credential, ...]:
    """Devices of a box, with their tokens."""
    made = []
    for number in range(count):
        answer = box.api().post("/api/v1/devices", {"device_id": f"dev-{number:03d}"})
        made.append(Credential(username=answer["device_id"], password=answer["token"]))
    return tuple(made)


@dataclass
class Devices:
    """A fleet of simulated devices in a thread of its own."""

    options: FleetOptions

    def __post_init__(self) -> None:
        self.fleet = Fleet(self.options)
        self.report: SimReport | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._thread = threading.Thread(target=trio.run, args=(self._run,), daemon=True)
        self._thread.start()

    @classmethod
    def at(
        cls,
        box: FleetBox,
        credentials: tuple[Credential, ...],
        *,
        interval_ms: int,
        seed: int = 5,
        firmware: FirmwareOptions | None = None,
    ) -> Devices:
        """Devices whose configured broker is a box's; they learn of the others from it.

        Args:
            seed: Another one for each switch-on: with the same one they have the same boot ids, and send the same readings once more.
        """
        return cls(
            FleetOptions(
                broker=BrokerAddress(port=box.port),
                credentials=credentials,
                interval_ms=interval_ms,
                drain_s=60,
                firmware=firmware,
                seed=seed,
            )
        )

    async def _run(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self.report = await self.fleet.run()

    def acknowledged(self) -> dict[str, int]:
        """By device, its readings that a broker has acknowledged."""
        return {
            runner.device.options.device_id: runner.device.statistics().acknowledged
            for runner in list(self.fleet._runners)
        }

    def versions(self) -> dict[str, str]:
        """By device, the firmware that it runs."""
        return {
            runner.device.options.device_id: runner.device.managed.running_version
            for runner in list(self.fleet._runners)
            if runner.device.managed is not None
        }

    def waiting(self) -> dict[str, int]:
        """By device, its readings that nobody has acknowledged yet."""
        return {
            runner.device.options.device_id: runner.device.statistics().waiting
            for runner in list(self.fleet._runners)
        }

    def ports(self) -> list[int]:
        """Where each device is connected, or goes next."""
        return [runner.brokers.current.port for runner in list(self.fleet._runners)]

    def finish(self) -> SimReport:
        """Deliver what is left, and end."""
        assert self._token is not None
        self._token.run_sync_soon(self.fleet.stop.set)
        self._thread.join(120)
        assert self.report is not None
        return self.report
