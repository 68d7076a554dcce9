"""Whole boxes that take readings while no, one and two others copy them: what is acknowledged, how late a copy is, what it costs.

Every box is `homeport run` on loopback. The others are of sites of their own, so that they only keep copies: one of the same site would put
the readings into its store too, which isn't replication's cost. How late a copy is, is looked at from outside: the heads of the log and of
the copy in their files, each 5 ms.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from appliance.core.config import load
from appliance.run import layout
from storage.log import LogReader
from tests.bench import harness
from tests.bench.probes import VALUES, Worker, percentile
from tests.fleet_boxes import FleetBox
from tests.interop.brokers import provision
from tests.processes import children_of

LOOK_S = 0.005
DRAIN_S = 120.0
STEADY_S = 2.0
HELD_RATIO = 0.97
"""A box that acknowledges less of the rate than this doesn't carry it."""
DOWN_TO = 0.8
_BROKER = (
    "[broker]\nconnections_max = 12_000\nconnect_rate_per_address_max = 100_000\nconnections_per_device_max = 100_000\n"
    "device_bytes_per_s_max = 0\ndevice_messages_per_s_max = 0\n"
)


class Lateness(Worker):
    """Of a copy: between a record's being durable in its writer's log and in the copy, ms, looked at each LOOK_S."""

    def __init__(self, log: Path, copy: Path) -> None:
        super().__init__()
        self._log, self._copy = LogReader(log), LogReader(copy)
        self.late_ms: list[float] = []

    def _work(self) -> None:
        waiting: deque[tuple[int, float]] = deque()
        seen = self._log.head().next_seq
        while not self._stop.wait(LOOK_S):
            next_seq, at_s = self._log.head().next_seq, time.monotonic()
            if next_seq > seen:
                seen = next_seq
                waiting.append((next_seq, at_s))
            there, now_s = self._copy.head().next_seq, time.monotonic()
            while waiting and waiting[0][0] <= there:
                self.late_ms.append((now_s - waiting.popleft()[1]) * 1_000)

    def close(self) -> None:
        self._log.close()
        self._copy.close()


class Boxes:
    """Boxes of one fleet, the first of which has the devices.

    Args:
        names: Of the devices.
        peers: How many others copy.
    """

    def __init__(self, folder: Path, names: list[str], peers: int) -> None:
        folder.mkdir()
        self.boxes = [FleetBox(folder, f"box{number}") for number in range(peers + 1)]
        for box in self.boxes:
            box.config.write_text(box.config.read_text().replace("[broker]\n", _BROKER))
        self.credentials, _ = provision(self.boxes[0].config, names, "own")
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Boxes:
        with contextlib.ExitStack() as stack:
            for box in self.boxes:
                if box is not self.boxes[0]:
                    joined = box.join(self.boxes[0].invite("--other-site"))
                    if joined.exit_code:
                        raise harness.BenchError(f"A box could not join: {joined.output}")
                box.start_and_wait()
                stack.callback(box.stop)
            self._stack = stack.pop_all()
        for copy in self.copies():
            wait_until(lambda copy=copy: any(copy.glob("*")), "a copy begins")
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def log(self) -> Path:
        return layout.telemetry_log(load(self.boxes[0].config, {}))

    def copies(self) -> list[Path]:
        return [box.data_dir / "replicas" / self.boxes[0].node_id / "telemetry" for box in self.boxes[1:]]

    def cpu_s(self) -> dict[str, float]:
        """Of each process of each box, by box and module."""
        found: dict[str, float] = {}
        for box in self.boxes:
            for pid in children_of(box.process.pid):
                module = Path(f"/proc/{pid}/cmdline").read_text().split("\0")[-2].rpartition(".")[2]
                found[f"{box.name} {module}"] = process_cpu_s(pid)
        return found

    def sent_bytes(self) -> int:
        """To all others, since the first box's process started."""
        state = self.boxes[0].api().get("/api/v1/replication")["state"]
        return sum(peer["sent_bytes"] for peer in state["peers"]) if state else 0

    def is_copied(self) -> bool:
        """Whether all others have all of the log."""
        with contextlib.ExitStack() as stack:
            readers = [LogReader(path) for path in (self.log, *self.copies())]
            for reader in readers:
                stack.callback(reader.close)
            return len({reader.head().next_seq for reader in readers}) == 1

    def is_stored(self) -> bool:
        """Whether the first box's store has all of its log."""
        behind = self.boxes[0].api().get("/api/v1/status")["pipeline"]["behind_records"]
        return isinstance(behind, int) and behind == 0


