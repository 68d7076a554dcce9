"""How long an answer takes on each link, and so how long one is waited for. Pure.

The timings of a fleet hold where an answer takes a second or two. On a link of 50 kbit/s with 2 s of latency it takes 5, and through a
relay 10: whoever waits for less suspects everybody behind such a link. So a probe is timed on each link, and what is waited for takes half
as long again as the longest of late. What a relay waits for on its own links it says with each answer, since whoever asks it can't know.

Guarantees: nothing is waited for longer than WAIT_MS_MAX, whatever anybody says; where answers come at once, nothing takes longer for it.
Sources: RFC 6298 §2 and §3 (answers are told apart by their nonce, as its timestamps are); the peak that fades is Finagle's peak EWMA.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from appliance.core.limits_replication import ANSWER_WAIT_MS_MAX

_FADES_IN: Final = 8
"""An answer that was faster counts for an eighth: a link that was busy for a moment is trusted again after some probes."""


@dataclass(slots=True)
class _Link:
    """Of one link.

    Args:
        peak_ms: The longest of late; None: nothing was measured yet.
        told_ms: How long its other end says that it waits on its slowest link.
        nonce, sent_ms: Of the probe that is timed; None: none is.
        up_ms: Since when there is the link.
    """

    up_ms: int
    peak_ms: int | None = None
    told_ms: int = 0
    nonce: int | None = None
    sent_ms: int = 0


@dataclass(slots=True)
class RoundTrips:
    """See the module's docstring."""

    _links: dict[str, _Link] = field(default_factory=dict)

    def link_up(self, peer: str, now_ms: int) -> None:
        """Another link, another way: nothing is known of it."""
        self._links[peer] = _Link(now_ms)

    def link_down(self, peer: str) -> None:
        """A link ended."""
        self._links.pop(peer, None)

    def sent(self, peer: str, nonce: int, now_ms: int) -> None:
        """A probe went to a peer. One at a time is timed, and one that got lost no longer than it is waited for."""
        link = self._links.get(peer)
        if link is not None and (link.nonce is None or now_ms - link.sent_ms >= ANSWER_WAIT_MS_MAX):
            link.nonce, link.sent_ms = nonce, now_ms

    def answered(self, peer: str, nonce: int, told_ms: int, now_ms: int) -> None:
        """An answer came over a link, to a probe of that link or through it.

        Args:
            told_ms: How long the peer waits on its slowest link.
        """
        link = self._links.get(peer)
        if link is None:
            return
        link.told_ms = min(told_ms, ANSWER_WAIT_MS_MAX)
        if link.nonce != nonce:
            return
        took_ms, known_ms = max(0, now_ms - link.sent_ms), link.peak_ms or 0
        link.nonce = None
        link.peak_ms = max(took_ms, known_ms - (known_ms - took_ms) // _FADES_IN)

    def stood_still(self) -> None:
        """This node stood still: what is under way can't be timed."""
        for link in self._links.values():
            link.nonce = None

    def wait_ms(self, peer: str, now_ms: int) -> int | None:
        """How long an answer of a peer is waited for; None: its link is too new to know."""
        link = self._links[peer]
        if link.peak_ms is None:
            return None if now_ms - link.up_ms < ANSWER_WAIT_MS_MAX else ANSWER_WAIT_MS_MAX
        return min(link.peak_ms + link.peak_ms // 2, ANSWER_WAIT_MS_MAX)

    def relayed_ms(self, relay: str, now_ms: int) -> int:
        """How long an answer is waited for that comes through a relay; 0 where its link is too new to know."""
        wait_ms = self.wait_ms(relay, now_ms)
        return wait_ms + self._links[relay].told_ms if wait_ms is not None else 0

    def slowest_ms(self, besides: str) -> int:
        """How long this node waits on the slowest of its links that are known, as a relay for a peer."""
        return max(
            (
                min(link.peak_ms + link.peak_ms // 2, ANSWER_WAIT_MS_MAX)
                for peer, link in self._links.items()
                if peer != besides and link.peak_ms is not None
            ),
            default=0,
        )
