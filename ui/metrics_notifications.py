"""Notifications as metrics: how they stand, how long the oldest waits, what was tried and given up."""

from __future__ import annotations

from appliance.core.errors import HomeportError
from appliance.management.notification_targets import KINDS
from appliance.notifications.desk import NotificationStatistics
from ui.metrics_table import Collected
from ui.services import Services


async def read_notification_statistics(services: Services) -> NotificationStatistics | None:
    """The numbers, or None where the catalog does not answer: its own metrics say so."""
    try:
        return await services.notifications.statistics()
    except HomeportError:
        return None


def add_notifications(out: Collected, found: NotificationStatistics | None, now_ms: int) -> None:
    """Nothing where the catalog does not answer."""
    if found is None:
        return
    counts = found.counts
    for state in ("waiting", "sending"):
        out.add("homeport_notifications_open", counts.by_state.get(state, 0), state)
    oldest_at_ms = counts.oldest_waiting_due_at_ms
    age_ms = 0 if oldest_at_ms is None else max(0, now_ms - oldest_at_ms)
    out.add("homeport_notification_oldest_seconds", age_ms / 1000)
    out.add("homeport_notifications_given_up_recently", counts.given_up_recently)
    # Zeros too: a counter that appears with its first failure has no increase that an alert could see.
    for kind in KINDS:
        for outcome in ("sent", "failed"):
            out.add(
                "homeport_notification_attempts",
                found.sender.attempts.get((kind, outcome), 0),
                kind,
                outcome,
            )
        out.add("homeport_notifications_given_up", found.sender.given_up.get(kind, 0), kind)
    out.add("homeport_notification_targets_pausing", found.sender.pausing)
    out.add("homeport_notifications_made", found.scheduler.made)
    out.add("homeport_notification_look_failures", found.scheduler.failures)
