"""What `homeport conflict` does: through the node while it runs, on the catalog itself while it is stopped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol
from urllib.parse import quote, urlencode

import msgspec

from appliance.core.config import Config
from appliance.management.audit import LOCAL, Act
from appliance.run.local_api import LocalApi
from appliance.run.node_or_catalog import StoppedNode, node_or_catalog
from storage.catalog.conflicts import ConflictState, FieldConflict
from ui.api.conflicts import conflict_answer

Row = dict[str, Any]
PAGE_SIZE: Final = 1_000
_RESOLVE: Final = Act(action="conflict.resolve", actor=LOCAL)


class ConflictCommands(Protocol):
    """What can be done with conflicts from the command line; answers are as the API's."""

    def list(self, state: ConflictState) -> Iterator[Row]:
        """Those in that state, the newest first."""

    def resolve(self, conflict_id: str, value: int) -> Row:
        """Put a value in force. Raises NotFound: `conflict_unknown`. UsageError: `conflict_choice`. Conflict: `conflict_resolved`."""


class ThroughNode:
    """Asks the running node."""

    def __init__(self, api: LocalApi) -> None:
        self._api = api

    def list(self, state: ConflictState) -> Iterator[Row]:
        cursor: dict[str, str] = {}
        while True:
            query = urlencode({"state": state, "limit": PAGE_SIZE, **cursor})
            page = self._api.get(f"/api/v1/conflicts?{query}")
            yield from page["conflicts"]
            if page["next_cursor"] is None:
                return
            cursor = {"cursor": page["next_cursor"]}

    def resolve(self, conflict_id: str, value: int) -> Row:
        path = f"/api/v1/conflicts/{quote(conflict_id, safe='')}/resolve"
        found: Row = self._api.request("POST", path, {"value": value})
        return found


class OnCatalog:
    """Works on the catalog itself, under the node's lock."""

    def __init__(self, node: StoppedNode) -> None:
        self._catalog = node.catalog

    def list(self, state: ConflictState) -> Iterator[Row]:
        cursor: str | None = None
        while True:
            page = self._catalog.list_conflicts(state=state, cursor=cursor, limit=PAGE_SIZE)
            yield from map(_row, page.conflicts)
            cursor = page.next_cursor
            if cursor is None:
                return

    def resolve(self, conflict_id: str, value: int) -> Row:
        with self._catalog.transaction(_RESOLVE):
            return _row(self._catalog.resolve_conflict(conflict_id, value, by=LOCAL.name))


def _row(found: FieldConflict) -> Row:
    row: Row = msgspec.to_builtins(conflict_answer(found))
    return row


def conflict_commands(config: Config) -> AbstractContextManager[ConflictCommands]:
    """The running node, or the catalog under the node's lock if none runs. Raises as `node_or_catalog`."""
    return node_or_catalog(config, holder="homeport conflict", through_node=ThroughNode, on_catalog=OnCatalog)
