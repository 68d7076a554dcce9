"""The first two messages of a connection: who dials, who answers, and whether there is a link.

Each end judges the other (admission.py); whoever is refused is told why before the connection is closed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from appliance.core.clock import Clock
from appliance.core.errors import HomeportError, RemoteProtocolError
from appliance.core.limits_replication import LINK_HELLO_BYTES_MAX, LINK_MESSAGE_LENGTH_MAX
from appliance.management.fleet import NodeEntry, SignedEntry
from replication.link.admission import (
    FULL,
    IDENTITY,
    OVERSIZE,
    PROTOCOL,
    STRANGER,
    PeerCertificate,
    Refusal,
    judge,
    refusal,
)
from replication.link.messages import (
    LINK_VERSION,
    Hello,
    LinkMessage,
    Refused,
    Welcome,
    decode_link_message,
    encode_link_message,
)
from replication.link.roster_keeper import RosterKeeper
from replication.link.transport import Wire, WireEnded

LINK_PATH: Final = "/link/1"
JOIN_PATH: Final = "/join/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """Who we are.

    Args:
        run_id: Random, of this process.
        entry: What we say of ourselves, as it is now.
    """

    node_id: str
    site_id: str
    instance: str
    run_id: str
    release: str
    entry: Callable[[], NodeEntry]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What of others we believe.

    Args:
        identify: What a certificate says that TLS has verified; raises NotAuthorized.
        verify: An entry of the roster from outside; raises NotAuthorized or UsageError.
    """

    identify: Callable[[bytes], PeerCertificate]
    verify: Callable[[SignedEntry], NodeEntry]


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeted:
    """The other end, admitted as far as it alone is concerned."""

    said: Hello | Welcome
    certificate: PeerCertificate


class Greeting:
    """Says hello for us, and judges what the other end says."""

    def __init__(self, own: Own, trust: Trust, keeper: RosterKeeper, *, clock: Clock) -> None:
        self._own = own
        self._trust = trust
        self._keeper = keeper
        self._clock = clock

    async def say_hello(self, wire: Wire) -> None:
        """Our first message as whoever dialled."""
        own = self._own
        await wire.send(
            encode_link_message(
                Hello(
                    LINK_VERSION,
                    own.node_id,
                    own.site_id,
                    own.instance,
                    own.run_id,
                    own.release,
                    max(self._clock.now_ms(), 0),
                    own.entry().signed,
                )
            )
        )

    async def say_welcome(self, wire: Wire) -> None:
        """Our first message as whoever was dialled."""
        own = self._own
        await wire.send(
            encode_link_message(
                Welcome(
                    LINK_VERSION,
                    own.node_id,
                    own.site_id,
                    own.instance,
                    own.run_id,
                    own.release,
                    max(self._clock.now_ms(), 0),
                    own.entry().signed,
                )
            )
        )

    async def hear(self, wire: Wire, expected: type[Hello] | type[Welcome]) -> Greeted | Refusal:
        """The other end's first message, judged.

        Raises:
            WireEnded: it hung up, or refused us.
        """
        if wire.peer_der is None:
            return refusal(STRANGER, "It showed none.")
        try:
            certificate = self._trust.identify(wire.peer_der)
        except HomeportError as error:
            return refusal(STRANGER, error.message)
        data = await wire.receive()
        if len(data) > LINK_HELLO_BYTES_MAX:
            return refusal(OVERSIZE)
        try:
            said: LinkMessage = decode_link_message(data)
        except RemoteProtocolError as error:
            return refusal(PROTOCOL, error.message)
        if isinstance(said, Refused):
            raise WireEnded(Refusal(reason=said.reason, message=said.message, is_ours=False))
        if not isinstance(said, expected):
            return refusal(PROTOCOL, f"It began with {type(said).__name__}.")
        roster = self._keeper.roster
        refused = judge(said, certificate, roster, self._own.node_id, self._clock.now_ms())
        if refused is not None:
            return refused
        try:
            entry = self._trust.verify(said.entry)
        except HomeportError as error:
            return refusal(IDENTITY, error.message)
        if entry.decommission is None:
            # What a node says of its own farewell comes from others; nobody says goodbye while saying hello.
            try:
                self._keeper.merge([entry])
            except HomeportError as error:
                return refusal(FULL, error.message)
        return Greeted(said=said, certificate=certificate)


async def refuse(wire: Wire, why: Refusal) -> None:
    """Tell the other end why there is no link, and hang up."""
    try:
        await wire.send(
            encode_link_message(Refused(reason=why.reason, message=why.message[:LINK_MESSAGE_LENGTH_MAX]))
        )
    except WireEnded:
        return
    await wire.close(why.reason)
