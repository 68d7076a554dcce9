"""Alarms as metrics: how many there are and since when, and what the desk that moves them does."""

from __future__ import annotations

from appliance.core.errors import Unavailable
from appliance.management.alarms import AlarmState
from appliance.management.rule import SEVERITIES
from storage.catalog.alarm_lists import ASIDES, OPEN_STATES, AlarmCounts
from ui.metrics_table import Collected
from ui.services import Services

WORDS = (*(AlarmState(state).value for state in OPEN_STATES), *ASIDES)


async def read_alarm_counts(services: Services) -> AlarmCounts | None:
    """What the catalog says; None where it does not answer: its own metrics say why, and the other numbers still count."""
    try:
        return await services.alarms.counts()
    except Unavailable:
        return None


def add_alarms(out: Collected, services: Services, counts: AlarmCounts | None) -> None:
    """Every severity and state has a number, so that a panel shows 0 and not a gap."""
    statistics = services.alarms.statistics()
    out.add("homeport_alarm_moves", statistics.moves)
    for outcome, count in (
        ("applied", statistics.applied),
        ("known", statistics.known),
        ("unchanged", statistics.unchanged),
        ("without_rule", statistics.without_rule),
    ):
        out.add("homeport_alarm_transitions", count, outcome)
    out.add("homeport_alarms_refused", statistics.refused_full)
    out.add("homeport_alarms_removed", statistics.removed)
    out.add("homeport_alarm_failures", statistics.failures)
    if counts is None:
        return
    now_ms = services.clock.now_ms()
    for severity in SEVERITIES:
        of_severity = counts.by_severity.get(severity, {})
        for word in WORDS:
            out.add("homeport_alarms", of_severity.get(word, 0), severity, word)
        since_ms = counts.oldest_unacknowledged_ms.get(severity)
        if since_ms is not None:
            age_s = max(0, now_ms - since_ms) / 1_000
            out.add("homeport_alarms_oldest_unacknowledged_seconds", age_s, severity)
