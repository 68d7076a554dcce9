"""Executions as people look for them: of a rollout, of a device, those that need a hand; and devices that run something else than they should.

Every method takes a scope, None for the whole site: an execution of a device outside of it is not there.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from appliance.core.limits import PAGE_ITEM_COUNT_MAX
from appliance.management.execution import Execution
from appliance.management.executions import State
from appliance.management.permissions import Scope
from storage.catalog.database import CatalogDatabase, Value
from storage.catalog.device_firmware import KnownBad
from storage.catalog.executions import COLUMNS, ExecutionPage, execution_of, unknown_execution

_SELECT: Final = f"SELECT {', '.join(f'e.{name}' for name in COLUMNS)} FROM executions AS e"  # noqa: S608 - our own names
IN_NEED: Final = (
    "(e.needs_manual_intervention = 1 OR e.state IN ('manual', 'lost', 'regressed', 'rollback_failed'))"
)
"""NEEDS_A_HAND, in the very words of the index executions_in_need, or it would not be used."""
_IN_SCOPE: Final = (
    " AND EXISTS (SELECT 1 FROM devices AS d WHERE d.device_id = e.device_id AND EXISTS (SELECT 1 FROM json_each(d.groups)"
    " WHERE value IN (SELECT value FROM json_each(?))))"
)
_DRIFT: Final = (
    "WITH last AS (SELECT device_id, execution_id, iif(state = 'rolled_back', from_version, to_version) AS should_version, "
    "iif(state = 'rolled_back', from_digest, to_digest) AS should_digest, "
    "row_number() OVER (PARTITION BY device_id ORDER BY ended_at_ms DESC, execution_id DESC) AS place FROM executions "
    "WHERE ended_at_ms IS NOT NULL AND state IN ('succeeded', 'noop', 'rolled_back')) "
    "SELECT e.device_id, e.execution_id, e.should_version, e.should_digest, f.version, f.digest, f.reported_at_ms "
    "FROM last AS e JOIN device_firmware AS f ON f.device_id = e.device_id WHERE e.place = 1 "
    "AND iif(e.should_digest <> '' AND f.digest <> '', f.digest <> e.should_digest, "
    "e.should_version <> '' AND f.version <> '' AND f.version <> e.should_version) "
    "AND NOT EXISTS (SELECT 1 FROM executions AS now WHERE now.device_id = e.device_id AND now.ended_at_ms IS NULL){} "
    "ORDER BY e.device_id LIMIT ?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """A device whose report is not what its last update ended with. Digests are hexadecimal, "" where one is not known.

    Attributes:
        should_version, should_digest: What its last update ended with.
        version, digest: What it says that it runs, and when it said so.
    """

    device_id: str
    execution_id: str
    should_version: str
    should_digest: str
    version: str
    digest: str
    reported_at_ms: int


class ExecutionListTable(CatalogDatabase):
    """Methods of the catalog that find executions for people."""

    def list_executions(
        self,
        *,
        rollout_id: str = "",
        device_id: str = "",
        states: Collection[State] = (),
        scope: Scope = None,
        cursor: str | None = None,
        limit: int,
    ) -> ExecutionPage:
        """A page of executions, by their id.

        Args:
            rollout_id, device_id: Only this one's; "" for all.
            states: Only those in one of them; all with none.
            cursor: The last page's `next_cursor`.
        """
        where, values = "TRUE", list[str]()
        if rollout_id:
            where += " AND e.rollout_id = ?"
            values.append(rollout_id)
        if device_id:
            where += " AND e.device_id = ?"
            values.append(device_id)
        if states:
            where += " AND e.state IN (SELECT value FROM json_each(?))"
            values.append(json.dumps(sorted(states)))
        if cursor is not None:
            where += " AND e.execution_id > ?"
            values.append(cursor)
        return self._page(f"{where}{_scoped(scope, values)} ORDER BY e.execution_id", values, limit)

    def visible_execution(self, execution_id: str, *, scope: Scope = None) -> Execution:
        """One of them.

        Raises:
            NotFound: `execution_unknown`: also for one of a device outside of the scope, which is not named: ids can be guessed.
        """
        values = [execution_id]
        found = self.rows(f"{_SELECT} WHERE e.execution_id = ?{_scoped(scope, values)}", tuple(values))
        if not found:
            raise unknown_execution(execution_id)
        return execution_of(found[0])

    def executions_of_device(self, device_id: str, *, limit: int) -> tuple[Execution, ...]:
        """A device's executions, the newest first."""
        found = self.rows(
            f"{_SELECT} WHERE e.device_id = ? ORDER BY e.created_at_ms DESC, e.execution_id DESC LIMIT ?",
            (device_id, limit),
        )
        return tuple(map(execution_of, found))

    def executions_in_need(
        self, *, rollout_id: str = "", scope: Scope = None, cursor: str | None = None, limit: int
    ) -> ExecutionPage:
        """A page of the work queue, by id, which is by the age of their rollouts.

        Args:
            rollout_id: Only this one's; "" for all.
        """
        where, values = IN_NEED, list[str]()
        if rollout_id:
            where += " AND e.rollout_id = ?"
            values.append(rollout_id)
        if cursor is not None:
            where += " AND e.execution_id > ?"
            values.append(cursor)
        return self._page(f"{where}{_scoped(scope, values)} ORDER BY e.execution_id", values, limit)

    def count_in_need(self, *, scope: Scope = None) -> int:
        """How many executions are in the work queue."""
        values: list[str] = []
        where = f"{IN_NEED}{_scoped(scope, values)}"
        found = self.row(f"SELECT count(*) FROM executions AS e WHERE {where}", tuple(values))  # noqa: S608 - our own text
        assert found is not None
        return int(found[0])

    def drift(self, *, scope: Scope = None, limit: int) -> tuple[Drift, ...]:
        """Devices that report something else than their last update ended with, by their id; none that an update is under way for.

        Digests are compared where both are known, versions elsewhere.
        """
        values: list[str] = []
        where = _scoped(scope, values)
        found = self.rows(_DRIFT.format(where), (*values, limit))
        return tuple(Drift(**dict(row)) for row in found)

    def known_bad_of(self, device_id: str) -> tuple[KnownBad, ...]:
        """Images that are not offered to a device again, for its own sake or its hardware's; the newest first."""
        found = self.rows(
            "SELECT known_bad_id, device_id, hw, digest, execution_id, reason, created_at_ms FROM known_bad WHERE device_id = ?1 "
            "OR (hw <> '' AND hw = (SELECT f.hw FROM device_firmware AS f WHERE f.device_id = ?1)) "
            "ORDER BY created_at_ms DESC, known_bad_id LIMIT ?2",
            (device_id, PAGE_ITEM_COUNT_MAX),
        )
        return tuple(KnownBad(**dict(row)) for row in found)

    def _page(self, where: str, values: list[str], limit: int) -> ExecutionPage:
        parameters: tuple[Value, ...] = (*values, limit + 1)
        found = self.rows(f"{_SELECT} WHERE {where} LIMIT ?", parameters)
        executions = tuple(map(execution_of, found[:limit]))
        return ExecutionPage(
            executions=executions, next_cursor=executions[-1].execution_id if len(found) > limit else None
        )


def _scoped(scope: Scope, values: list[str]) -> str:
    """The condition of a scope, whose parameter is appended."""
    if scope is None:
        return ""
    values.append(json.dumps(sorted(scope)))
    return _IN_SCOPE
