"""What alarms are judged by: rules in force, where devices belong, which alarms may explain others, and which are to be looked at again.

Plain rows; appliance/alarms decides.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from appliance.management.alarm import WAITING, Alarm
from appliance.management.rule import Severity
from storage.catalog.alarms import SELECT, alarm_of
from storage.catalog.database import CatalogDatabase
from storage.catalog.rows import DeviceState

_RULES: Final = "SELECT rule_id, name, version, definition, is_enabled, updated_at_ms FROM rules"
_URGENT: Final = "severity IN ('P1', 'P2')"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleInForce:
    """A rule as it is now; `definition` is JSON (management/rule.py)."""

    rule_id: str
    name: str
    version: int
    definition: str
    is_enabled: bool
    updated_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Belonging:
    """Where a device belongs."""

    state: DeviceState
    groups: frozenset[str]
    tags: frozenset[str]


class AlarmSurroundingsTable(CatalogDatabase):
    """Methods of the catalog that the alarm desk asks."""

    def rules_of_alarms(self) -> tuple[RuleInForce, ...]:
        """All rules, enabled or not."""
        return tuple(map(_rule, self.rows(_RULES)))

    def rule_of_alarm(self, rule_id: str) -> RuleInForce | None:
        """One of them, None where it was removed."""
        found = self.row(f"{_RULES} WHERE rule_id = ?", (rule_id,))
        return _rule(found) if found is not None else None

    def belongings(self, device_ids: Collection[str]) -> dict[str, Belonging]:
        """Where those devices belong that the catalog knows, by their id."""
        found = self.rows(
            "SELECT device_id, state, groups, tags FROM devices WHERE device_id IN (SELECT value FROM json_each(?))",
            (json.dumps(list(device_ids)),),
        )
        return {
            row["device_id"]: Belonging(
                state=row["state"],
                groups=frozenset(json.loads(row["groups"])),
                tags=frozenset(json.loads(row["tags"])),
            )
            for row in found
        }

    def erased_since(self, device_ids: Collection[str]) -> dict[str, int]:
        """When the readings of those devices were last to be erased, UTC ms, where they ever were."""
        found = self.rows(
            "SELECT device_id, max(requested_at_ms) FROM erasures WHERE device_id IN (SELECT value FROM json_each(?)) "
            "GROUP BY device_id",
            (json.dumps(list(device_ids)),),
        )
        return {row[0]: int(row[1]) for row in found}

    def active_alarms_of_rules(self, rule_ids: Collection[str]) -> tuple[Alarm, ...]:
        """Active alarms of any of these rules."""
        found = self.rows(
            f"{SELECT} WHERE rule_id IN (SELECT value FROM json_each(?)) "  # noqa: S608
            "AND state IN ('active_unacknowledged', 'active_acknowledged')",
            (json.dumps(sorted(rule_ids)),),
        )
        return tuple(map(alarm_of, found))

    def open_alarms(self, *, after: str, limit: int) -> tuple[Alarm, ...]:
        """Alarms that aren't normal, by their id, after that one."""
        found = self.rows(
            f"{SELECT} WHERE alarm_id IN (SELECT alarm_id FROM alarms INDEXED BY alarms_by_place WHERE place < 4) "  # noqa: S608
            "AND alarm_id > ? ORDER BY alarm_id LIMIT ?",
            (after, limit),
        )
        return tuple(map(alarm_of, found))

    def alarms_shelved_until(self, now_ms: int, *, limit: int) -> tuple[Alarm, ...]:
        """Those whose shelving is over by then."""
        found = self.rows(
            f"{SELECT} WHERE shelved_until_ms <= ? ORDER BY shelved_until_ms LIMIT ?", (now_ms, limit)
        )
        return tuple(map(alarm_of, found))

    def alarms_waiting_until(self, now_ms: int, *, limit: int) -> tuple[Alarm, ...]:
        """Those that have waited long enough for an explanation."""
        found = self.rows(
            f"{SELECT} WHERE suppressed_by = ? AND suppressed_by <> '' AND suppressed_until_ms <= ? "
            "ORDER BY suppressed_until_ms LIMIT ?",
            (WAITING, now_ms, limit),
        )
        return tuple(map(alarm_of, found))

    def alarm_suppressors(self) -> frozenset[str]:
        """What alarms are suppressed by, but WAITING."""
        found = self.rows("SELECT DISTINCT suppressed_by FROM alarms WHERE suppressed_by <> ''")
        return frozenset(row[0] for row in found) - {WAITING}

    def alarms_suppressed_by(self, by: Collection[str], *, limit: int) -> tuple[Alarm, ...]:
        """Those that any of these suppress."""
        found = self.rows(
            f"{SELECT} WHERE suppressed_by IN (SELECT value FROM json_each(?)) AND suppressed_by <> '' LIMIT ?",  # noqa: S608
            (json.dumps(sorted(by)), limit),
        )
        return tuple(map(alarm_of, found))

    def count_alarms_suppressed_by(self, by: str) -> int:
        """How many a maintenance, or an alarm, suppresses now."""
        found = self.row("SELECT count(*) FROM alarms WHERE suppressed_by = ? AND suppressed_by <> ''", (by,))
        assert found is not None
        return int(found[0])

    def newest_urgent_alarms(self) -> dict[str, int]:
        """Device id → when the last episode of its alarms of priority 1 or 2 began that people were told of, by the readings, UTC ms."""
        found = self.rows(
            f"SELECT device_id, max(episode_began_at_ms) FROM alarms WHERE device_id <> '' AND {_URGENT} "  # noqa: S608
            "AND stands_since_ms IS NOT NULL GROUP BY device_id"
        )
        return {row[0]: int(row[1]) for row in found}


def _rule(row: Any) -> RuleInForce:
    return RuleInForce(**{**dict(row), "is_enabled": bool(row["is_enabled"])})


def is_urgent(severity: Severity) -> bool:
    """Whether it counts against an update of firmware: of priority 1 or 2."""
    return severity in ("P1", "P2")
