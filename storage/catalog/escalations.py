"""How far people are told of each alarm, and up to when digests were made. What becomes of it is appliance/management/escalation.py's."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from typing import Any

from appliance.management.escalation import Escalation
from storage.catalog.database import CatalogDatabase


class EscalationTable(CatalogDatabase):
    """Methods of the catalog about escalations."""

    def escalations_of(self, alarm_ids: Collection[str]) -> dict[str, Escalation]:
        """Those that are there, by the alarm's id."""
        found = self.rows(
            "SELECT * FROM alarm_escalations WHERE alarm_id IN (SELECT value FROM json_each(?))",
            (json.dumps(list(alarm_ids)),),
        )
        return {row["alarm_id"]: _escalation(row) for row in found}

    def escalations_due(self, now_ms: int, *, limit: int) -> list[Escalation]:
        """Those to look at by now, those that have waited longest first."""
        found = self.rows(
            "SELECT * FROM alarm_escalations WHERE next_at_ms <= ? ORDER BY next_at_ms LIMIT ?",
            (now_ms, limit),
        )
        return [_escalation(row) for row in found]

    def next_escalation_at_ms(self) -> int | None:
        """When the first of them is to be looked at, UTC ms."""
        found = self.row("SELECT min(next_at_ms) FROM alarm_escalations WHERE next_at_ms IS NOT NULL")
        return None if found is None or found[0] is None else int(found[0])

    def escalations_begun(self, from_ms: int, until_ms: int) -> list[Escalation]:
        """Those whose round began in (from, until] and that somebody should still hear of, in order of that time."""
        found = self.rows(
            "SELECT * FROM alarm_escalations WHERE began_at_ms > ? AND began_at_ms <= ? AND is_acknowledged = 0 AND is_quiet = 0 ORDER BY began_at_ms, alarm_id",
            (from_ms, until_ms),
        )
        return [_escalation(row) for row in found]

    def save_escalations(self, found: Iterable[tuple[Escalation, int | None]]) -> None:
        """Keep them, with when to look next."""
        for each, next_at_ms in found:
            self.execute(
                "INSERT INTO alarm_escalations (alarm_id, episode, round, severity, began_at_ms, looked_at_ms, cleared_at_ms, "
                "is_acknowledged, is_quiet, is_over, next_at_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (alarm_id) DO UPDATE SET episode = excluded.episode, round = excluded.round, "
                "severity = excluded.severity, began_at_ms = excluded.began_at_ms, looked_at_ms = excluded.looked_at_ms, "
                "cleared_at_ms = excluded.cleared_at_ms, is_acknowledged = excluded.is_acknowledged, "
                "is_quiet = excluded.is_quiet, is_over = excluded.is_over, next_at_ms = excluded.next_at_ms",
                (
                    each.alarm_id,
                    each.episode,
                    each.round,
                    each.severity,
                    each.began_at_ms,
                    each.looked_at_ms,
                    each.cleared_at_ms,
                    int(each.is_acknowledged),
                    int(each.is_quiet),
                    int(each.is_over),
                    next_at_ms,
                ),
            )

    def look_at_all_escalations(self, now_ms: int) -> int:
        """Have all that aren't over looked at now: lists, targets or the site's time have changed. Returns how many."""
        return self.execute(
            "UPDATE alarm_escalations SET next_at_ms = ? WHERE is_over = 0 AND (next_at_ms IS NULL OR next_at_ms > ?)",
            (now_ms, now_ms),
        )

    def remove_escalations_without_alarm(self) -> int:
        """Forget those whose alarm was removed; returns how many."""
        return self.execute(
            "DELETE FROM alarm_escalations WHERE alarm_id NOT IN (SELECT alarm_id FROM alarms)"
        )

    def digest_cursors(self) -> dict[str, int]:
        """By list: up to when its digests were made, UTC ms."""
        return {row[0]: row[1] for row in self.rows("SELECT list_id, looked_at_ms FROM digest_cursors")}

    def set_digest_cursor(self, list_id: str, looked_at_ms: int) -> None:
        """Note how far a list's digests are made."""
        self.execute(
            "INSERT INTO digest_cursors (list_id, looked_at_ms) VALUES (?, ?) "
            "ON CONFLICT (list_id) DO UPDATE SET looked_at_ms = excluded.looked_at_ms",
            (list_id, looked_at_ms),
        )


def _escalation(row: Any) -> Escalation:
    return Escalation(
        alarm_id=row["alarm_id"],
        episode=row["episode"],
        round=row["round"],
        severity=row["severity"],
        began_at_ms=row["began_at_ms"],
        looked_at_ms=row["looked_at_ms"],
        cleared_at_ms=row["cleared_at_ms"],
        is_acknowledged=bool(row["is_acknowledged"]),
        is_quiet=bool(row["is_quiet"]),
        is_over=bool(row["is_over"]),
    )
