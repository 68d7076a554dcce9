"""What `homeport site` does: a cloud node's API about one site, which people name by a part of its id or by a box of it."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote, urlencode

from appliance.core.config import Config
from appliance.core.errors import NotFound, UsageError
from appliance.run import layout
from appliance.run.local_api import LocalApi
from appliance.run.tier_commands import list_sites

ID_PART_LENGTH_MIN: Final = 6


def find_site(config: Config, site: str) -> str:
    """The id of a site.

    Args:
        site: The beginning of its id, or the name or the beginning of the id of a box.
    Raises:
        UsageError: this is no cloud node, or several sites are meant. NotFound: `site_unknown`. Unavailable: `replicator_away`.
    """
    found = {
        node["site_id"]
        for node in list_sites(config)
        if node["name"] == site
        or (
            len(site) >= ID_PART_LENGTH_MIN
            and (node["site_id"].startswith(site) or node["node_id"].startswith(site))
        )
    }
    if not found:
        raise NotFound(f"There is no site “{site[:40]}”.", hint="homeport tier sites", code="site_unknown")
    if len(found) > 1:
        raise UsageError(
            f"“{site[:40]}” is of {len(found)} sites.",
            hint="Give more of the site's id: homeport tier sites.",
        )
    return str(found.pop())


def read_site(
    config: Config, site: str, path: str, asked: list[tuple[str, str]] | None = None
) -> dict[str, Any]:
    """What a site answers: SiteAnswer of the API.

    Args:
        path: Below the site's, each part of it encoded.
    Raises:
        As `find_site`, and as the API.
    """
    query = f"?{urlencode(asked)}" if asked else ""
    api = LocalApi(layout.node_socket(config))
    answer: dict[str, Any] = api.get(f"/api/v1/sites/{find_site(config, site)}{path}{query}")
    return answer


def device_path(device_id: str) -> str:
    """Where a device is below its site; its id may hold anything."""
    return f"/devices/{quote(device_id, safe='')}"
