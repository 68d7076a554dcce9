"""The supervisor: starts the processes, keeps them alive, tells systemd, and drains them in the end.

It does so little that there is little to go wrong: it opens no listener and no database, and reads nothing that
came from outside. Its invariants:

- A process that ends is started again, however often that was, and each time is logged.
- READY=1 is said once, when each process has been ready once.
- WATCHDOG=1 is said only while no process hangs. One that crashed doesn't hang: it is being started again, and
  systemd restarting everything would take the healthy one down too.
- After the word to stop, everything is gone within 10 s.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from appliance.core import logs
from appliance.core.clock import Clock
from appliance.core.limits_replication import FLEET_LOOK_INTERVAL_S
from appliance.run.child_process import ChildProcess, ChildSpec, ChildStatistics, Timing
from appliance.run.sd_notify import VARIABLES, Notifier

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
LATER_SHARE: Final = 0.4
"""Of the drain's time, what processes that were started later may use before the others are told."""

_log = logs.get(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorStatistics:
    ready: bool
    draining: bool
    children: tuple[ChildStatistics, ...]


class Supervisor:
    """Runs a set of processes until told to stop.

    Args:
        specs: The processes, most urgent first; all must be ready for READY=1. Each has a head start over the one after it,
            which ends when it is ready: side by side, the one that devices wait for would have half of a small box.
        later: Processes started once those are ready, which nobody waits for.
        when_there: Processes that nobody waits for either, started once a path is there: at once, or much later.
        environ: Environment of the processes; systemd's variables are taken out of it.
        announce: Prints a process's lines for the installer (addresses, the setup code); they are not logged.
    """

    def __init__(
        self,
        specs: Sequence[ChildSpec],
        *,
        later: Sequence[ChildSpec] = (),
        when_there: Mapping[Path, ChildSpec] | None = None,
        environ: Mapping[str, str],
        notifier: Notifier,
        clock: Clock,
        announce: Callable[[tuple[str, ...]], None],
        timing: Timing | None = None,
    ) -> None:
        self._notifier = notifier
        self._clock = clock
        self._timing = timing or Timing()
        self._announce = announce
        self._announced: dict[str, tuple[str, ...]] = {}
        self._last_status = ""
        self._ready = False
        self._stop = trio.Event()
        environ = {name: value for name, value in environ.items() if name not in VARIABLES}
        self._first = [self._child(spec, environ) for spec in specs]
        self._later = [self._child(spec, environ) for spec in later]
        self._awaited = {path: self._child(spec, environ) for path, spec in (when_there or {}).items()}
        self._started: list[ChildProcess] = []

    def statistics(self) -> SupervisorStatistics:
        return SupervisorStatistics(
            ready=self._ready,
            draining=self._stop.is_set(),
            children=tuple(child.statistics() for child in self._children()),
        )

    def stop(self) -> None:
        """Drain and end; the same as SIGTERM."""
        self._stop.set()

    async def run(self) -> list[str]:
        """Run until a signal or `stop`.

        Returns:
            Names of the processes that had to be killed because they didn't drain in time.
        """
        killed: list[str] = []
        async with trio.open_nursery() as nursery:
            await nursery.start(self._stop_on_signal)
            # Where the path is there already, those who are started first may want to ask it something.
            self._start_awaited(nursery)
            nursery.start_soon(self._start_first, nursery)
            nursery.start_soon(self._become_ready, nursery)
            nursery.start_soon(self._feed_watchdog)
            await self._stop.wait()
            killed = await self._drain()
            nursery.cancel_scope.cancel()
        return killed

    async def _start_first(self, nursery: trio.Nursery) -> None:
        for child in self._first:
            if self._stop.is_set():
                return
            self._started.append(child)
            nursery.start_soon(child.run)
            with trio.move_on_after(self._timing.head_start_ms / 1000):
                await child.was_ready.wait()

    async def _become_ready(self, nursery: trio.Nursery) -> None:
        for child in self._first:
            await child.was_ready.wait()
        if self._stop.is_set():
            return
        self._ready = True
        self._notifier.ready()
        _log.info("everything is ready")
        for child in [child for child in self._later if child not in self._started]:
            self._started.append(child)
            nursery.start_soon(child.run)
        while self._awaited and not self._stop.is_set():
            self._start_awaited(nursery)
            await trio.sleep(FLEET_LOOK_INTERVAL_S)

    def _start_awaited(self, nursery: trio.Nursery) -> None:
        for path in [path for path in self._awaited if path.exists()]:
            child = self._awaited.pop(path)
            self._later.append(child)
            self._started.append(child)
            nursery.start_soon(child.run)

    async def _feed_watchdog(self) -> None:
        """Say WATCHDOG=1 three times as often as systemd wants it, while nothing hangs."""
        if self._notifier.watchdog_ms is None:
            return
        hanging_before: list[str] = []
        while True:
            now_mono_ms = self._clock.mono_ms()
            hanging = [child.spec.name for child in self._children() if child.hangs(now_mono_ms)]
            if not hanging:
                self._notifier.watchdog()
            elif hanging != hanging_before:
                _log.error("no heartbeat; systemd's watchdog isn't fed", children=hanging)
            hanging_before = hanging
            await trio.sleep(self._notifier.watchdog_ms / 3000)

    async def _drain(self) -> list[str]:
        """Tell every process to finish, wait until the deadline, kill what is left."""
        _log.info("draining", deadline_ms=self._timing.drain_ms)
        self._notifier.stopping()
        running = list(self._started)
        with trio.move_on_after(self._timing.drain_ms / 1000):
            # Those that were started last use the others, and so go first, but not at the others' expense.
            last = [child for child in running if child in self._later]
            for child in last:
                await child.drain()
            with trio.move_on_after(self._timing.drain_ms * LATER_SHARE / 1000):
                await _all_ended(last)
            for child in running:
                if child not in last:
                    await child.drain()
            await _all_ended(running)
        killed = [child.spec.name for child in running if not child.ended.is_set() and child.kill()]
        if killed:
            _log.error(
                "killed, because they didn't drain in time",
                children=killed,
                deadline_ms=self._timing.drain_ms,
            )
        await _all_ended(running)  # A killed process ends; the kernel sees to it.
        _log.info("drained")
        return killed

    async def _stop_on_signal(self, *, task_status: trio.TaskStatus[None]) -> None:
        with trio.open_signal_receiver(*STOP_SIGNALS) as signals:
            task_status.started()
            async for number in signals:
                _log.info("told to stop", signal=signal.Signals(number).name, already=self._stop.is_set())
                self._stop.set()

    def _child(self, spec: ChildSpec, environ: Mapping[str, str]) -> ChildProcess:
        def announce(lines: tuple[str, ...]) -> None:
            # A child that was started again says the same again: the installer has seen it.
            if self._announced.get(spec.name) != lines:
                self._announced[spec.name] = lines
                self._announce(lines)

        return ChildProcess(
            spec,
            environ=environ,
            clock=self._clock,
            timing=self._timing,
            changed=self._tell_status,
            announce=announce,
        )

    def _children(self) -> Iterable[ChildProcess]:
        return (*self._first, *self._later)

    def _tell_status(self) -> None:
        parts = []
        for child in self._children():
            now = child.statistics()
            parts.append(f"{now.name}: {now.status or now.state}")
        status = " | ".join(parts)
        if status != self._last_status:
            self._last_status = status
            self._notifier.status(status)


async def _all_ended(children: Iterable[ChildProcess]) -> None:
    for child in children:
        await child.ended.wait()
