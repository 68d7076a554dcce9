"""Which process runs which file of tests, when several share them out.

Whole files go to a worker, so that what a module starts (servers, a whole box) is started once. Those of FIRST come first, since what their
folder starts (Chromium, a node) is started once in a worker as long as they follow each other; then the longest, so that nobody has a long one
left when the others are done. tests/durations.txt says how long each takes, and how long a processor takes for it and for what it starts. Each
whole run of scripts/test writes that to var/test-durations.txt; the one of a quiet machine is copied when the order of files has become another.

Most tests compute, and with two workers more than there are cores boxes under test wait for each other past their own deadlines. So any further
worker gets only files that mostly wait (for a lock to be given up, a clock to be put right), and what they wait for doesn't hold up the others.
"""

from __future__ import annotations

import os
import resource
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from xdist.scheduler.loadfile import LoadFileScheduling

TABLE: Final = Path(__file__).parent / "durations.txt"
FIRST: Final = ("tests/browser/",)
LISTED_S_MIN: Final = 5.0
"""What takes less isn't listed: it comes last, in the order of names."""
LIGHT_CORES_MAX: Final = 0.45
"""Of a core, and of all that the tests start: what uses less mostly waits."""
WRITE_TO: Final = "HOMEPORT_TEST_DURATIONS"
CPU: Final = "cpu_s"


@dataclass(frozen=True, slots=True)
class Taken:
    """What a file of tests takes: seconds on the clock, and of processors."""

    wall_s: float
    cpu_s: float

    @property
    def is_light(self) -> bool:
        return self.cpu_s <= LIGHT_CORES_MAX * self.wall_s


def read(table: Path = TABLE) -> dict[str, Taken]:
    """By file. A line is `SECONDS CPU_SECONDS NAME`."""
    found = {}
    for line in table.read_text().splitlines():
        wall, cpu, name = line.split(maxsplit=2)
        found[name] = Taken(float(wall), float(cpu))
    return found


def written(taken: Mapping[str, Taken]) -> str:
    """As `read` reads it, the longest first."""
    listed = sorted((-each.wall_s, name) for name, each in taken.items() if each.wall_s >= LISTED_S_MIN)
    return "".join(f"{-wall_s:.0f} {taken[name].cpu_s:.0f} {name}\n" for wall_s, name in listed)


class LongestFirst(LoadFileScheduling):  # type: ignore[misc]  # xdist has no types
    """xdist's sharing out by files, in the order and with the light workers that are described above."""

    def __init__(self, config: Any, log: Any, taken: Mapping[str, Taken], *, full_workers: int) -> None:
        super().__init__(config, log)
        self._taken = taken
        self._full_workers = full_workers

    def _rank(self, name: str) -> tuple[bool, float, str]:
        taken = self._taken.get(name)
        return not name.startswith(FIRST), -taken.wall_s if taken else 0.0, name

    def _is_light(self, name: str) -> bool:
        taken = self._taken.get(name)
        return taken is not None and taken.is_light

    def _next(self, node: Any) -> str | None:
        """The file that a worker gets, of those that are left."""
        light = [name for name in self.workqueue if self._is_light(name)]
        if int(node.gateway.id.removeprefix("gw")) >= self._full_workers:
            return min(light, key=self._rank, default=None)
        full = self.workqueue.keys() - light
        return min(full or light, key=self._rank, default=None)

    def _assign_work_unit(self, node: Any) -> None:
        name = self._next(node)
        if name is None:
            # It ends with what it has.
            node.shutdown()
            return
        # The base takes the first.
        self.workqueue.move_to_end(name, last=False)
        super()._assign_work_unit(node)


def full_workers() -> int:
    """How many get files that compute: one more than there are cores keeps these busy while tests wait for disks and for each other."""
    return len(os.sched_getaffinity(0)) + 1


def _cpu_s() -> float:
    """Of this process, and of those it started that are gone."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


class Stopwatch:
    """What each file takes: processors' time is read where a test runs and goes along with its last report."""

    def __init__(self) -> None:
        self._began_s = _cpu_s()
        self._wall_s: dict[str, float] = defaultdict(float)
        self._cpu_s: dict[str, float] = defaultdict(float)

    def begin(self) -> None:
        self._began_s = _cpu_s()

    def note(self, report: pytest.TestReport) -> None:
        """A report that was made in this process."""
        if report.when == "teardown":
            report.user_properties.append((CPU, round(_cpu_s() - self._began_s, 3)))

    def count(self, report: pytest.TestReport) -> None:
        """A report of any process."""
        name = report.nodeid.partition("::")[0]
        self._wall_s[name] += report.duration
        self._cpu_s[name] += sum(float(str(value)) for key, value in report.user_properties if key == CPU)

    def write(self) -> None:
        """Only if it was asked for, and not in a process that sees a part."""
        wanted = os.environ.get(WRITE_TO)
        if wanted and "PYTEST_XDIST_WORKER" not in os.environ:
            taken = {name: Taken(wall_s, self._cpu_s[name]) for name, wall_s in self._wall_s.items()}
            Path(wanted).write_text(written(taken))
