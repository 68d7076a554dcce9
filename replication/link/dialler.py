"""Dials each peer that is not connected, for as long as it belongs to the fleet.

One task for each peer: it waits while there is a link, whoever made it, and otherwise tries the peer's addresses in turn, then waits
(dialling.py). A peer without addresses can only connect to us.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from random import Random
from typing import Final, Literal, TypeAlias

import trio

from appliance.core.settings import BadValueError, Bind
from appliance.management.fleet import NodeEntry
from replication.link.admission import DUPLICATE, Refusal
from replication.link.connection import Link
from replication.link.dialling import DialBackoff

DialState: TypeAlias = Literal["connected", "dialling", "waiting", "not_reachable"]
FIRST_WAIT_MS: Final = 500
"""Before the first attempt, a random part of it: two boxes that start together don't always both dial."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DialStatistics:
    """How it goes with one peer.

    Attributes:
        state: not_reachable: its card has no address, so only it can connect.
        attempts: Since start.
        reason, message: Why the newest attempt came to nothing; "" after one that did not.
        is_ours: We refused the peer; else it refused us, or didn't answer.
    """

    node_id: str
    state: DialState
    attempts: int
    reason: str
    message: str
    is_ours: bool
    next_in_ms: int


class Diallers:
    """See the module's docstring.

    Args:
        dial: Dials an address of a peer and returns when the link is over: how long it lived, ms, or why there was none.
        link_of: The link with a peer, if there is one.
    """

    def __init__(
        self,
        dial: Callable[[Bind, str], Awaitable[Refusal | int]],
        link_of: Callable[[str], Link | None],
        random: Random,
    ) -> None:
        self._dial = dial
        self._link_of = link_of
        self._random = random
        self._aims: dict[str, NodeEntry] = {}
        self._running: dict[str, _Dialler] = {}
        self._changed = trio.Event()

    def aim(self, peers: Iterable[NodeEntry]) -> None:
        """Dial these from now on, and nobody else."""
        self._aims = {peer.node_id: peer for peer in peers}
        self._changed.set()

    def statistics(self) -> tuple[DialStatistics, ...]:
        return tuple(each.statistics() for each in self._running.values())

    async def run(self) -> None:
        """Dial until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                self._changed = trio.Event()
                for node_id in self._running.keys() - self._aims.keys():
                    self._running.pop(node_id).scope.cancel()
                for node_id, entry in self._aims.items():
                    running = self._running.get(node_id)
                    if running is None:
                        running = _Dialler(entry, self._dial, self._link_of, self._random)
                        self._running[node_id] = running
                        nursery.start_soon(running.run)
                    elif running.entry.signed != entry.signed:
                        running.look_again(entry)
                await self._changed.wait()


class _Dialler:
    """One peer."""

    def __init__(
        self,
        entry: NodeEntry,
        dial: Callable[[Bind, str], Awaitable[Refusal | int]],
        link_of: Callable[[str], Link | None],
        random: Random,
    ) -> None:
        self.entry = entry
        self.scope = trio.CancelScope()
        self._dial = dial
        self._link_of = link_of
        self._random = random
        self._backoff = DialBackoff(random)
        self._again = trio.Event()
        self._state: DialState = "waiting"
        self._attempts = 0
        self._newest: Refusal | None = None
        self._next_at = trio.current_time()

    def look_again(self, entry: NodeEntry) -> None:
        """It says something else of itself now: don't wait."""
        self.entry = entry
        self._backoff.reset()
        self._again.set()

    def statistics(self) -> DialStatistics:
        newest = self._newest
        is_connected = self._link_of(self.entry.node_id) is not None
        return DialStatistics(
            node_id=self.entry.node_id,
            state="connected" if is_connected else self._state,
            attempts=self._attempts,
            reason="" if newest is None or is_connected else newest.reason,
            message="" if newest is None or is_connected else newest.message,
            is_ours=newest is not None and newest.is_ours,
            next_in_ms=0
            if is_connected or self._state != "waiting"
            else max(0, int((self._next_at - trio.current_time()) * 1000)),
        )

    async def run(self) -> None:
        with self.scope:
            await self._pause(self._random.randrange(FIRST_WAIT_MS))
            while True:
                link = self._link_of(self.entry.node_id)
                if link is not None:
                    await link.ended.wait()
                    await self._pause(self._backoff.ended(link.lived_ms))
                    continue
                await self._pause(await self._try_all())

    async def _try_all(self) -> int | None:
        """Try the peer's addresses in turn.

        Returns:
            How long to wait then, ms; None: until its card is another one.
        """
        addresses = [found for text in self.entry.addresses if (found := _bind(text)) is not None]
        if not addresses:
            self._state = "not_reachable"
            return None
        for address in addresses:
            if self._link_of(self.entry.node_id) is not None:
                return 0
            self._state = "dialling"
            self._attempts += 1
            outcome = await self._dial(address, self.entry.node_id)
            if isinstance(outcome, int):
                self._newest = None
                return self._backoff.ended(outcome)
            if outcome.reason != DUPLICATE:
                self._newest = outcome
        return self._backoff.failed()

    async def _pause(self, wait_ms: int | None) -> None:
        """Wait, or until the peer says something else of itself; None is for as long as that takes."""
        self._next_at = float("inf") if wait_ms is None else trio.current_time() + wait_ms / 1000
        if wait_ms is not None:
            self._state = "waiting"
        with trio.move_on_at(self._next_at):
            await self._again.wait()
        self._again = trio.Event()


def _bind(text: str) -> Bind | None:
    try:
        return Bind.parse(text)
    except BadValueError:
        return None
