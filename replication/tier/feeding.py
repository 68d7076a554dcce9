"""Between gossip and shipping: what is held here is to be shipped, and what regions have is told to everybody. For trio."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Generic, Protocol, TypeVar

import trio

from appliance.core.clock import Clock
from replication.gossip.fleet_view import PeerInfo
from replication.gossip.machine import Gossip
from replication.tier.pieces import tier_holder
from replication.tier.shipper import Shipper
from replication.tier.shipping import Shipping
from replication.tier.steps import Tell
from storage.replicas.streams import Chunk, StreamHead, StreamId

LOOK_INTERVAL_S: Final = 1.0
"""How often what others say of regions, and what other nodes have, is looked at."""
Ticks = Callable[[], None]


class MakeShipper(Protocol):
    """Makes what ships."""

    def __call__(
        self, *, directory: Callable[[StreamId], Path], on_tell: Callable[[Tell], None]
    ) -> Shipper: ...


class Ships(Protocol):
    """What ships: the machine, and what is told to it."""

    machine: Shipping

    def holds(self, stream: StreamId, head: StreamHead, *, is_own: bool) -> None: ...

    def told(self, region: str, stream: StreamId, head: StreamHead) -> None: ...

    def dropped(self, stream: StreamId) -> None: ...


AnyShips = TypeVar("AnyShips", bound=Ships)


class Feed(Generic[AnyShips]):
    """What is between the two, whatever does the shipping and on whatever clock. Without a shipper it does nothing.

    Args:
        infos: The regions as holders.
    """

    def __init__(self, infos: Sequence[PeerInfo] = ()) -> None:
        self.infos = tuple(infos)
        self.shipper: AnyShips | None = None
        self._held: dict[StreamId, bool] = {}
        self._site: frozenset[str] = frozenset()

    def join(
        self, node_id: str, gossip: Gossip, tick: Ticks, mono_ms: Callable[[], int], shipper: AnyShips | None
    ) -> None:
        """Connect the two.

        Args:
            tick: Carries out what the gossip machine wants done.
        """
        self._node_id, self._gossip, self._tick, self._mono_ms = node_id, gossip, tick, mono_ms
        self.shipper = shipper

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

    def look(self) -> None:
        """What others say of regions, and what other nodes have, is told to what ships."""
        shipper = self.shipper
        if shipper is None:
            return
        regions = {tier_holder(name): name for name in (state.name for state in shipper.machine.states)}
        for stream, is_own in self._held.items():
            if is_own:
                shipper.machine.is_safe(stream, self._gossip.tiers.nodes_have(stream))
            for holder, head in self._gossip.tiers.told(stream).items():
                if holder in regions:
                    shipper.told(regions[holder], stream, head)

    def tell(self, tell: Tell) -> None:
        """What a region has is told to everybody."""
        holder = tier_holder(tell.region)
        self._gossip.tiers.has(holder, tell.stream, tell.head, self._mono_ms(), is_less=tell.is_less)
        self._tick()


class TierFeed(Feed[Shipper]):
    """Of a real node.

    Args:
        make: Makes the shipper; None where there are no regions.
        problem: Why there are none though there should be.
    """

    def __init__(
        self, infos: Sequence[PeerInfo] = (), make: MakeShipper | None = None, *, problem: str = ""
    ) -> None:
        super().__init__(infos)
        self.problem = problem
        self._make = make

    def attach(
        self, node_id: str, gossip: Gossip, tick: Ticks, directory: Callable[[StreamId], Path], clock: Clock
    ) -> None:
        """Connect it with the machine of a node.

        Args:
            tick: Carries out what the machine wants done.
            directory: Where a stream is that is held here.
        """
        make = self._make
        shipper = make(directory=directory, on_tell=self.tell) if make is not None else None
        self.join(node_id, gossip, tick, clock.mono_ms, shipper)

    async def frames(
        self, stream: StreamId, epoch: int, next_seq: int, frame_hash: bytes, upto_seq: int
    ) -> Chunk | None:
        """As `Shipper.frames`; None where nothing ships."""
        if self.shipper is None:
            return None
        return await self.shipper.frames(stream, epoch, next_seq, frame_hash, upto_seq)

    async def run(self) -> None:
        """Ships until cancelled."""
        if self.shipper is None:
            return
        async with trio.open_nursery() as nursery:
            await nursery.start(self.shipper.run)
            while True:
                self.look()
                await trio.sleep(LOOK_INTERVAL_S)
