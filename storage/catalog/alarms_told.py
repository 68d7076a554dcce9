"""Alarms as people are told of them: each with its device's name, groups and tags, and what its rule says is to be done."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from appliance.management.alarms import ACTIVE, UNACKNOWLEDGED, AlarmState
from appliance.management.escalation import AlarmNow
from appliance.management.notification_body import AlarmWords
from storage.catalog.database import CatalogDatabase

_SELECT: Final = (
    "SELECT a.*, d.name AS device_name, d.groups AS device_groups, d.tags AS device_tags, "
    "r.definition ->> '$.text' AS what_to_do, r.definition ->> '$.runbook' AS runbook FROM alarms AS a "
    "LEFT JOIN devices AS d ON d.device_id = a.device_id LEFT JOIN rules AS r ON r.rule_id = a.rule_id "
    "WHERE a.alarm_id IN (SELECT value FROM json_each(?))"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldAlarm:
    """An alarm with all that is said of it.

    Attributes:
        groups, tags: Of its device.
        words: Without a link, which the catalog does not know.
    """

    now: AlarmNow
    groups: tuple[str, ...]
    tags: tuple[str, ...]
    words: AlarmWords
    trace_id: str


class AlarmsToldTable(CatalogDatabase):
    """Methods of the catalog about what people are told of alarms."""

    def told_alarms(self, alarm_ids: Collection[str]) -> dict[str, ToldAlarm]:
        """Those that are there, by their id."""
        found = self.rows(_SELECT, (json.dumps(list(alarm_ids)),))
        return {row["alarm_id"]: _told(row) for row in found}


def _told(row: Any) -> ToldAlarm:
    state = AlarmState(row["state"])
    text = json.loads(row["explanation"]).get("text")
    return ToldAlarm(
        now=AlarmNow(
            alarm_id=row["alarm_id"],
            episode=row["episode"],
            severity=row["severity"],
            is_active=state in ACTIVE,
            is_acknowledged=state not in UNACKNOWLEDGED,
            is_quiet=row["shelved_until_ms"] is not None or bool(row["suppressed_by"]),
        ),
        groups=tuple(json.loads(row["device_groups"] or "[]")),
        tags=tuple(json.loads(row["device_tags"] or "[]")),
        words=AlarmWords(
            alarm_id=row["alarm_id"],
            episode=row["episode"],
            severity=row["severity"],
            rule_id=row["rule_id"],
            rule=row["rule_name"],
            device_id=row["device_id"],
            device_name=row["device_name"] or "",
            group_id=row["group_id"],
            series=row["series"],
            state=state.value,
            value=row["value"],
            unit=row["unit"],
            # A half of a surrogate pair, which JSON may name, can't be sent.
            text=text.encode("utf-8", "replace").decode() if isinstance(text, str) else "",
            what_to_do=row["what_to_do"] or "",
            runbook=row["runbook"] or "",
            raised_at_ms=row["raised_at_ms"],
            cleared_at_ms=row["cleared_at_ms"],
            count=row["raised_count"],
            link="",
        ),
        trace_id=row["trace_id"],
    )
