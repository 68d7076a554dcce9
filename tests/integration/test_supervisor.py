"""The supervisor with real processes that behave and misbehave (tests/stand_ins/child.py)."""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from appliance.core.clock import SystemClock
from appliance.run.child_process import ChildSpec, ChildStatistics, Timing
from appliance.run.sd_notify import Notifier
from appliance.run.supervisor import Supervisor
from tests.processes import children_of, is_alive
from tests.stand_ins.supervisor import QUICK, spec

DEADLINE_S = 60.0


class Systemd:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.heard: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)

    def listen(self) -> list[str]:
        while True:
            try:
                self.heard.append(self._socket.recv(65_536).decode())
            except BlockingIOError:
                return self.heard

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    listener = Systemd(tmp_path / "notify")
    yield listener
    listener.close()


class Running:
    """A supervisor in this process, and what it printed."""

    def __init__(
        self, specs: Sequence[ChildSpec], environ: dict[str, str], timing: Timing, later: Sequence[ChildSpec]
    ) -> None:
        self.announced: list[tuple[str, ...]] = []
        self.killed: list[str] | None = None
        self.supervisor = Supervisor(
            specs,
            later=later,
            environ={**os.environ, **environ},
            notifier=Notifier(environ),
            clock=SystemClock(),
            announce=self.announced.append,
            timing=timing,
        )

    async def run(self) -> None:
        self.killed = await self.supervisor.run()

    def child(self, name: str) -> ChildStatistics:
        return next(child for child in self.supervisor.statistics().children if child.name == name)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until it is true; fails after DEADLINE_S."""
        with trio.fail_after(DEADLINE_S):
            while not condition():  # noqa: ASYNC110 - what is waited for has no event
                await trio.sleep(0.01)


@asynccontextmanager
async def supervised(
    *specs: ChildSpec,
    environ: dict[str, str] | None = None,
    timing: Timing = QUICK,
    later: Sequence[ChildSpec] = (),
) -> AsyncIterator[Running]:
    running = Running(specs, environ or {}, timing, later)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(running.run)
        yield running
        running.supervisor.stop()


async def test_both_children_are_started_announced_and_drained() -> None:
    async with supervised(spec("broker", "serve"), spec("node", "serve")) as running:
        await running.until(lambda: running.supervisor.statistics().ready)
        pids = [running.child(name).pid for name in ("broker", "node")]
        assert all(pid is not None and is_alive(pid) for pid in pids)
        assert running.announced == [("https://127.0.0.1:1", "setup code GN2HG-CVRBY")] * 2
    assert running.killed == []
    assert not any(is_alive(pid or 0) for pid in pids)
    assert {child.state for child in running.supervisor.statistics().children} == {"ended"}


async def test_systemd_hears_ready_once_status_watchdog_and_stopping(systemd: Systemd) -> None:
    environ = {
        "NOTIFY_SOCKET": str(systemd.path),
        "WATCHDOG_USEC": "300000",
        "WATCHDOG_PID": str(os.getpid()),
    }
    async with supervised(spec("broker", "serve"), spec("node", "serve"), environ=environ) as running:
        await running.until(lambda: "READY=1" in systemd.listen())
        before = systemd.listen().count("WATCHDOG=1")
        await running.until(lambda: systemd.listen().count("WATCHDOG=1") > before + 2)
        assert "STOPPING=1" not in systemd.listen()
    heard = systemd.listen()
    assert heard.count("READY=1") == 1
    assert heard.count("STOPPING=1") == 1
    ready = heard.index("READY=1")
    assert any(line.startswith("STATUS=broker: pid") and "node: pid" in line for line in heard[: ready + 1])


async def test_children_do_not_inherit_systemds_variables(systemd: Systemd) -> None:
    environ = {"NOTIFY_SOCKET": str(systemd.path), "WATCHDOG_USEC": "300000"}
    async with supervised(spec("broker", "serve"), environ=environ) as running:
        await running.until(lambda: running.supervisor.statistics().ready)
        inherited = await trio.Path(f"/proc/{running.child('broker').pid}/environ").read_bytes()
    assert b"NOTIFY_SOCKET" not in inherited
    assert b"WATCHDOG_USEC" not in inherited


async def test_ready_is_not_said_while_one_child_crashes(systemd: Systemd) -> None:
    environ = {"NOTIFY_SOCKET": str(systemd.path)}
    async with supervised(spec("broker", "serve"), spec("node", "crash"), environ=environ) as running:
        await running.until(lambda: running.child("node").restarts >= 3)
        assert not running.supervisor.statistics().ready
        assert running.child("broker").state == "ready"
        assert running.child("broker").restarts == 0
        assert running.child("node").last_exit_code == 3
        await running.until(lambda: any("exit code 3), restart 3" in line for line in systemd.listen()))
    assert "READY=1" not in systemd.listen()


async def test_a_crash_is_restarted_and_its_announcement_printed_once() -> None:
    async with supervised(spec("node", "crash_when_ready")) as running:
        await running.until(lambda: running.child("node").restarts >= 3)
        assert running.announced == [("https://127.0.0.1:1", "setup code GN2HG-CVRBY")]


async def test_a_killed_child_comes_back_and_the_other_is_left_alone() -> None:
    async with supervised(spec("broker", "serve"), spec("node", "serve")) as running:
        await running.until(lambda: running.supervisor.statistics().ready)
        broker_pid, node_pid = running.child("broker").pid, running.child("node").pid
        assert node_pid is not None
        os.kill(node_pid, signal.SIGKILL)
        await running.until(
            lambda: running.child("node").restarts == 1 and running.child("node").state == "ready"
        )
        assert running.child("node").pid != node_pid
        assert running.child("broker").pid == broker_pid


async def test_a_hanging_child_stops_the_watchdog_then_is_killed_and_comes_back(systemd: Systemd) -> None:
    environ = {"NOTIFY_SOCKET": str(systemd.path), "WATCHDOG_USEC": "90000"}
    timing = Timing(stale_ms=1800, lost_ms=3500, start_ms_max=20_000, restart_first_ms=20, drain_ms=1500)
    async with supervised(spec("node", "hang"), environ=environ, timing=timing) as running:
        await running.until(lambda: running.child("node").state == "ready")
        fed_while_hanging = 0

        def hung() -> bool:
            nonlocal fed_while_hanging
            if running.child("node").hung_kills == 0:
                fed_while_hanging = systemd.listen().count("WATCHDOG=1")
            return running.child("node").hung_kills == 1

        ready_at = trio.current_time()
        await running.until(hung)
        hung_s = trio.current_time() - ready_at
        # Fed every 30 ms until stale, then not: far fewer than one per 30 ms of the whole time.
        assert fed_while_hanging * 0.03 < hung_s + 1.0
        await running.until(
            lambda: running.child("node").restarts == 1 and running.child("node").state == "ready"
        )


async def test_a_child_that_ignores_everything_is_killed_at_the_deadline() -> None:
    async with supervised(spec("broker", "serve"), spec("node", "deaf")) as running:
        await running.until(lambda: running.supervisor.statistics().ready)
        pid = running.child("node").pid
        assert pid is not None
        stopped_at = trio.current_time()
    took_s = trio.current_time() - stopped_at
    assert running.killed == ["node"]
    assert not is_alive(pid)
    assert QUICK.drain_ms / 1000 <= took_s < QUICK.drain_ms / 1000 + 2


async def test_the_drain_ends_a_wait_for_the_next_start() -> None:
    timing = Timing(restart_first_ms=600_000, restart_ms_max=600_000)
    async with supervised(spec("node", "crash"), timing=timing) as running:
        await running.until(lambda: running.child("node").restarts == 1)
        stopped_at = trio.current_time()
    assert trio.current_time() - stopped_at < 5
    assert running.killed == []


async def test_a_program_that_cannot_be_started_is_tried_again() -> None:
    async with supervised(ChildSpec(name="node", argv=("/nonexistent/program",))) as running:
        await running.until(lambda: running.child("node").restarts >= 2)
        assert "could not be started" in running.child("node").status


async def test_the_first_has_a_head_start_until_it_is_ready_or_the_time_is_up() -> None:
    for_ever = dataclasses.replace(QUICK, head_start_ms=600_000)
    async with supervised(spec("broker", "serve"), spec("node", "serve"), timing=for_ever) as running:
        await running.until(lambda: running.child("broker").pid is not None)
        assert running.child("node").pid is None
        await running.until(lambda: running.child("node").state == "ready")
    async with supervised(spec("broker", "crash"), spec("node", "serve"), timing=for_ever) as running:
        await running.until(lambda: running.child("broker").restarts >= 2)
        assert running.child("node").pid is None
    assert running.child("node").state != "ended", "what was never started needn't be drained"
    short = dataclasses.replace(QUICK, head_start_ms=50)
    async with supervised(spec("broker", "crash"), spec("node", "serve"), timing=short) as running:
        await running.until(lambda: running.child("node").state == "ready")


async def test_later_children_start_once_the_others_are_ready() -> None:
    async with supervised(spec("broker", "serve"), later=[spec("demo", "serve")]) as running:
        assert running.child("demo").pid is None
        await running.until(lambda: running.child("demo").state == "ready")
        assert running.supervisor.statistics().ready
    assert running.child("demo").state == "ended"


async def test_later_children_are_drained_first_but_not_at_the_others_expense() -> None:
    async with supervised(spec("broker", "serve"), later=[spec("demo", "deaf")]) as running:
        await running.until(lambda: running.child("demo").state == "ready")
        running.supervisor.stop()
        await running.until(lambda: running.child("demo").state == "draining")
        assert running.child("broker").state == "ready"
        await running.until(lambda: running.child("broker").state == "ended")
        assert running.child("demo").state == "draining"
    assert running.killed == ["demo"]


async def test_a_child_that_sends_rubbish_is_still_supervised() -> None:
    async with supervised(spec("node", "babble")) as running:
        await running.until(lambda: running.child("node").state == "ready")
    assert running.killed == []


async def test_what_a_child_leaves_behind_goes_with_it() -> None:
    async with supervised(spec("node", "leave_a_grandchild")) as running:
        await running.until(lambda: running.child("node").state == "ready")
        grandchild = int(running.child("node").status.removeprefix("pid "))
        assert is_alive(grandchild)
    await running.until(lambda: not is_alive(grandchild))


async def test_the_memory_score_is_raised_where_asked() -> None:
    async with supervised(spec("broker", "serve"), spec("node", "serve", 500)) as running:
        await running.until(lambda: running.supervisor.statistics().ready)
        scores = {
            name: int(await trio.Path(f"/proc/{running.child(name).pid}/oom_score_adj").read_text())
            for name in ("broker", "node")
        }
    assert scores["node"] == 500
    assert scores["broker"] < 500


class Process:
    """The stand-in supervisor as a process of its own."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.stand_ins.supervisor", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for_announcement(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def children(self) -> list[int]:
        return children_of(self.process.pid)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_drains_everything(number: signal.Signals) -> None:
    running = Process("broker=serve", "node=serve")
    for _ in range(3):  # Two lines each: the second is there, too.
        announced = running.wait_for_announcement()
    assert announced == "https://127.0.0.1:1"
    children = running.children()
    running.process.send_signal(number)
    _out, log = running.process.communicate(timeout=DEADLINE_S)
    assert running.process.returncode == 0
    assert "drained" in log
    assert "GN2HG" not in log, "an announcement was logged"
    assert len(children) == 2
    assert not any(is_alive(pid) for pid in children)


def test_children_end_when_the_supervisor_is_killed() -> None:
    running = Process("broker=serve", "node=serve")
    for _ in range(4):  # Two lines each: both are ready.
        assert running.wait_for_announcement()
    children = running.children()
    assert len(children) == 2
    running.process.kill()
    _out, log = running.process.communicate(timeout=DEADLINE_S)
    deadline_s = time.monotonic() + 5
    while any(is_alive(pid) for pid in children):
        assert time.monotonic() < deadline_s, "a child outlived the supervisor"
        time.sleep(0.01)
    assert log.count("the supervisor is gone") == 2


async def test_a_process_for_a_folder_is_started_once_the_folder_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.run.supervisor.FLEET_LOOK_INTERVAL_S", 0.05)
    folder = tmp_path / "fleet"
    supervisor = Supervisor(
        [spec("broker", "serve")],
        when_there={folder: spec("replicator", "serve")},
        environ=dict(os.environ),
        notifier=Notifier({}),
        clock=SystemClock(),
        announce=lambda lines: None,
        timing=QUICK,
    )

    def states() -> dict[str, str]:
        return {child.name: child.state for child in supervisor.statistics().children}

    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.run)
        with trio.fail_after(DEADLINE_S):
            while not supervisor.statistics().ready:  # noqa: ASYNC110 - what is waited for has no event
                await trio.sleep(0.01)
            assert states() == {"broker": "ready"}
            folder.mkdir()
            while states().get("replicator") != "ready":  # noqa: ASYNC110 - the same
                await trio.sleep(0.01)
        supervisor.stop()
    assert set(states().values()) == {"ended"}
