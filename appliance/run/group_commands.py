"""What `homeport group` and `homeport tag` do: through the node while it runs, on the catalog itself while it is stopped."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol
from urllib.parse import quote, urlencode

from appliance.core.config import Config
from appliance.core.limits import CATALOG_CHUNK_ROW_COUNT_MAX
from appliance.management.audit import LOCAL, Act
from appliance.run.device_commands_stopped import as_answer
from appliance.run.local_api import LocalApi
from appliance.run.node_or_catalog import StoppedNode, node_or_catalog

Row = dict[str, Any]
_PAGE_SIZE: Final = 1000


class GroupCommands(Protocol):
    """What can be done with groups and tags from the command line."""

    def add(self, group_id: str, *, name: str, description: str) -> Row:
        """Make a group. Raises Conflict: there is one. UsageError: the id or words can't be used."""

    def edit(self, group_id: str, **changes: str) -> Row:
        """Change name or description, those that are given. Raises NotFound."""

    def list(self) -> list[Row]:
        """All groups in the order of their ids."""

    def remove(self, group_id: str, *, force: bool) -> None:
        """Remove a group. Raises NotFound; Conflict: something names it, or devices are in it and it isn't forced."""

    def tags(self) -> Iterator[Row]:
        """All tags with how many devices have each."""

    def rename_tag(self, tag: str, new: str) -> int:
        """Rename a tag on every device and return on how many. Raises UsageError."""

    def remove_tag(self, tag: str) -> int:
        """Take a tag off every device and return how many they were."""


class ThroughNode:
    """Asks the running node."""

    def __init__(self, api: LocalApi) -> None:
        self._api = api

    def add(self, group_id: str, **words: str) -> Row:
        answer: Row = self._api.post("/api/v1/groups", {"group_id": group_id, **words})
        return answer

    def edit(self, group_id: str, **changes: str) -> Row:
        answer: Row = self._api.request("PATCH", _one(group_id), changes)
        return answer

    def list(self) -> list[Row]:
        groups: list[Row] = self._api.get("/api/v1/groups")["groups"]
        return groups

    def remove(self, group_id: str, *, force: bool) -> None:
        self._api.request("DELETE", _one(group_id) + ("?force=true" if force else ""))

    def tags(self) -> Iterator[Row]:
        cursor = ""
        while True:
            query = urlencode({"limit": _PAGE_SIZE, "cursor": cursor})
            page = self._api.get(f"/api/v1/tags?{query}")
            yield from page["tags"]
            if not page["next_cursor"]:
                return
            cursor = page["next_cursor"]

    def rename_tag(self, tag: str, new: str) -> int:
        return int(self._api.post("/api/v1/tags/rename", {"tag": tag, "new": new})["device_count"])

    def remove_tag(self, tag: str) -> int:
        query = urlencode({"tag": tag})
        return int(self._api.request("DELETE", f"/api/v1/tags?{query}")["device_count"])


class OnCatalog:
    """Works on the catalog itself; the caller holds the node's lock."""

    def __init__(self, stopped: StoppedNode) -> None:
        self._catalog = stopped.catalog

    def add(self, group_id: str, *, name: str, description: str) -> Row:
        with self._catalog.transaction(Act(action="group.create", actor=LOCAL)):
            return as_answer(self._catalog.add_group(group_id, name=name, description=description))

    def edit(self, group_id: str, **changes: str) -> Row:
        with self._catalog.transaction(Act(action="group.edit", actor=LOCAL)):
            return as_answer(self._catalog.edit_group(group_id, **changes))

    def list(self) -> list[Row]:
        return [as_answer(group) for group in self._catalog.list_groups()]

    def remove(self, group_id: str, *, force: bool) -> None:
        if force:
            self._catalog.check_group_unnamed(group_id)
            self._in_chunks(
                "group.remove", lambda count: self._catalog.clean_group(group_id, count_max=count)
            )
        with self._catalog.transaction(Act(action="group.remove", actor=LOCAL)):
            self._catalog.remove_group(group_id)

    def tags(self) -> Iterator[Row]:
        cursor: str | None = ""
        while cursor is not None:
            tags, cursor = self._catalog.list_tags(cursor=cursor, limit=_PAGE_SIZE)
            yield from (dataclasses.asdict(each) for each in tags)

    def rename_tag(self, tag: str, new: str) -> int:
        return self._in_chunks(
            "tag.rename", lambda count: self._catalog.change_tag(tag, new, scope=None, count_max=count)
        )

    def remove_tag(self, tag: str) -> int:
        return self._in_chunks(
            "tag.remove", lambda count: self._catalog.change_tag(tag, None, scope=None, count_max=count)
        )

    def _in_chunks(self, action: str, change: Callable[[int], int]) -> int:
        total = 0
        while True:
            with self._catalog.transaction(Act(action=action, actor=LOCAL)):
                done = change(CATALOG_CHUNK_ROW_COUNT_MAX)
            total += done
            if done < CATALOG_CHUNK_ROW_COUNT_MAX:
                return total


def _one(group_id: str) -> str:
    return f"/api/v1/groups/{quote(group_id, safe='')}"


def group_commands(config: Config) -> AbstractContextManager[GroupCommands]:
    """The running node, or the catalog under the node's lock if none runs. Raises as `node_or_catalog`."""
    return node_or_catalog(config, holder="homeport group", through_node=ThroughNode, on_catalog=OnCatalog)
