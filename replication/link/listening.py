"""Where peers connect: a bound on those who have not said yet who they are, in number, by address and in time.

With one more than may wait, whoever waits longest goes: a real peer says who it is within a second.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
import trio

from appliance.core.errors import Unavailable
from appliance.core.limits_replication import (
    LINK_HANDSHAKE_S,
    LINK_WAITING_COUNT_MAX,
    LINK_WAITING_PER_ADDRESS_COUNT_MAX,
)
from appliance.core.settings import Bind
from replication.link.admission import FULL, SLOW, Refusal, refusal

BACKLOG: Final = 64
log = structlog.get_logger(__name__)


class Waiting:
    """Somebody who has not said yet who they are."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.scope = trio.CancelScope(deadline=trio.current_time() + LINK_HANDSHAKE_S)

    def allow(self, seconds: float) -> None:
        """Give them more time, from now."""
        self.scope.deadline = trio.current_time() + seconds


class Listening:
    """See the module's docstring.

    Args:
        serve: Has a connection's whole life; calls the second argument once somebody is known.
        refused: Is told of whoever came to nothing here.
    """

    def __init__(
        self,
        serve: Callable[[trio.SocketStream, Waiting, Callable[[], None]], Awaitable[None]],
        refused: Callable[[str, str, Refusal], None],
    ) -> None:
        self._serve = serve
        self._refused = refused
        self._waiting: dict[Waiting, None] = {}
        self._per_address: Counter[str] = Counter()

    @property
    def waiting_count(self) -> int:
        """Of those who have not said yet who they are."""
        return len(self._waiting)

    async def run(self, bind: Bind, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen until cancelled; starts with the port.

        Raises:
            Unavailable: `replication_port_taken`.
        """
        try:
            listeners = await trio.open_tcp_listeners(bind.port, host=bind.host, backlog=BACKLOG)
        except OSError as error:
            raise Unavailable(
                f"Peers can't connect at {bind}: {error.strerror or error}.",
                hint="Set replication.bind to an address and port that are free, or to off.",
                code="replication_port_taken",
            ) from error
        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, self._accept, listeners)
            task_status.started(listeners[0].socket.getsockname()[1])

    async def _accept(self, stream: trio.SocketStream) -> None:
        try:
            address = str(stream.socket.getpeername()[0])
        except OSError:
            await trio.aclose_forcefully(stream)
            return
        if self._per_address[address] >= LINK_WAITING_PER_ADDRESS_COUNT_MAX:
            self._refused(address, "", refusal(FULL, "Too many of this address wait."))
            await trio.aclose_forcefully(stream)
            return
        if len(self._waiting) >= LINK_WAITING_COUNT_MAX:
            next(iter(self._waiting)).scope.cancel()
        waiting = Waiting(address)
        self._waiting[waiting] = None
        self._per_address[address] += 1

        def is_known() -> None:
            if self._waiting.pop(waiting, self) is None:
                waiting.scope.deadline = float("inf")
                self._per_address[address] -= 1
                if not self._per_address[address]:
                    del self._per_address[address]

        try:
            with waiting.scope:
                await self._serve(stream, waiting, is_known)
            if waiting.scope.cancelled_caught:
                self._refused(address, "", refusal(SLOW))
        finally:
            is_known()
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(stream)
