"""The probe that is under way, whose turn is next, and what others asked this node to probe for them. Pure.

Every member is probed once in a round, in an order that is shuffled for each round (SWIM §4.3): a dead node is noticed
within one round by everybody. Whoever lost its link goes first.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from appliance.core.limits_replication import RELAYED_PROBES_MAX
from replication.randomness import Randomness

NONCE_BITS = 48


@dataclass(slots=True, kw_only=True)
class UnderWay:
    """A probe of this node's own.

    Args:
        nonce, target: Which one.
        relays_at_ms: When relays are asked, if nothing was heard.
        ends_ms: When it is judged.
        is_direct: It went over a link.
        relays: Who was asked; None: not asked yet.
        tried, untried: Relays that got no answer, and that could not try.
    """

    nonce: int
    target: str
    relays_at_ms: int
    ends_ms: int
    is_direct: bool
    relays: set[str] | None = None
    tried: set[str] = field(default_factory=set)
    untried: set[str] = field(default_factory=set)

    def next_at_ms(self) -> int:
        """When something is to be done for it."""
        return self.relays_at_ms if self.relays is None else self.ends_ms

    def missed(self, relay: str, was_tried: bool) -> None:
        """A relay says that it got no answer."""
        if self.relays and relay in self.relays:
            (self.tried if was_tried else self.untried).add(relay)

    @property
    def silent_relay_count(self) -> int:
        """Relays that said nothing at all: it may be this node that hears nobody."""
        return len(self.relays or ()) - len(self.tried | self.untried)

    def shift(self, by_ms: int) -> None:
        """Time in which this node stood still doesn't count."""
        self.relays_at_ms += by_ms
        self.ends_ms += by_ms


class Turns:
    """Whose turn it is to be probed."""

    def __init__(self, source: Randomness) -> None:
        self._source = source
        self._round: list[str] = []
        self._first: list[str] = []

    def put_first(self, node: str) -> None:
        """A node is to be probed before all others."""
        if node not in self._first:
            self._first.append(node)

    def forget(self, node: str) -> None:
        """A node is no member any more."""
        self._first = [each for each in self._first if each != node]
        self._round = [each for each in self._round if each != node]

    def next(self, members: Collection[str], without: Collection[str] = ()) -> str | None:
        """The next one. It costs no look at all members but once in a round.

        Args:
            members: Who may be probed, in a stable order; nobody else is returned.
            without: Those of them who may not.
        """
        while self._first:
            node = self._first.pop(0)
            if node in members and node not in without:
                return node
        for _ in range(2):
            while self._round:
                node = self._round.pop()
                if node in members and node not in without:
                    return node
            self._round = [node for node in members if node not in without]
            self._source.shuffle(self._round)
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Relayed:
    """A probe for somebody else.

    Args:
        asker, nonce: Who asked, and with which number.
        target: Who was probed.
        ends_ms: When the asker is told that no answer came.
    """

    asker: str
    nonce: int
    target: str
    ends_ms: int


class RelayDesk:
    """Probes for others, at most RELAYED_PROBES_MAX."""

    def __init__(self) -> None:
        self._by_nonce: dict[int, Relayed] = {}

    def __len__(self) -> int:
        return len(self._by_nonce)

    def take(self, nonce: int, relayed: Relayed) -> bool:
        """Begin one; False: there are too many."""
        if len(self._by_nonce) >= RELAYED_PROBES_MAX or nonce in self._by_nonce:
            return False
        self._by_nonce[nonce] = relayed
        return True

    def answered(self, nonce: int, by: str) -> Relayed | None:
        """An answer came; whom it is for."""
        found = self._by_nonce.get(nonce)
        if found is None or found.target != by:
            return None
        return self._by_nonce.pop(nonce)

    def expired(self, now_ms: int) -> list[Relayed]:
        """Those whose time is over; they are gone afterwards."""
        over = [nonce for nonce, each in self._by_nonce.items() if each.ends_ms <= now_ms]
        return [self._by_nonce.pop(nonce) for nonce in over]

    def next_at_ms(self) -> int | None:
        """When the first one's time is over."""
        return min((each.ends_ms for each in self._by_nonce.values()), default=None)

    def shift(self, by_ms: int) -> None:
        """Time in which this node stood still doesn't count."""
        self._by_nonce = {
            nonce: Relayed(
                asker=each.asker, nonce=each.nonce, target=each.target, ends_ms=each.ends_ms + by_ms
            )
            for nonce, each in self._by_nonce.items()
        }
