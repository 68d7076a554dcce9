"""What watches an appliance under load: threads that ask until a block ends, and what they found."""

from __future__ import annotations

import random
import threading
import time
from typing import Any

from tests.bench.appliance import Appliance
from tests.bench.harness import BenchError

VALUES = 5
METRICS = ("temperature", "humidity", "power", "voltage", "battery")
CATCH_UP_DEADLINE_S = 120.0
_LAG_PROBE_S = 0.5
_LOOK_BACK_MS = 60_000
_BUCKET_MS = 100


def caught_up(appliance: Appliance, messages: int) -> dict[str, Any]:
    """The pipeline's totals once nothing is behind."""
    deadline = time.monotonic() + CATCH_UP_DEADLINE_S
    while True:
        found = appliance.pipeline()
        done = found["rows_total"] >= messages * VALUES or found["dead_letters_total"] > 0
        if found["behind_records"] == 0 and done:
            return found
        if time.monotonic() > deadline:
            raise BenchError(f"The pipeline did not catch up: {found}")
        time.sleep(0.2)


class Worker:
    """A thread that works until the block ends, and whose failure ends the benchmark."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._guarded)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _guarded(self) -> None:
        try:
            self._work()
        except (BenchError, OSError) as error:
            self._failure = error

    def _work(self) -> None:
        raise NotImplementedError


class LagProbe(Worker):
    """Age of the newest row that a query over the last seconds finds, device by device.

    It contains the time between two sendings of the device, so it is an upper bound of the lag.
    """

    def __init__(self, appliance: Appliance, devices: list[str]) -> None:
        super().__init__()
        self._appliance = appliance
        self._devices = devices
        self._source = random.Random(8)
        self._seen = False
        self.lags_s: list[float] = []

    def _work(self) -> None:
        while not self._stop.wait(_LAG_PROBE_S):
            device = self._source.choice(self._devices)
            asked_ms = time.time_ns() // 1_000_000
            # Counts by tenths of a second, so an answer stays small however many readings there are.
            target = f"/api/v1/devices/{device}/telemetry?metric=temperature&from={asked_ms - _LOOK_BACK_MS}"
            series = self._appliance.local.get(f"{target}&aggregation=count&interval_ms={_BUCKET_MS}")[
                "series"
            ]
            newest_ms = max((at for each in series for at in each["at_ms"]), default=None)
            if newest_ms is not None:
                self._seen = True
                self.lags_s.append(max(asked_ms - newest_ms - _BUCKET_MS, 0) / 1_000)
            elif self._seen:
                # Once readings flow, none within the time looked at is a lag of at least that.
                self.lags_s.append(_LOOK_BACK_MS / 1_000)

    def percentile(self, percent: float) -> float:
        return percentile(self.lags_s, percent)


def percentile(values: list[float], percent: float) -> float:
    if not values:
        return float("nan")
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * percent / 100), len(ordered) - 1)]