def process_cpu_s(pid: int) -> float:
    """Processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def wait_until(found: Any, what: str) -> None:
    """Wait for something.

    Raises:
        BenchError: it isn't so in DRAIN_S.
    """
    deadline_s = time.monotonic() + DRAIN_S
    while not found():
        if time.monotonic() > deadline_s:
            raise harness.BenchError(f"Not within {DRAIN_S:g} s: {what}.")
        time.sleep(0.1)


def ingest(folder: Path, devices: int, peers: int, rate: float, seconds: float) -> dict[str, Any]:
    """One run: readings at a rate into a box that so many others copy."""
    names = [f"bench-{number:05d}" for number in range(devices)]
    with Boxes(folder, names, peers) as boxes:
        box = boxes.boxes[0]
        if peers:
            # The log's first block makes the copy's folder whole, and what joining takes is over.
            wait_until(boxes.is_copied, "the copies are where the log is")
        time.sleep(STEADY_S)
        options = {
            "host": "127.0.0.1",
            "port": box.port,
            "credentials": [harness.login(each) for each in boxes.credentials],
            "connections": devices,
            "window": 400,
            "burst": 20,
            "rate": rate,
            "payload": "telemetry",
            "duration_s": seconds,
            "warm_up_s": 2.0,
            "drain_s": 60.0,
        }
        before, sent_before = boxes.cpu_s(), boxes.sent_bytes()
        with contextlib.ExitStack() as stack:
            late = [Lateness(boxes.log, copy) for copy in boxes.copies()]
            for each in late:
                stack.callback(each.close)
                stack.enter_context(each)
            report = harness.generate(options, core=None)
        wait_until(lambda: boxes.is_copied() and boxes.is_stored(), "all is copied and stored")
        after, sent = boxes.cpu_s(), boxes.sent_bytes() - sent_before
    messages = report["acknowledged"]
    late_ms = [each for worker in late for each in worker.late_ms]
    return {
        "peers": peers,
        "rate": report["rate"],
        "acknowledged": messages,
        "late_p50_ms": percentile(late_ms, 50) if late_ms else None,
        "late_p95_ms": percentile(late_ms, 95) if late_ms else None,
        "cpu_us": {name: (after[name] - before[name]) * 1e6 / messages for name in after},
        "wire_bytes_per_reading": sent / messages / VALUES / peers if peers else None,
        "puback_p99_ms": report["latency_p99_ms"],
        "generator_cpu_ratio": report["generator_cpu_ratio"],
    }


def carried(folder: Path, devices: int, rate: float, seconds: float) -> Iterator[dict[str, Any]]:
    """Runs of the box alone, down from a rate to the first one that it carries."""
    while True:
        found = ingest(folder / f"alone-{rate:.0f}", devices, 0, rate, seconds)
        yield {**found, "wanted": rate}
        if found["rate"] >= rate * HELD_RATIO:
            return
        rate = min(rate * DOWN_TO, found["rate"] * DOWN_TO)


def measure(folder: Path, devices: int, rate: float, seconds: float, rounds: int) -> dict[str, Any]:
    """Interleaved rounds without, with one and with two others, at the highest rate that a box alone carries."""
    tried = list(carried(folder, devices, rate, min(seconds, 10.0)))
    runs: list[dict[str, Any]] = []
    for number in range(rounds):
        runs += [
            ingest(folder / f"{number}-{peers}", devices, peers, tried[-1]["wanted"], seconds)
            for peers in range(3)
        ]
    return {"wanted": rate, "rate": tried[-1]["wanted"], "tried": tried, "runs": runs}


def of_first(run: dict[str, Any]) -> float:
    """µs of all processes of the box that has the devices."""
    return float(sum(us for name, us in run["cpu_us"].items() if name.startswith("box0 ")))


def rows(found: dict[str, Any]) -> list[tuple[object, ...]]:
    """Medians over the rounds; ratios are medians of those within a round."""
    made: list[tuple[object, ...]] = []
    alone = [run for run in found["runs"] if run["peers"] == 0]
    for peers in range(3):
        runs = [run for run in found["runs"] if run["peers"] == peers]

        def middle(name: str, runs: list[dict[str, Any]] = runs) -> float | None:
            values = [run[name] for run in runs if run[name] is not None]
            return statistics.median(values) if values else None

        def cpu(name: str, runs: list[dict[str, Any]] = runs) -> float | None:
            values = [run["cpu_us"][name] for run in runs if name in run["cpu_us"]]
            return statistics.median(values) if values else None

        pairs = list(zip(runs, alone, strict=True))
        made.append(
            (
                peers,
                middle("rate"),
                statistics.median([run["rate"] / one["rate"] for run, one in pairs]),
                middle("late_p50_ms"),
                middle("late_p95_ms"),
                cpu("box0 broker_process"),
                cpu("box0 node_process"),
                cpu("box0 replicator_process"),
                statistics.median([of_first(run) / of_first(one) for run, one in pairs]),
                cpu("box1 replicator_process"),
                middle("wire_bytes_per_reading"),
                middle("puback_p99_ms"),
                middle("generator_cpu_ratio"),
            )
        )
    return made


HEADERS = (
    "others",
    "acknowledged/s",
    "ratio",
    "copy late p50 ms",
    "p95",
    "CPU µs/msg broker",
    "node",
    "replicator",
    "all, ratio",
    "another's replicator",
    "B/reading, each",
    "PUBACK p99 ms",
    "generator CPU",
)
