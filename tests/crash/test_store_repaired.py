"""The store is damaged, lost, locked, from a newer release, or its process runs out of memory: devices are served throughout, everything
is searchable afterwards, and what is said meanwhile is true.
"""

from __future__ import annotations

import random
import resource
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest

from tests.crash.rig import Publisher, Rig, stored_numbers, wait_for

DEVICE = "dev-a"
CATCH_UP_S = 60.0


class Watch(threading.Thread):
    """Asks the node again and again what it says of the store, and keeps every answer that is not true."""

    def __init__(self, rig: Rig) -> None:
        super().__init__(daemon=True)
        self._rig = rig
        self._done = threading.Event()
        self.untrue: list[object] = []
        self.states: set[str] = set()
        self.doing: set[str] = set()

    def run(self) -> None:
        while not self._done.wait(0.05):
            said = self._rig.pipeline()
            if not said:
                continue
            self.states.add(said["state"])
            if said["state"] in ("waiting", "rebuilding", "catching_up", "stopped"):
                self.doing.add(said["doing"])
                if (
                    not said["text"].startswith("readings are safe, not yet searchable, ")
                    or not said["doing"]
                ):
                    self.untrue.append(said)

    def finish(self) -> None:
        self._done.set()
        self.join(30)
        assert not self.untrue


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    # A Unix socket's path is at most 107 bytes, which pytest's folders may exceed.
    with tempfile.TemporaryDirectory(prefix="hp-") as short:
        made = Rig(tmp_path, Path(short))
        try:
            yield made
        finally:
            made.close()


class Scene:
    """Both processes, and a device that sends all the time."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        token = rig.add_device(DEVICE)
        for name in ("node", "broker"):
            rig.start(name)
        rig.wait_for_broker()
        self.publisher = Publisher(rig.port, DEVICE, token, 1)
        self.publisher.start()
        self.store = rig.data_dir / "telemetry.duckdb"
        self.is_served()
        wait_for(lambda: rig.pipeline().get("rows_total", 0) > 500, 30, "readings are stored")
        self.watch = Watch(rig)
        self.watch.start()

    def is_served(self) -> None:
        """The device's readings are acknowledged, now."""
        before = len(self.publisher.acknowledged)
        wait_for(lambda: len(self.publisher.acknowledged) > before + 200, 20, "the device is served")

    def again(self) -> None:
        """The node is killed, and started."""
        self.rig.kill("node")
        self.rig.start("node")

    def end(self) -> Watch:
        """Everything that was acknowledged is in the store, once."""
        self.publisher.finish()
        self.rig.stop("broker")
        self.rig.wait_until_stored(CATCH_UP_S)
        self.watch.finish()
        self.rig.stop("node")
        found = stored_numbers(self.store, DEVICE)
        assert len(found) == len(set(found)), "stored twice"
        assert not self.publisher.acknowledged - set(found), "acknowledged and lost"
        assert self.publisher.reconnects == 0, "the device noticed nothing"
        return self.watch

    def set_aside(self) -> list[Path]:
        return [p for p in self.rig.data_dir.iterdir() if ".set-aside-" in p.name and p.suffix != ".wal"]


def _flip(path: Path, offset: int, count: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(random.Random(offset).randbytes(count))


def _header(path: Path) -> None:
    _flip(path, 0, 4096 * 3)


def _metadata(path: Path) -> None:
    # All of the first blocks: wherever the list of tables lies.
    size = path.stat().st_size
    _flip(path, 4096 * 3, max(4096, size - 4096 * 3))


def _cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(4096 * 2)


def _gone(path: Path) -> None:
    path.unlink(missing_ok=True)


def _wal_too(path: Path) -> None:
    _header(path)
    path.with_name(f"{path.name}.wal").unlink(missing_ok=True)


@pytest.mark.parametrize(
    "harm",
    [_header, *(pytest.param(harm, marks=pytest.mark.long) for harm in (_metadata, _cut, _gone, _wal_too))],
)
def test_a_store_that_is_damaged_while_it_runs_is_rebuilt(rig: Rig, harm: Callable[[Path], None]) -> None:
    scene = Scene(rig)
    rig.stop("node")  # so that what was read is in the file, not in the write-ahead log alone
    rig.start("node")
    wait_for(lambda: bool(rig.pipeline()), 30, "the node answers")
    harm(scene.store)
    scene.is_served()
    scene.again()
    scene.is_served()
    scene.end()
    assert len(scene.set_aside()) == (0 if harm is _gone else 1)


@pytest.mark.long
def test_a_store_of_a_newer_release_is_set_aside_and_filled_again(rig: Rig) -> None:
    scene = Scene(rig)
    rig.stop("node")
    connection = duckdb.connect(str(scene.store))
    connection.execute("UPDATE meta SET value = '99' WHERE key = 'schema_version'").fetchall()
    connection.close()
    rig.start("node")
    scene.is_served()
    scene.end()
    (aside,) = scene.set_aside()
    connection = duckdb.connect(str(aside), read_only=True)
    assert connection.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchall() == [("99",)]
    connection.close()


def test_a_file_that_another_program_holds_is_waited_for(rig: Rig) -> None:
    scene = Scene(rig)
    rig.stop("node")
    holder = duckdb.connect(str(scene.store))
    rig.start("node")
    said: list[str] = []

    def waits() -> bool:
        status = rig.pipeline()
        said.append(status.get("doing", ""))
        return status.get("state") == "waiting"

    wait_for(waits, 30, "the node says that it waits")
    assert "can't be used now" in said[-1], "why it waits, from the first answer on"
    scene.is_served()
    holder.close()
    scene.end()
    assert scene.set_aside() == []


def test_a_node_that_runs_out_of_memory_is_started_again(rig: Rig) -> None:
    """The system refuses it more memory, so that whatever asks next fails."""
    scene = Scene(rig)
    process = rig.processes["node"]
    pages = int((Path("/proc") / str(process.pid) / "statm").read_text().split()[0])
    limit = pages * resource.getpagesize()
    resource.prlimit(process.pid, resource.RLIMIT_AS, (limit, limit))
    scene.is_served()
    for _ in range(20):
        # Questions ask for memory; whether one of them ends the process is the system's business.
        rig.pipeline()
    scene.is_served()
    if process.poll() is None:
        rig.kill("node")
    rig.start("node")
    scene.is_served()
    scene.end()


@pytest.mark.parametrize("rounds", [2, pytest.param(50, marks=pytest.mark.long)], ids=["sample", "fifty"])
def test_a_node_that_is_killed_in_the_middle_of_a_rebuild(rig: Rig, rounds: int) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    choices = random.Random(seed)
    scene = Scene(rig)
    for _ in range(rounds):
        rig.kill("node")
        if choices.random() < 0.7:
            _gone(scene.store)
            scene.store.with_name(f"{scene.store.name}.wal").unlink(missing_ok=True)
        rig.start("node")
        threading.Event().wait(choices.uniform(0.3, 2.5))  # when the kill comes is what is random here
    rig.kill("node")
    rig.start("node")
    scene.is_served()
    scene.end()
