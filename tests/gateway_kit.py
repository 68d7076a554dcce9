"""A box and a cloud node that are linked by queues of this process, with the real code at both ends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import trio

from appliance.core.errors import HomeportError
from replication.scheduling import LinkQueue, Priority
from replication.tier.engine import Engine, Opening
from replication.tier.gateway import Gateway, Visitor
from replication.tier.gateway_client import GatewayClient
from replication.tier.gateway_links import GatewayLinks
from replication.tier.gateway_messages import SiteReport
from replication.tier.pieces import PieceName
from tests.tier_kit import CATALOG, STREAM

BOX, CLOUD = "b0" * 16, "c0" * 16
SITE = "51" * 16
VISITOR = Visitor(site_id=SITE, nodes=frozenset({STREAM.node_id, CATALOG.node_id}))


class Silent:
    """Who stands behind: hears what is none of the cloud's."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    def link_up(self, peer: str) -> None:
        self.heard.append(b"up " + peer.encode())

    def link_down(self, peer: str) -> None:
        self.heard.append(b"down " + peer.encode())

    def message(self, peer: str, data: bytes) -> None:
        self.heard.append(data)


class End:
    """One end of the link.

    Attributes:
        sent: Messages that left, for a test to look at.
        bytes_max: Of each priority that may wait.
    """

    def __init__(self, own: str, peer: str, *, bytes_max: int = 1 << 20) -> None:
        self.own, self.peer = own, peer
        self.sent: list[bytes] = []
        self._queue: LinkQueue[tuple[bytes, Callable[[], None] | None]] = LinkQueue(0, bytes_max=bytes_max)
        self._woken = trio.Event()
        self.is_up = True

    def peers(self) -> list[str]:
        return [self.peer] if self.is_up else []

    def send(
        self, peer: str, data: bytes, priority: Priority, on_left: Callable[[], None] | None = None
    ) -> bool:
        if not self.is_up or peer != self.peer or not self._queue.put((data, on_left), len(data), priority):
            return False
        self._woken.set()
        return True

    def down(self) -> None:
        """The link is gone: what waits is told so."""
        self.is_up = False
        while (item := self._queue.take(0)) is not None:
            if item[1] is not None:
                item[1]()

    async def carry(self, listener: GatewayLinks) -> None:
        """To the other end, until cancelled."""
        while True:
            item = self._queue.take(0)
            if item is None:
                self._woken = trio.Event()
                await self._woken.wait()
                continue
            await trio.lowlevel.checkpoint()
            self.sent.append(item[0])
            listener.message(self.own, item[0])
            if item[1] is not None:
                item[1]()


class Pair:
    """Both ends. `run` it."""

    def __init__(self, regions: Mapping[str, Opening], *, visitor: Visitor | None = VISITOR) -> None:
        self.box_end, self.cloud_end = End(BOX, CLOUD), End(CLOUD, BOX)
        self.stored: list[tuple[str, PieceName]] = []
        self.reports: list[tuple[str, SiteReport]] = []
        self.client = GatewayClient(self.box_end)
        self.gateway = Gateway(
            self.cloud_end,
            regions,
            visitor=lambda peer: visitor,
            on_stored=lambda region, name: self.stored.append((region, name)),
        )
        self.behind = Silent()
        self.box = GatewayLinks(self.box_end, self.behind, self.client)
        self.cloud = GatewayLinks(
            self.cloud_end,
            Silent(),
            GatewayClient(self.cloud_end),
            gateway=self.gateway,
            on_report=lambda peer, report: self.reports.append((peer, report)),
        )

    def opening(self, region: str = "eu") -> Opening:
        return self.client.opening(lambda: CLOUD, region)

    def cut(self) -> None:
        """The link is lost."""
        self.box_end.down()
        self.cloud_end.down()
        self.box.link_down(CLOUD)
        self.cloud.link_down(BOX)

    def join(self) -> None:
        """It is back."""
        self.box_end.is_up = self.cloud_end.is_up = True
        self.box.link_up(CLOUD)
        self.cloud.link_up(BOX)

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            await nursery.start(self.gateway.run)
            nursery.start_soon(self.box_end.carry, self.cloud)
            nursery.start_soon(self.cloud_end.carry, self.box)
            yield
            nursery.cancel_scope.cancel()


def behind_cloud_node(regions: Mapping[str, Opening], region: str) -> Opening:
    """What connects a region by a cloud node of its own."""

    @asynccontextmanager
    async def connect() -> AsyncIterator[Engine]:
        failures: list[HomeportError] = []
        pair = Pair(regions)
        async with trio.open_nursery() as nursery:
            async with pair.run():
                try:
                    async with pair.opening(region)() as engine:
                        yield engine
                except HomeportError as error:  # out of the nursery as itself, not in a group
                    failures.append(error)
            nursery.cancel_scope.cancel()
        if failures:
            raise failures[0]

    return connect
