"""Between the links and what a box and a cloud node say to each other: stands in front of the replicator, and passes on the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from replication.scheduling import Priority
from replication.tier.gateway import Gateway
from replication.tier.gateway_client import GatewayClient
from replication.tier.gateway_messages import (
    ReadingPart,
    SiteReport,
    TierPart,
    decode,
    encode,
    is_gateway_message,
)
from replication.tier.gateway_parts import Carrier
from replication.tier.reading import ReadingAsker, ReadingDoor


class Behind(Protocol):
    """The replicator, as told what happens."""

    def link_up(self, peer: str) -> None: ...

    def link_down(self, peer: str) -> None: ...

    def message(self, peer: str, data: bytes) -> None: ...


class GatewayLinks:
    """See the module.

    Args:
        client: What this box asks cloud nodes.
        gateway: What this box is asked, where it is a cloud node; else None, and questions are passed over.
        on_report: Hears how safe a box is: (peer, report).
        reader: What this box asks sites, where it is a cloud node. door: What it answers cloud nodes, where it isn't one.
    """

    def __init__(
        self,
        links: Carrier,
        behind: Behind,
        client: GatewayClient,
        *,
        gateway: Gateway | None = None,
        on_report: Callable[[str, SiteReport], None] = lambda peer, report: None,
        reader: ReadingAsker | None = None,
        door: ReadingDoor | None = None,
    ) -> None:
        self._links, self._behind, self._client, self._gateway = links, behind, client, gateway
        self._on_report = on_report
        self._reader, self._door = reader, door

    def report(self, peer: str, report: SiteReport) -> None:
        """Tell a cloud node how safe this box is; one that is away hears it the next time."""
        self._links.send(peer, encode(report), Priority.CONTROL)

    # --- As the links' listener -------------------------------------------------------------------------------

    def link_up(self, peer: str) -> None:
        self._behind.link_up(peer)

    def link_down(self, peer: str) -> None:
        self._behind.link_down(peer)
        self._client.link_down(peer)
        if self._gateway is not None:
            self._gateway.link_down(peer)
        if self._reader is not None:
            self._reader.link_down(peer)
        if self._door is not None:
            self._door.link_down(peer)

    def message(self, peer: str, data: bytes) -> None:
        """Raises RemoteProtocolError for what can't be understood."""
        if not is_gateway_message(data):
            self._behind.message(peer, data)
            return
        match decode(data):
            case TierPart(is_answer=True) as part:
                self._client.receive(peer, part)
            case TierPart() as part:
                if self._gateway is not None:
                    self._gateway.receive(peer, part)
            case ReadingPart(is_answer=True) as answer:
                if self._reader is not None:
                    self._reader.receive(peer, answer)
            case ReadingPart() as question:
                if self._door is not None:
                    self._door.receive(peer, question)
            case SiteReport() as report:
                self._on_report(peer, report)
