"""Which cloud nodes may read this site, for pages and API: kept in the site's catalog, so all its boxes know, and it holds for the next question."""

from __future__ import annotations

from dataclasses import dataclass

import trio

from appliance.identity.fleet_nodes import fleet_of, known
from appliance.management.audit import Act
from appliance.management.site_reading import check_reader, is_allowed, key_of
from storage.catalog import Catalog
from ui.services import Services


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """A cloud node of the fleet, and whether it may read this site."""

    node_id: str
    name: str
    is_allowed: bool


async def readers(services: Services) -> tuple[Reader, ...]:
    """The fleet's cloud nodes but this one, by name.

    Raises:
        NotFound: `fleet_missing`. HomeportError: the fleet's folder or the catalog can't be read.
    """
    fleet, roster = await trio.to_thread.run_sync(fleet_of, services.config, services.keys)
    clouds = [
        node for node in roster.admitted() if node.role == "cloud" and node.node_id != fleet.identity.node_id
    ]

    def read(catalog: Catalog) -> tuple[Reader, ...]:
        return tuple(
            Reader(
                node_id=node.node_id,
                name=node.name,
                is_allowed=is_allowed(catalog.get_setting(key_of(node.node_id))),
            )
            for node in sorted(clouds, key=lambda node: (node.name, node.node_id))
        )

    return await services.catalog.read(read) if clouds else ()


async def set_reading(services: Services, node_id: str, act: Act, *, allow: bool) -> Reader:
    """Let a cloud node read this site, or not any more.

    Raises:
        NotFound: `fleet_missing`, `node_unknown`. Conflict: `node_is_this`, `node_no_cloud`. As the catalog.
    """
    fleet, roster = await trio.to_thread.run_sync(fleet_of, services.config, services.keys)
    entry = known(roster, node_id, own=fleet.identity.node_id)
    check_reader(entry.role, entry.name)
    await services.catalog.write(lambda catalog: record(catalog, entry.node_id, act, allow=allow), by=act)
    return Reader(node_id=entry.node_id, name=entry.name, is_allowed=allow)


def record(catalog: Catalog, node_id: str, act: Act, *, allow: bool) -> None:
    """Write it down, with who said so."""
    catalog.set_setting(key_of(node_id), allow)
    catalog.note(act.action, object_kind="node", object_id=node_id)
