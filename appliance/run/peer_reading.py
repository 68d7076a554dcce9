"""What `homeport peer allow-reading` and `forbid-reading` do: through the node while it runs, so that the audit says who did; else on the catalog."""

from __future__ import annotations

from typing import Any

from appliance.core.config import Config
from appliance.identity.fleet_nodes import find_node, fleet_of, known
from appliance.management.audit import LOCAL, Act
from appliance.management.site_reading import ALLOW, FORBID, check_reader
from appliance.run.node_or_catalog import running_node, with_catalog
from appliance.run.peer_commands import HOLDER
from ui.site_grants import record


def set_reading(config: Config, name_or_id: str, *, allow: bool) -> dict[str, Any]:
    """Let a cloud node read this site, or not any more: SiteReader of the API.

    Raises:
        NotFound: `fleet_missing`, `node_unknown`. Conflict: `node_is_this`, `node_name_twice`, `node_no_cloud`. As node_or_catalog.
    """
    fleet, roster = fleet_of(config)
    entry = known(roster, find_node(roster, name_or_id).node_id, own=fleet.identity.node_id)
    check_reader(entry.role, entry.name)
    api = running_node(config)
    if api is not None:
        done: dict[str, Any] = api.request(
            "PUT" if allow else "DELETE", f"/api/v1/replication/readers/{entry.node_id}"
        )
        return done
    act = Act(action=ALLOW if allow else FORBID, actor=LOCAL)
    with with_catalog(config, holder=HOLDER) as stopped, stopped.catalog.transaction(act):
        record(stopped.catalog, entry.node_id, act, allow=allow)
    return {"node_id": entry.node_id, "name": entry.name, "is_allowed": allow}
