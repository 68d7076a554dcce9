"""What `homeport setting` does: through the node while it runs, on the catalog itself while it is stopped."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

import msgspec

from appliance.core.config import Config
from appliance.management.audit import LOCAL, Act
from appliance.run.local_api import LocalApi
from appliance.run.node_or_catalog import StoppedNode, node_or_catalog
from ui.api.settings import setting_list
from ui.site import CHANGE_ACTION, checked, read_settings, write_settings

Row = dict[str, Any]
Rows = list[Row]


class SettingCommands(Protocol):
    """What can be done with the site's settings from the command line."""

    def list(self) -> Rows:
        """All settings, as the API describes them."""

    def set(self, key: str, value: str) -> Rows:
        """Change one; returns all.

        Raises:
            NotFound: there is none of that key. UsageError: it can't have that value.
        """


class ThroughNode:
    """Asks the running node."""

    def __init__(self, api: LocalApi) -> None:
        self._api = api

    def list(self) -> Rows:
        found: Rows = self._api.get("/api/v1/settings")["settings"]
        return found

    def set(self, key: str, value: str) -> Rows:
        answer = self._api.request("PATCH", "/api/v1/settings", {"values": {key: value}})
        found: Rows = answer["settings"]
        return found


class OnCatalog:
    """Works on the catalog itself, under the node's lock."""

    def __init__(self, node: StoppedNode) -> None:
        self._catalog = node.catalog

    def list(self) -> Rows:
        return _rows(read_settings(self._catalog))

    def set(self, key: str, value: str) -> Rows:
        values = checked({key: value})
        with self._catalog.transaction(Act(action=CHANGE_ACTION, actor=LOCAL)):
            return _rows(write_settings(self._catalog, values))


def _rows(values: dict[str, str]) -> Rows:
    found: Rows = msgspec.to_builtins(setting_list(values))["settings"]
    return found


def setting_commands(config: Config) -> AbstractContextManager[SettingCommands]:
    """The running node, or the catalog under the node's lock if none runs. Raises as `node_or_catalog`."""
    return node_or_catalog(config, holder="homeport setting", through_node=ThroughNode, on_catalog=OnCatalog)
