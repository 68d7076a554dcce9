"""The nodes of the fleet as far as copies go: what fails together, and who is to hold whose streams. Pure.

In a small fleet everybody holds everything. In a larger one a node's streams are held by its whole site, by relays, and by
a few nodes elsewhere; which ones follows from the ids alone (rendezvous hashing), so that all agree without a word and a
node more or less moves only what it must.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from heapq import nsmallest
from typing import Final, Literal

Domain = Literal["node", "site", "region"]
DOMAINS: Final[tuple[Domain, ...]] = ("node", "site", "region")

HOLD_ALL_NODE_COUNT_MAX: Final = 8
"""Up to so many nodes everybody holds everything."""
HOLDERS_ELSEWHERE_COUNT: Final = 3
"""Holders outside of the site in a larger fleet: two may be lost, and one be away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerInfo:
    """A node that is in the roster and not decommissioned.

    Args:
        region: What fails together; nodes that have none are in one region.
        is_relay: It holds and passes on everything.
        is_cloud: A cloud node, which hands sealed pieces to a tier (replication/tier/gateway.py): it has streams of its own, and neither
            holds nor passes on those of others.
        is_tier: It is no node but a region of the tier (replication/tier): it counts as a holder of what is stored there, and isn't
            asked for anything or counted on to hold something.
    """

    node_id: str
    site_id: str
    region: str = ""
    is_relay: bool = False
    is_cloud: bool = False
    is_tier: bool = False


class FleetView:
    """Who there is. Immutable; a new roster is a new view.

    Args:
        node_id: Our own; it need not be among the nodes.
    """

    def __init__(self, node_id: str, nodes: Iterable[PeerInfo] = ()) -> None:
        self.node_id = node_id
        self._nodes: Mapping[str, PeerInfo] = {info.node_id: info for info in nodes}
        self._node_count = sum(not info.is_tier and not info.is_cloud for info in self._nodes.values())
        self._placement = _placement(tuple(self._nodes.values()))
        self._origins: tuple[str, ...] | None = None
        self._holders: tuple[str, ...] | None = None
        self._somebody: dict[Domain, bool] = {}

    def __contains__(self, node_id: str) -> bool:
        return node_id in self._nodes

    @property
    def nodes(self) -> Mapping[str, PeerInfo]:
        return self._nodes

    @property
    def is_cloud(self) -> bool:
        """Whether this node is a cloud node, which takes no copies."""
        own = self._nodes.get(self.node_id)
        return own is not None and own.is_cloud

    @property
    def is_small(self) -> bool:
        """Whether everybody holds everything."""
        return self._node_count <= HOLD_ALL_NODE_COUNT_MAX

    def is_apart(self, node_id: str, other: str, domain: Domain) -> bool:
        """Whether what takes one away leaves the other; a node that isn't known is never apart."""
        one, two = self._nodes.get(node_id), self._nodes.get(other)
        if one is None or two is None or node_id == other:
            return False
        if domain == "node":
            return True
        if domain == "site":
            return one.site_id != two.site_id
        return one.region != two.region

    def is_somebody_apart(self, domain: Domain) -> bool:
        """Whether there is a node that what takes us away leaves. It is asked with each sample of an age, so it is kept."""
        found = self._somebody.get(domain)
        if found is None:
            found = any(
                self.is_apart(self.node_id, node_id, domain)
                for node_id, info in self._nodes.items()
                if not info.is_cloud
            )
            self._somebody[domain] = found
        return found

    def distance(self, other: str) -> int:
        """How far from us, 0 to 2: the same site, another one, another region."""
        if self.is_apart(self.node_id, other, "region"):
            return 2
        return int(self.is_apart(self.node_id, other, "site"))

    def is_holder(self, node_id: str, origin: str) -> bool:
        """Whether a node is to hold another's streams. Its own it always has."""
        if origin not in self._nodes or node_id not in self._nodes or origin == node_id:
            return False
        info = self._nodes[node_id]
        if info.is_tier or info.is_cloud:
            return False
        if self.is_small:
            return True
        if info.is_relay or info.site_id == self._nodes[origin].site_id:
            return True
        return node_id in self._placement.elsewhere(origin)

    @property
    def origins(self) -> tuple[str, ...]:
        """Whose streams this node is to hold, in the roster's order. It is asked each second, so it is kept."""
        if self._origins is None:
            self._origins = tuple(node_id for node_id in self._nodes if self.is_holder(self.node_id, node_id))
        return self._origins

    @property
    def holders(self) -> tuple[str, ...]:
        """Who is to hold this node's streams, in the roster's order; kept as well."""
        if self._holders is None:
            self._holders = tuple(node_id for node_id in self._nodes if self.is_holder(node_id, self.node_id))
        return self._holders


class _Placement:
    """Who outside of a node's site is to hold its streams. In a fleet of n nodes that takes n hashes for each node, so it is kept."""

    def __init__(self, nodes: tuple[PeerInfo, ...]) -> None:
        self._nodes = {info.node_id: info for info in nodes}
        self._candidates = [info for info in nodes if not (info.is_relay or info.is_tier or info.is_cloud)]
        self._holders: dict[str, frozenset[str]] = {}

    def elsewhere(self, origin: str) -> frozenset[str]:
        """HOLDERS_ELSEWHERE_COUNT nodes of other sites, or all where there are fewer; those of other regions first."""
        found = self._holders.get(origin)
        if found is None:
            own = self._nodes[origin]
            others = [info for info in self._candidates if info.site_id != own.site_id]
            far = [info for info in others if info.region != own.region]
            chosen = nsmallest(
                HOLDERS_ELSEWHERE_COUNT,
                far if len(far) >= HOLDERS_ELSEWHERE_COUNT else others,
                key=lambda info: (info.region == own.region, _rank(origin, info.node_id)),
            )
            found = self._holders[origin] = frozenset(info.node_id for info in chosen)
        return found


@lru_cache(maxsize=2)
def _placement(nodes: tuple[PeerInfo, ...]) -> _Placement:
    """Equal rosters have one: a view is made anew whenever something of a roster is, and a simulated fleet has one for each node."""
    return _Placement(nodes)


def _rank(origin: str, node_id: str) -> bytes:
    return hashlib.sha256(f"{origin} {node_id}".encode()).digest()
