"""Others on this box that ask peers over the replicator's links: a drill, and whoever fetches what is missing here.

A node has one link with each peer; a second one would be taken for a clone. So a guest has the replicator's: it may ask who has what and for pieces of
streams, and hears the answers to its own requests and nothing else but heads. What it asks is looked at before it goes out, so no guest can have
anything written at a peer.

Requests are told apart by their number: the replicator's own begin at 1, each guest has a range of its own beyond 2³¹, of which the first is for what the
replicator's process fetches itself. What links tell goes to the
replicator as before; answers to guests' requests don't.

Must not know: who the guests are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from appliance.core.errors import LimitExceeded
from appliance.core.limits_replication import GUEST_COUNT_MAX
from replication.messages import AskHeads, ChunkPart, Heads, Lacking, Pull, decode_message
from replication.scheduling import Priority

FIRST_REQUEST: Final = 2**31
RANGE_COUNT: Final = 2**7
RANGE_SIZE: Final = 2**24
"""Requests of one guest: as many MiB of log."""


class Carrier(Protocol):
    """What links do for this (replication/link/links.py)."""

    def peers(self) -> list[str]: ...

    def send(
        self, peer: str, data: bytes, priority: Priority, on_left: Callable[[], None] | None = None
    ) -> bool: ...


class GuestListener(Protocol):
    """The replicator, or a guest, as told what happens."""

    def link_up(self, peer: str) -> None: ...

    def link_down(self, peer: str) -> None: ...

    def message(self, peer: str, data: bytes) -> None: ...


class Guest:
    """One of them: the links as it has them."""

    def __init__(self, guests: Guests, number: int, listen: Callable[[Guest], GuestListener]) -> None:
        self._guests = guests
        self.first_request = FIRST_REQUEST + (1 + (number - 1) % (RANGE_COUNT - 1)) * RANGE_SIZE
        self.listener = listen(self)

    def peers(self) -> list[str]:
        return self._guests.links.peers()

    def send(
        self, peer: str, data: bytes, priority: Priority, on_left: Callable[[], None] | None = None
    ) -> bool:
        """Asks a peer.

        Returns:
            Whether it went to the link: not to a peer that is away, and nothing but a question of this guest.
        Raises:
            RemoteProtocolError: it is no message.
        """
        message = decode_message(data)
        is_question = isinstance(message, AskHeads) or (
            isinstance(message, Pull) and self.has_asked(message.request)
        )
        return is_question and self._guests.links.send(peer, data, Priority.CONTROL, on_left)

    def has_asked(self, request: int) -> bool:
        """Whether a request's number is one of its own."""
        return self.first_request < request < self.first_request + RANGE_SIZE

    def leave(self) -> None:
        """It asks no more; answers that are still to come are passed over."""
        self._guests.left(self)


class Guests:
    """All guests of a node: the links' listener, in front of the replicator.

    Args:
        replicator: Whose links they are.
    """

    def __init__(self, links: Carrier, replicator: GuestListener) -> None:
        self.links = links
        self._replicator = replicator
        self._guests: list[Guest] = []
        self._number = 0

    def join(self, listen: Callable[[Guest], GuestListener]) -> Guest:
        """One more guest.

        Args:
            listen: Makes its listener.
        Raises:
            LimitExceeded: there are too many.
        """
        if len(self._guests) >= GUEST_COUNT_MAX:
            raise LimitExceeded(
                f"{GUEST_COUNT_MAX} programs ask peers over this box's links already.",
                hint="Wait until one of them is done.",
                code="guest_count",
            )
        self._number += 1
        guest = Guest(self, self._number, listen)
        self._guests.append(guest)
        return guest

    def left(self, guest: Guest) -> None:
        if guest in self._guests:
            self._guests.remove(guest)

    # --- As the links' listener -------------------------------------------------------------------------------

    def link_up(self, peer: str) -> None:
        self._replicator.link_up(peer)
        for guest in list(self._guests):
            guest.listener.link_up(peer)

    def link_down(self, peer: str) -> None:
        self._replicator.link_down(peer)
        for guest in list(self._guests):
            guest.listener.link_down(peer)

    def message(self, peer: str, data: bytes) -> None:
        """Raises RemoteProtocolError for what can't be understood."""
        message = decode_message(data) if self._guests else None
        if isinstance(message, ChunkPart | Lacking) and message.request > FIRST_REQUEST:
            for guest in list(self._guests):
                if guest.has_asked(message.request):
                    guest.listener.message(peer, data)
            return
        self._replicator.message(peer, data)
        if isinstance(message, Heads):
            for guest in list(self._guests):
                guest.listener.message(peer, data)
