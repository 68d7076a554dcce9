"""A child's end of the link to the supervisor.

A child process does this:

    link = ChildLink.from_environment()
    async with trio.open_nursery() as nursery:
        await nursery.start(link.serve)
        ...                                  # start everything
        await link.ready("serving on …")
        await link.stopping.wait()
        ...                                  # finish what was begun; there are 8 s
        nursery.cancel_scope.cancel()

Heartbeats come from the event loop itself, so a loop that is stuck stops them. `stopping` is set by the supervisor's
word, by SIGTERM or SIGINT, and when the supervisor is gone: a child never outlives it, if need be by leaving without
a drain once the drain's deadline has passed.

Started by hand, without a supervisor, a child does the same and only the signals count.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, MutableMapping
from typing import Final

import trio

from appliance.core import logs
from appliance.core.limits import (
    DRAIN_DEADLINE_MS,
    HEARTBEAT_INTERVAL_MS,
    LINK_MESSAGE_BYTES_MAX,
    STATUS_CHARACTERS_MAX,
)
from appliance.run.link_messages import DESCRIPTOR_VARIABLE, FromChild, decode_to_child, encode
from appliance.run.start_stages import StartStages

EXIT_ORPHANED: Final = 75
"""EX_TEMPFAIL of sysexits.h: the supervisor died and this child could not drain in time."""

_log = logs.get(__name__)


class ChildLink:
    """The link, or a stand-in that does nothing when there is no supervisor.

    Args:
        link: The child's end of the socket pair, None without a supervisor.
        leave: Ends the process at once; for tests.
    """

    def __init__(
        self,
        link: socket.socket | None,
        *,
        leave: Callable[[int], object] = os._exit,
        stages: StartStages | None = None,
    ) -> None:
        self._link = trio.socket.from_stdlib_socket(link) if link is not None else None
        self._leave = leave
        self.stages = stages or StartStages.of_this_process()
        """Of this process's start; said with `ready`."""
        self.stopping = trio.Event()
        """Set when this process is to drain and end."""

    @classmethod
    def from_environment(
        cls, environ: MutableMapping[str, str] | None = None, *, stages: StartStages | None = None
    ) -> ChildLink:
        """The link whose descriptor the supervisor passed on; taken out of the environment, so nobody inherits it."""
        environ = os.environ if environ is None else environ
        descriptor = environ.pop(DESCRIPTOR_VARIABLE, None)
        if descriptor is None:
            return cls(None, stages=stages)
        os.set_inheritable(int(descriptor), False)
        return cls(socket.socket(fileno=int(descriptor)), stages=stages)

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Send heartbeats and listen until cancelled; reports started once the first heartbeat is sent."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._stop_on_signal)
            if self._link is None:
                task_status.started()
                return
            await self._send(FromChild(heartbeat=True))
            nursery.start_soon(self._beat)
            task_status.started()
            await self._listen(self._link)
            # The supervisor is gone. Whatever is still running has as long as any drain has.
            _log.warning("the supervisor is gone; this process drains and ends")
            self.stopping.set()
            last_resort = threading.Timer(DRAIN_DEADLINE_MS / 1000, self._leave, (EXIT_ORPHANED,))
            last_resort.daemon = True
            last_resort.start()
            try:
                await trio.sleep_forever()
            finally:
                last_resort.cancel()

    async def ready(self, status: str, *, announce: tuple[str, ...] | list[str] = ()) -> None:
        """Say that this process serves.

        Args:
            status: One line for people; cut at STATUS_CHARACTERS_MAX.
            announce: Lines that the supervisor prints for the installer and never logs.
        Raises:
            LocalProtocolError: the announcement is too long.
        """
        self.stages.reached("ready")
        _log.info("started", took_ms=self.stages.total_ms, stages_ms=self.stages.took_ms())
        await self._send(
            FromChild(ready=True, status=status[:STATUS_CHARACTERS_MAX], announce=tuple(announce))
        )

    async def status(self, status: str) -> None:
        """Change the line for people, cut at STATUS_CHARACTERS_MAX."""
        await self._send(FromChild(status=status[:STATUS_CHARACTERS_MAX]))

    def close(self) -> None:
        """Let go of the link; a process that ends needn't."""
        if self._link is not None:
            self._link.close()

    async def _beat(self) -> None:
        while True:
            await trio.sleep(HEARTBEAT_INTERVAL_MS / 1000)
            await self._send(FromChild(heartbeat=True))

    async def _send(self, message: FromChild) -> None:
        if self._link is None:
            return
        try:
            await self._link.send(encode(message))
        except OSError:
            # The other end is gone, which `_listen` notices by itself and acts on.
            await trio.lowlevel.checkpoint()

    async def _listen(self, link: trio.socket.SocketType) -> None:
        """Act on what the supervisor says; returns when it is gone."""
        while True:
            try:
                data = await link.recv(LINK_MESSAGE_BYTES_MAX)
            except ConnectionError:
                return
            if not data:
                return
            if decode_to_child(data).drain:
                self.stopping.set()

    async def _stop_on_signal(self, *, task_status: trio.TaskStatus[None]) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            task_status.started()
            async for _ in signals:
                self.stopping.set()
