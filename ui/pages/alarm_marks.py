"""When alarms were active, for marks on charts: spans out of an alarm and its history. Pure but for the two questions at the end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from appliance.management.alarm import Alarm
from appliance.management.alarms import AlarmEvent
from appliance.management.permissions import Scope
from storage.catalog import Catalog
from storage.catalog.alarms import AlarmEventRow
from ui.pages.addresses import alarm_url
from ui.pages.format import duration_text, instant_text, visible

ALARM_COUNT_MAX: Final = 50
"""Alarms that one chart marks, the newest ones."""
EVENT_COUNT_MAX: Final = 400
_ENDS: Final = (AlarmEvent.CLEAR.value, AlarmEvent.WITHDRAW.value)


@dataclass(frozen=True, slots=True)
class Span:
    """From when to when it was active, by the readings, UTC ms; `to_ms` is None while it is."""

    from_ms: int
    to_ms: int | None


def spans_of(alarm: Alarm, events: Iterable[AlarmEventRow], from_ms: int, to_ms: int) -> tuple[Span, ...]:
    """When an alarm was active between two instants, in order.

    Args:
        events: Its own within that time, in any order.
    """
    spans: list[Span] = []
    since_ms: int | None = None
    seen = False
    for event in sorted(events, key=lambda each: (each.at_ms, each.number)):
        if event.event == AlarmEvent.RAISE.value:
            seen, since_ms = True, event.at_ms if since_ms is None else since_ms
        elif event.event in _ENDS:
            # The first of them: it had begun before.
            begun_ms = from_ms if since_ms is None and not seen else since_ms
            if begun_ms is not None:
                spans.append(Span(begun_ms, event.at_ms))
            seen, since_ms = True, None
    if since_ms is not None:
        spans.append(Span(since_ms, None if alarm.is_active else alarm.cleared_at_ms))
    elif (
        not seen and alarm.raised_at_ms < to_ms and (alarm.is_active or (alarm.cleared_at_ms or 0) > from_ms)
    ):
        spans.append(Span(alarm.raised_at_ms, None if alarm.is_active else alarm.cleared_at_ms))
    return tuple(spans)


def mark_of(
    severity: str, name: str, span: Span, now_ms: int, *, url: str, device_id: str = ""
) -> dict[str, Any]:
    """What js/marks.js calls Mark: the span, and the same in words."""
    lasted = duration_text(max((span.to_ms or now_ms) - span.from_ms, 0))
    begin = instant_text(span.from_ms)[:16]
    when = f"since {begin} UTC, {lasted} so far" if span.to_ms is None else f"{begin} UTC, for {lasted}"
    where = f", {visible(device_id)}" if device_id else ""
    return {
        "from_ms": span.from_ms,
        "to_ms": span.to_ms,
        "severity": severity,
        "text": f"{severity} {visible(name)}{where}: {when}",
        "url": url,
    }


def read_marks(
    catalog: Catalog,
    device_ids: Sequence[str],
    metric: str,
    from_ms: int,
    to_ms: int,
    *,
    now_ms: int,
    scope: Scope,
) -> list[dict[str, Any]]:
    """Marks of a chart: alarms of these devices about this metric or about the device as such, in the order of their time."""
    marks = []
    for device_id in device_ids:
        alarms = [
            each
            for each in catalog.list_alarms(
                device_id=device_id, scope=scope, order="newest", limit=ALARM_COUNT_MAX
            ).alarms
            if each.series in (metric, "")
        ]
        if not alarms:
            continue
        history = catalog.alarm_history(
            device_id=device_id, from_ms=from_ms, to_ms=to_ms, scope=scope, limit=EVENT_COUNT_MAX
        )
        for alarm in alarms:
            own = [each for each in history if each.alarm_id == alarm.alarm_id]
            marks += [
                mark_of(
                    alarm.severity,
                    alarm.rule_name,
                    span,
                    now_ms,
                    url=alarm_url(alarm.alarm_id),
                    device_id=device_id if len(device_ids) > 1 else "",
                )
                for span in spans_of(alarm, own, from_ms, to_ms)
            ]
    return sorted(marks, key=lambda mark: int(mark["from_ms"]))
