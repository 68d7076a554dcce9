"""Every file of tests is run by one worker, the long ones early, and a light worker is given nothing that computes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.conftest import pytest_xdist_make_scheduler
from tests.distribution import CPU, LIGHT_CORES_MAX, LongestFirst, Stopwatch, Taken, read, written

ROOT = Path(__file__).parent.parent
TAKEN = {
    "tests/browser/test_b.py": Taken(20, 15),
    "tests/crash/test_waits.py": Taken(60, 3),
    "tests/crash/test_waits_more.py": Taken(90, 4),
    "tests/unit/test_long.py": Taken(80, 70),
}
OTHERS = ("tests/browser/test_a.py", "tests/unit/test_a.py", "tests/unit/test_b.py")


@dataclass(eq=False)
class Worker:
    """As xdist's own, which runs nothing."""

    name: str
    given: list[str] = field(default_factory=list)
    shutting_down: bool = False
    collected: list[str] = field(default_factory=list)

    @property
    def gateway(self) -> Any:
        return SimpleNamespace(id=self.name)

    def send_runtest_some(self, indices: list[int]) -> None:
        self.given += [self.collected[index] for index in indices]

    def shutdown(self) -> None:
        self.shutting_down = True


def shared_out(names: list[str], workers: int, *, full_workers: int) -> list[list[str]]:
    """The files that each worker gets, when all of them work at the same pace."""
    config = SimpleNamespace(
        option=SimpleNamespace(loadscopereorder=False, tx=["popen"] * workers, numprocesses=workers, px=[]),
        getvalue=lambda name: ["popen"] * workers,
    )
    scheduling = LongestFirst(config, None, TAKEN, full_workers=full_workers)
    collected = [f"{name}::test_{number}" for name in names for number in range(4)]
    nodes = [Worker(f"gw{number}", collected=collected) for number in range(workers)]
    for node in nodes:
        scheduling.add_node(node)
        scheduling.add_node_collection(node, collected)
    scheduling.schedule()
    done = 0
    while any(done < len(node.given) for node in nodes):
        for node in nodes:
            if done < len(node.given):
                scheduling.mark_test_complete(node, collected.index(node.given[done]))
        done += 1
    assert scheduling.tests_finished
    assert sorted(test for node in nodes for test in node.given) == sorted(collected)
    return [list(dict.fromkeys(test.partition("::")[0] for test in node.given)) for node in nodes]


def test_one_worker_has_chromium_first_and_then_the_longest() -> None:
    assert shared_out([*OTHERS, *TAKEN], 1, full_workers=3) == [
        [
            "tests/browser/test_b.py",
            "tests/browser/test_a.py",
            "tests/unit/test_long.py",
            "tests/unit/test_a.py",
            "tests/unit/test_b.py",
            "tests/crash/test_waits_more.py",
            "tests/crash/test_waits.py",
        ]
    ]


def test_a_light_worker_has_what_waits_and_nothing_else() -> None:
    full, light = shared_out([*OTHERS, *TAKEN], 2, full_workers=1)
    assert light == ["tests/crash/test_waits_more.py", "tests/crash/test_waits.py"]
    assert len(full) == 5


def test_a_light_worker_without_work_ends() -> None:
    full, light = shared_out(list(OTHERS), 2, full_workers=1)
    assert light == []
    assert len(full) == 3


def test_the_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "table.txt").write_text(written(TAKEN | {"tests/unit/test_short.py": Taken(0.1, 0.1)}))
    assert read(tmp_path / "table.txt") == TAKEN
    assert not Taken(10, 10 * LIGHT_CORES_MAX + 1).is_light


def test_most_of_what_the_table_names_exists_and_some_of_it_is_light() -> None:
    """Files come and go; where more have gone it is to be written anew."""
    table = read()
    assert sum((ROOT / name).is_file() for name in table) > 0.9 * len(table) > 50
    assert any(taken.is_light for taken in table.values())


def test_what_is_reported_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report: Any = SimpleNamespace(
        nodeid="tests/a.py::test", duration=7.0, when="teardown", user_properties=[]
    )
    stopwatch = Stopwatch()
    stopwatch.begin()
    stopwatch.note(report)
    assert [name for name, _ in report.user_properties] == [CPU]
    report.user_properties = [(CPU, 2.5)]
    stopwatch.count(report)
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    monkeypatch.setenv("HOMEPORT_TEST_DURATIONS", str(tmp_path / "table.txt"))
    stopwatch.write()
    assert read(tmp_path / "table.txt") == {"tests/a.py": Taken(7, 2)}


@pytest.mark.parametrize(("dist", "is_ours"), [("loadfile", True), ("load", False)])
def test_it_is_for_whole_files(dist: str, is_ours: bool) -> None:
    config: Any = SimpleNamespace(getoption=lambda _: dist, getvalue=lambda _: ["popen"])
    assert isinstance(pytest_xdist_make_scheduler(config, None), LongestFirst) == is_ours
