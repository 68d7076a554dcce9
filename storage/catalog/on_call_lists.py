"""On-call lists in the catalog: of which alarms whom is told."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from appliance.core import logs
from appliance.core.errors import Conflict, LimitExceeded, NotFound, UsageError
from appliance.core.limits_notifications import ON_CALL_LIST_COUNT_MAX
from appliance.management.on_call import OnCallDefinition, OnCallList, of_json, to_json
from storage.catalog.database import CatalogDatabase

_log = logs.get(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class OnCallRow:
    """A list with what the catalog adds to it. Times are UTC ms."""

    list_id: str
    name: str
    definition: OnCallDefinition
    is_enabled: bool
    created_at_ms: int
    updated_at_ms: int
    version: int


class OnCallListTable(CatalogDatabase):
    """Methods of the catalog about on-call lists."""

    def list_on_call(self) -> list[OnCallRow]:
        """All of them by name."""
        return [_list(row) for row in self.rows("SELECT * FROM on_call_lists ORDER BY name")]

    def on_call_in_force(self) -> tuple[OnCallList, ...]:
        """Those that are switched on, in the order of their ids. One that a newer release wrote keeps no other from being read."""
        lists = []
        for row in self.rows("SELECT * FROM on_call_lists WHERE is_enabled = 1 ORDER BY list_id"):
            try:
                lists.append(OnCallList(row["list_id"], row["name"], of_json(row["definition"])))
            except UsageError as error:
                _log.error(
                    "an on-call list can't be read; nobody is told by it", list=row["name"], reason=str(error)
                )
        return tuple(lists)

    def get_on_call(self, list_id: str) -> OnCallRow:
        """The list.

        Raises:
            NotFound: `on_call_unknown`.
        """
        found = self.row("SELECT * FROM on_call_lists WHERE list_id = ?", (list_id,))
        if found is None:
            raise NotFound(
                f"There is no on-call list “{list_id[:100]}”.",
                hint="Look at the on-call lists.",
                code="on_call_unknown",
            )
        return _list(found)

    def add_on_call(
        self, list_id: str, *, name: str, definition: OnCallDefinition, is_enabled: bool = True
    ) -> OnCallRow:
        """Make a list, checked already (management/on_call.py).

        Raises:
            Conflict: `on_call_exists`. LimitExceeded: `on_call_count`. NotFound: `target_unknown`, `group_unknown`.
        """
        with self.transaction():
            found = self.row("SELECT count(*) FROM on_call_lists")
            if found is not None and found[0] >= ON_CALL_LIST_COUNT_MAX:
                raise LimitExceeded(
                    f"A site has at most {ON_CALL_LIST_COUNT_MAX} on-call lists.",
                    hint="Remove one.",
                    code="on_call_count",
                )
            self._check(list_id, name, definition)
            now_ms = self._clock.now_ms()
            self.execute(
                "INSERT INTO on_call_lists (list_id, name, definition, is_enabled, created_at_ms, updated_at_ms, origin, hlc) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    list_id,
                    name,
                    to_json(definition),
                    int(is_enabled),
                    now_ms,
                    now_ms,
                    self.origin,
                    self.hlc,
                ),
            )
            return self.get_on_call(list_id)

    def edit_on_call(
        self,
        list_id: str,
        *,
        name: str | None = None,
        definition: OnCallDefinition | None = None,
        is_enabled: bool | None = None,
    ) -> OnCallRow:
        """Change a list; None leaves something as it is.

        Raises:
            NotFound: `on_call_unknown`, `target_unknown`, `group_unknown`. Conflict: `on_call_exists`.
        """
        with self.transaction():
            known = self.get_on_call(list_id)
            name = known.name if name is None else name
            definition = known.definition if definition is None else definition
            self._check(list_id, name, definition)
            self.execute(
                "UPDATE on_call_lists SET name = ?, definition = ?, is_enabled = ?, updated_at_ms = ?, origin = ?, hlc = ? "
                "WHERE list_id = ?",
                (
                    name,
                    to_json(definition),
                    int(known.is_enabled if is_enabled is None else is_enabled),
                    self._clock.now_ms(),
                    self.origin,
                    self.hlc,
                    list_id,
                ),
            )
            if is_enabled and not known.is_enabled:
                # What came while it was off is not told when it is on again.
                self.execute("DELETE FROM digest_cursors WHERE list_id = ?", (list_id,))
            return self.get_on_call(list_id)

    def remove_on_call(self, list_id: str) -> None:
        """Remove a list; what was told by it stays in the log.

        Raises:
            NotFound: `on_call_unknown`.
        """
        with self.transaction():
            self.get_on_call(list_id)
            self.execute("DELETE FROM on_call_lists WHERE list_id = ?", (list_id,))
            self.execute("DELETE FROM digest_cursors WHERE list_id = ?", (list_id,))

    def _check(self, list_id: str, name: str, definition: OnCallDefinition) -> None:
        if self.row("SELECT 1 FROM on_call_lists WHERE name = ? AND list_id <> ?", (name, list_id)):
            raise Conflict(
                f"There is an on-call list “{name}” already.",
                hint="Choose another name.",
                code="on_call_exists",
            )
        targets = {target for member in definition.members for target in member.targets}
        known = {
            row[0]
            for row in self.rows(
                "SELECT target_id FROM notification_targets WHERE target_id IN (SELECT value FROM json_each(?))",
                (json.dumps(sorted(targets)),),
            )
        }
        for target in sorted(targets - known):
            raise NotFound(
                f"There is no notification target “{target[:100]}”.",
                hint="Make the target first; members name targets by their ids.",
                code="target_unknown",
            )
        groups = set(definition.scope.groups)
        there = {
            row[0]
            for row in self.rows(
                "SELECT group_id FROM groups WHERE group_id IN (SELECT value FROM json_each(?))",
                (json.dumps(sorted(groups)),),
            )
        }
        for group in sorted(groups - there):
            raise NotFound(
                f"There is no group “{group[:100]}”.", hint="Make the group first.", code="group_unknown"
            )


def _list(row: Any) -> OnCallRow:
    return OnCallRow(
        list_id=row["list_id"],
        name=row["name"],
        definition=of_json(row["definition"]),
        is_enabled=bool(row["is_enabled"]),
        created_at_ms=row["created_at_ms"],
        updated_at_ms=row["updated_at_ms"],
        version=row["hlc"],
    )
