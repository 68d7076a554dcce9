"""The site's other nodes, for the broker: out of the fleet's roster, and where the copies of their logs lie."""

from __future__ import annotations

from appliance.core.config import Config
from appliance.run import layout
from broker.site.site_feed import SiteNodes, SiteView
from storage.fleet.roster_file import RosterWatch


def site_nodes(config: Config, node_id: str) -> SiteNodes:
    """How a broker looks at its site; a box that belongs to no fleet is alone.

    Args:
        node_id: This node's, 32 hexadecimal digits.
    """
    watch = RosterWatch(config.node.data_dir)

    def look() -> SiteView:
        watch.look()
        own = watch.roster.get(node_id) if watch.roster is not None else None
        if watch.roster is None or own is None:
            return SiteView()
        others = {mate.node_id: mate.brokers for mate in watch.roster.mates_of(node_id)}
        return SiteView(own_brokers=own.brokers, others=others)

    return SiteNodes(look=look, directory_of=lambda other: layout.replica(config, other, "telemetry"))
