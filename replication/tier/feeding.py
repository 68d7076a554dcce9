"""Between gossip and shipping: what is held here is to be shipped, and what regions have is told to everybody. For trio."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

import trio

from appliance.core.clock import Clock
from replication.gossip.fleet_view import PeerInfo
from replication.gossip.machine import Gossip
from replication.tier.pieces import tier_holder
from replication.tier.shipper import Shipper
from replication.tier.steps import Tell
from storage.replicas.streams import StreamHead, StreamId

LOOK_INTERVAL_S: Final = 1.0
"""How often what others say of regions, and what other nodes have, is looked at."""
Ticks = Callable[[], None]


class MakeShipper(Protocol):
    """Makes what ships."""

    def __call__(
        self, *, directory: Callable[[StreamId], Path], on_tell: Callable[[Tell], None]
    ) -> Shipper: ...


class TierFeed:
    """See the module. Without regions it does nothing.

    Args:
        infos: The regions as holders.
        make: Makes the shipper; None where there are no regions.
        problem: Why there are none though there should be.
    """

    def __init__(
        self, infos: Sequence[PeerInfo] = (), make: MakeShipper | None = None, *, problem: str = ""
    ) -> None:
        self.infos = tuple(infos)
        self.problem = problem
        self._make = make
        self.shipper: Shipper | None = None
        self._held: dict[StreamId, bool] = {}
        self._site: frozenset[str] = frozenset()

    def attach(
        self, node_id: str, gossip: Gossip, tick: Ticks, directory: Callable[[StreamId], Path], clock: Clock
    ) -> None:
        """Connect it with the machine of a node.

        Args:
            tick: Carries out what the machine wants done.
            directory: Where a stream is that is held here.
        """
        self._node_id, self._gossip, self._tick, self._clock = node_id, gossip, tick, clock
        if self._make is not None:
            self.shipper = self._make(directory=directory, on_tell=self._tell)

    def set_site(self, node_ids: frozenset[str]) -> None:
        """The nodes whose streams can be sealed here: those of this site."""
        self._site = node_ids

    def holds(self, stream: StreamId, head: StreamHead) -> None:
        """A stream is held here, durably, up to `head`."""
        if self.shipper is None or not head.epoch:
            return
        is_own = stream.node_id == self._node_id and not stream.branch
        if is_own or stream.node_id in self._site:
            self._held[stream] = is_own
            self.shipper.holds(stream, head, is_own=is_own)

    def dropped(self, stream: StreamId) -> None:
        """A stream isn't held here any more, or begins anew."""
        if self.shipper is not None and self._held.pop(stream, None) is not None:
            self.shipper.dropped(stream)

    async def run(self) -> None:
        """Ships until cancelled."""
        if self.shipper is None:
            return
        async with trio.open_nursery() as nursery:
            await nursery.start(self.shipper.run)
            while True:
                self._look(self.shipper)
                await trio.sleep(LOOK_INTERVAL_S)

    def _look(self, shipper: Shipper) -> None:
        regions = {tier_holder(name): name for name in (state.name for state in shipper.machine.states)}
        for stream, is_own in self._held.items():
            if is_own:
                shipper.machine.is_safe(stream, self._gossip.tiers.nodes_have(stream))
            for holder, head in self._gossip.tiers.told(stream).items():
                if holder in regions:
                    shipper.told(regions[holder], stream, head)

    def _tell(self, tell: Tell) -> None:
        now_ms = self._clock.mono_ms()
        self._gossip.tiers.has(tier_holder(tell.region), tell.stream, tell.head, now_ms, is_less=tell.is_less)
        self._tick()
