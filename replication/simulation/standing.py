"""Where a box stands: whose identity it has, with whom it is in a site, and how it reaches the tier's regions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from replication.gossip.fleet_view import PeerInfo
from replication.tier.keys import SiteTierKeys
from replication.tier.pieces import tier_holder
from replication.tier.shipping import ShippingOptions

from .region import Line


@dataclass(slots=True)
class TierSettings:
    """What a box is told of the tier.

    Args:
        lines: Its ways to the regions, in order of preference.
        generation: Of the key that seals; 0: pieces are readable.
    """

    lines: Mapping[str, Line]
    options: ShippingOptions = field(default_factory=ShippingOptions)
    generation: int = 0

    def infos(self) -> list[PeerInfo]:
        """The regions as holders, as appliance/run/tier_wiring.py names them."""
        return [
            PeerInfo(node_id=tier_holder(name), site_id=tier_holder(name), region=name, is_tier=True)
            for name in self.lines
        ]


def site_keys(site_id: str, generation: int) -> SiteTierKeys:
    """A site's keys for the tier."""
    return SiteTierKeys(lambda use: f"{site_id} {use}".encode().ljust(32, b"-")[:32], generation)


class Standing:
    """See the module.

    Args:
        roster: All nodes there are.
    """

    def __init__(self, node_id: str, roster: Iterable[PeerInfo]) -> None:
        self.node_id = node_id
        self.roster = tuple(roster)
        self.tier_settings: TierSettings | None = None

    @property
    def lines(self) -> Mapping[str, Line]:
        """Its ways to regions of the tier."""
        return self.tier_settings.lines if self.tier_settings is not None else {}

    @property
    def site_id(self) -> str:
        return next(info.site_id for info in self.roster if info.node_id == self.node_id)

    @property
    def mates(self) -> frozenset[str]:
        """The other nodes of its site."""
        site_id = self.site_id
        return frozenset(info.node_id for info in self.roster if info.site_id == site_id) - {self.node_id}
