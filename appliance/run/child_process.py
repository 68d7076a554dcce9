"""One supervised process: started, listened to, started again, drained.

Its life, which `State` names:

    STARTING ──first heartbeat, ready──▶ READY
        │                                  │
        └────────────── ends ──────────────┴──▶ WAITING ──delay──▶ STARTING
    and from any of them, once told to drain: DRAINING ──ends──▶ ENDED

A process that sends no heartbeat any more hangs: it is killed and started again. Whatever happens, it is logged with
what is done about it, and there is no number of ends after which it is given up.
"""

from __future__ import annotations

import enum
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import trio

from appliance.core import limits, logs
from appliance.core.clock import Clock
from appliance.core.errors import LocalProtocolError
from appliance.run.backoff import Backoff
from appliance.run.link_messages import DESCRIPTOR_VARIABLE, FromChild, ToChild, decode_from_child, encode

_log = logs.get(__name__)


class State(enum.Enum):
    STARTING = "starting"
    READY = "ready"
    WAITING = "waiting to be started again"
    DRAINING = "draining"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """The durations that tests shorten, all in milliseconds; the meanings are in limits.py."""

    stale_ms: int = limits.HEARTBEAT_STALE_MS
    lost_ms: int = limits.HEARTBEAT_LOST_MS
    start_ms_max: int = limits.CHILD_START_MS_MAX
    head_start_ms: int = limits.HEAD_START_MS
    restart_first_ms: int = limits.RESTART_DELAY_FIRST_MS
    restart_ms_max: int = limits.RESTART_DELAY_MS_MAX
    stable_ms: int = limits.RESTART_STABLE_MS
    drain_ms: int = limits.DRAIN_DEADLINE_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSpec:
    """What to run.

    Attributes:
        argv: Program and arguments; nothing secret, everyone on the machine can read it.
        oom_score_adj: 0..1000, added to the kernel's badness when memory runs out.
    """

    name: str
    argv: tuple[str, ...]
    oom_score_adj: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildStatistics:
    name: str
    state: str
    pid: int | None
    restarts: int
    hung_kills: int
    last_exit_code: int | None
    status: str


