"""Notifications as pages show them: what was to be told, to whom, and what came of it in words."""

from __future__ import annotations

from typing import Any

import msgspec

from appliance.management.permissions import Scope
from storage.catalog import Catalog
from storage.catalog.notifications import Notification
from ui.pages.addresses import alarm_url
from ui.pages.alarm_views import NotificationView

_STEPS = {
    "raised": "it began",
    "cleared": "it is over",
    "repeated": "nobody has acknowledged it yet",
    "escalated": "nobody has acknowledged it yet",
    "digest": "digest",
    "test": "a try",
}


def step_words(step: str) -> str:
    """Why somebody is told: "it began", "a try"."""
    word = step.partition("/")[0].partition(".")[0]
    return _STEPS.get(word, step)


def says_of(found: Notification) -> str:
    """What came of it, in words."""
    match found.state:
        case "sent":
            return found.outcome or "It was taken."
        case "given_up":
            return f"Nobody got it. {found.error}".strip()
        case "withdrawn":
            return found.outcome or "It was over before anybody had to be told."
        case _ if found.error:
            return f"Tried again later. {found.error}"
        case _:
            return ""


def view_of(found: Notification) -> NotificationView:
    """A notification as a row."""
    body: dict[str, Any] = msgspec.json.decode(found.body)
    alarm = body.get("alarm")
    name = str(alarm.get("rule") or "") if isinstance(alarm, dict) else ""
    words = step_words(found.step)
    return NotificationView(
        notification_id=found.notification_id,
        target=found.target_name,
        step=words,
        state=found.state,
        attempts=found.attempts,
        created_at_ms=found.created_at_ms,
        sent_at_ms=found.sent_at_ms,
        next_at_ms=found.next_at_ms,
        says=says_of(found),
        alarm_url=alarm_url(found.alarm_id) if found.alarm_id else "",
        about=f"{name}: {words}" if name else words.capitalize(),
    )


def of_alarm(
    catalog: Catalog, alarm_id: str, scope: Scope, *, limit: int
) -> tuple[NotificationView, ...] | None:
    """Who was told of an alarm; None for whoever sees only a part of the site."""
    if scope is not None:
        return None
    page = catalog.list_notifications(limit=limit, alarm_id=alarm_id)
    return tuple(map(view_of, page.notifications))