class ChildProcess:
    """One child over all its lives.

    Args:
        environ: The child's environment.
        changed: Called whenever state or status changed.
        announce: Called with the lines that a child wants to be printed.
    """

    def __init__(
        self,
        spec: ChildSpec,
        *,
        environ: Mapping[str, str],
        clock: Clock,
        timing: Timing,
        changed: Callable[[], None],
        announce: Callable[[tuple[str, ...]], None],
    ) -> None:
        self.spec = spec
        self.state = State.WAITING
        self.was_ready = trio.Event()
        """Set the first time that it is ready."""
        self.ended = trio.Event()
        self._environ = environ
        self._clock = clock
        self._timing = timing
        self._changed = changed
        self._announce = announce
        self._backoff = Backoff(
            first_ms=timing.restart_first_ms, delay_ms_max=timing.restart_ms_max, stable_ms=timing.stable_ms
        )
        self._process: trio.Process | None = None
        self._link: trio.socket.SocketType | None = None
        self._drain = trio.Event()
        self._fresh_until_mono_ms = 0
        self._beaten = False
        self._restarts = 0
        self._hung_kills = 0
        self._last_exit_code: int | None = None
        self._status = ""

    def statistics(self) -> ChildStatistics:
        return ChildStatistics(
            name=self.spec.name,
            state=self.state.value,
            pid=self._process.pid if self._process else None,
            restarts=self._restarts,
            hung_kills=self._hung_kills,
            last_exit_code=self._last_exit_code,
            status=self._status,
        )

    def hangs(self, now_mono_ms: int) -> bool:
        """Whether it runs and its heartbeats have stopped.

        One that isn't running doesn't hang: it is being started again, and the others go on meanwhile.
        """
        running = self.state in (State.STARTING, State.READY)
        return running and now_mono_ms > self._fresh_until_mono_ms

    async def run(self) -> None:
        """Start it, and again whenever it ends, until it is drained."""
        while not self._drain.is_set():
            born_mono_ms = self._clock.mono_ms()
            await self._live_once()
            self._process = self._link = None
            if self._drain.is_set():
                break
            delay_ms = self._backoff.after_ms(self._clock.mono_ms() - born_mono_ms)
            self._restarts += 1
            _log.error(
                "a process ended and is started again",
                child=self.spec.name,
                exit_code=self._last_exit_code,
                lived_ms=self._clock.mono_ms() - born_mono_ms,
                delay_ms=delay_ms,
                restarts=self._restarts,
            )
            self._to(State.WAITING, f"ended ({_in_words(self._last_exit_code)}), restart {self._restarts}")
            with trio.move_on_after(delay_ms / 1000):
                await self._drain.wait()
        self._to(State.ENDED, "")
        self.ended.set()

    async def drain(self) -> None:
        """Tell it to finish and end; returns at once. `ended` says when it has."""
        self._drain.set()
        if self._process is not None:
            self._to(State.DRAINING, self._status)
            await self._ask_to_drain(self._process)

    def kill(self) -> bool:
        """End the process and its whole group without a word; False if there was none."""
        if self._process is None or self._process.returncode is not None:
            return False
        # It was started as the leader of a group of its own, so its own children go with it.
        os.killpg(self._process.pid, signal.SIGKILL)
        return True

    async def _live_once(self) -> None:
        """One life: from the start of a process to its end."""
        self._beaten = False
        self._fresh_until_mono_ms = self._clock.mono_ms() + self._timing.start_ms_max
        self._to(State.STARTING, "starting")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            with theirs:
                process = await self._spawn(theirs)
            if process is None:
                return
            self._process = process
            self._link = trio.socket.from_stdlib_socket(ours)
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._listen, self._link)
                    nursery.start_soon(self._kill_if_it_hangs)
                    if self._drain.is_set():
                        await self._ask_to_drain(process)
                    self._last_exit_code = await process.wait()
                    nursery.cancel_scope.cancel()
            finally:
                # Also its children, should it have left any behind.
                try:
                    os.killpg(process.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
                with trio.CancelScope(shield=True):
                    await process.wait()

    async def _spawn(self, theirs: socket.socket) -> trio.Process | None:
        """Start the process; None, logged, if the machine can't."""
        environ = {**self._environ, DESCRIPTOR_VARIABLE: str(theirs.fileno())}
        try:
            process = await trio.lowlevel.open_process(
                list(self.spec.argv),
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=environ,
                start_new_session=True,
            )
        except OSError as error:
            self._last_exit_code = None
            _log.error("a process can't be started", child=self.spec.name, error=str(error))
            return None
        if self.spec.oom_score_adj:
            _raise_oom_score(self.spec, process.pid)
        return process

    async def _listen(self, link: trio.socket.SocketType) -> None:
        """Take in what the child says; returns when it has closed its end."""
        while True:
            try:
                data = await link.recv(limits.LINK_MESSAGE_BYTES_MAX)
            except ConnectionError:
                return
            if not data:
                return
            try:
                self._hear(decode_from_child(data))
            except LocalProtocolError as error:
                _log.error("a process sent something unreadable", child=self.spec.name, error=error.message)

    def _hear(self, message: FromChild) -> None:
        self._fresh_until_mono_ms = self._clock.mono_ms() + self._timing.stale_ms
        self._beaten = True
        if message.announce:
            self._announce(message.announce)
        if message.ready and self.state is State.STARTING:
            self._to(State.READY, message.status or "")
            self.was_ready.set()
            _log.info("ready", child=self.spec.name, status=self._status)
        elif message.status is not None:
            self._to(self.state, message.status)

    async def _kill_if_it_hangs(self) -> None:
        due_mono_ms = self._clock.mono_ms()
        while True:
            late_ms = self._clock.mono_ms() - due_mono_ms
            if late_ms >= limits.HEARTBEAT_INTERVAL_MS:
                # This process stood still, perhaps all of the machine: what was sent meanwhile wasn't read yet.
                self._fresh_until_mono_ms += late_ms
            grace_ms = self._timing.lost_ms - self._timing.stale_ms if self._beaten else 0
            left_ms = self._fresh_until_mono_ms + grace_ms - self._clock.mono_ms()
            if left_ms < 0 and self.state is not State.DRAINING:
                self._hung_kills += 1
                _log.error(
                    "a process hangs and is killed", child=self.spec.name, silent_ms=self._timing.lost_ms
                )
                self.kill()
                return
            # Heard from meanwhile, a process has another deadline, which may be nearer: look again soon.
            pause_ms = min(max(left_ms, 10), limits.HEARTBEAT_INTERVAL_MS)
            due_mono_ms = self._clock.mono_ms() + pause_ms
            await trio.sleep(pause_ms / 1000)

    async def _ask_to_drain(self, process: trio.Process) -> None:
        if self._link is not None:
            try:
                await self._link.send(encode(ToChild(drain=True)))
            except OSError as error:
                _log.debug("the link is closed already", child=self.spec.name, error=str(error))
        if process.returncode is None:
            process.terminate()

    def _to(self, state: State, status: str) -> None:
        if (state, status) != (self.state, self._status):
            self.state, self._status = state, status
            self._changed()


def _raise_oom_score(spec: ChildSpec, pid: int) -> None:
    """Let the kernel take this process before others when memory runs out. Source: proc(5), oom_score_adj."""
    try:
        Path(f"/proc/{pid}/oom_score_adj").write_text(str(spec.oom_score_adj))
    except OSError as error:
        _log.warning("the kernel's memory score can't be set", child=spec.name, error=str(error))


def _in_words(exit_code: int | None) -> str:
    if exit_code is None:
        return "could not be started"
    if exit_code < 0:
        return f"killed by {signal.Signals(-exit_code).name}"
    return f"exit code {exit_code}"
