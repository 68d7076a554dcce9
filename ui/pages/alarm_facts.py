"""Alarms as pages show them, read from the catalog; and the counts that stand in the navigation of every page.

Counts are read at most once per UPDATE_FACTS_CACHE_MS for each scope that somebody looks with; a page's own act forgets them and wakes the
others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from appliance.core.errors import Unavailable
from appliance.core.limits_update_pages import UPDATE_FACTS_CACHE_MS, UPDATE_FACTS_SCOPE_COUNT_MAX
from appliance.management.alarm import WAITING, Alarm
from appliance.management.alarms import ACTIVE, AlarmState
from appliance.management.permissions import Scope
from appliance.management.rule import SEVERITIES
from appliance.management.units import unit_of
from storage.catalog import Catalog
from storage.catalog.alarm_lists import AlarmCounts
from storage.catalog.alarms import AlarmEventRow
from ui.pages.addresses import alarm_url
from ui.pages.alarm_filter import Filter
from ui.pages.alarm_views import AlarmView, EventView, SectionView
from ui.pages.format import value_text
from ui.services import Services

ALARMS_KEY: Final = "alarms"
"""Of the hub: something about alarms has changed."""
ROW_COUNT: Final = 200
"""Alarms that a list shows; how many more there are stands below it."""
FOLDED_ROW_COUNT: Final = 100
NO_COUNTS: Final = AlarmCounts(by_severity={}, oldest_unacknowledged_ms={})
MAINTENANCE_URL: Final = "/alarms/maintenance"
_UNACKNOWLEDGED: Final = (AlarmState.ACTIVE_UNACKNOWLEDGED, AlarmState.CLEARED_UNACKNOWLEDGED)


class AlarmFacts:
    """What the navigation of every page asks."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._kept: dict[Scope, tuple[int, AlarmCounts]] = {}

    def changed(self) -> None:
        """Somebody did something: count anew, and wake the pages that are open."""
        self._kept.clear()
        self._services.hub.touch((ALARMS_KEY,))

    async def counts(self, scope: Scope) -> AlarmCounts:
        """The newest ones; the last ones while the catalog does not answer."""
        now_ms = self._services.clock.mono_ms()
        found = self._kept.get(scope)
        if found is not None and now_ms - found[0] < UPDATE_FACTS_CACHE_MS:
            return found[1]
        try:
            counts = await self._services.catalog.read(lambda catalog: catalog.alarm_counts(scope=scope))
        except Unavailable:
            return found[1] if found is not None else NO_COUNTS
        if len(self._kept) >= UPDATE_FACTS_SCOPE_COUNT_MAX:
            del self._kept[next(iter(self._kept))]
        self._kept[scope] = (now_ms, counts)
        return counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """What the page of alarms keeps up to date: those that are open, those that are folded away, and how many there are."""

    sections: tuple[SectionView, ...]
    folded: tuple[SectionView, ...]
    counts: AlarmCounts


def unacknowledged_by_severity(counts: AlarmCounts) -> dict[str, int]:
    """Severity → how many want somebody to look, the worst first; those without any are left out."""
    found = {
        each: sum(counts.by_severity.get(each, {}).get(state.value, 0) for state in _UNACKNOWLEDGED)
        for each in SEVERITIES
    }
    return {severity: count for severity, count in found.items() if count}


def count_words(by_severity: Mapping[str, int]) -> str:
    """Such as "2 P1, 1 P3"."""
    return ", ".join(f"{count} {severity}" for severity, count in by_severity.items())


def read_body(catalog: Catalog, chosen: Filter, scope: Scope) -> Body:
    """The lists of the page."""

    def section(key: str, title: str, limit: int, **what: Any) -> SectionView:
        asked = {**chosen.narrowed(scope), **what}
        page = catalog.list_alarms(limit=limit, **asked)
        total = len(page.alarms) if page.next_cursor is None else catalog.count_alarms(**asked)
        return SectionView(key=key, title=title, rows=views_of(catalog, page.alarms, scope), total=total)

    sections: tuple[SectionView, ...]
    if chosen.state:
        sections = (section("chosen", "", ROW_COUNT, **chosen.chosen(scope)),)
        folded: tuple[SectionView, ...] = ()
    else:
        sections = (
            section("active", "Active", ROW_COUNT, states=sorted(ACTIVE), is_set_aside=False),
            section(
                "over",
                "Over, not acknowledged",
                ROW_COUNT,
                states=(AlarmState.CLEARED_UNACKNOWLEDGED,),
                is_set_aside=False,
            ),
        )
        folded = (
            section("shelved", "Shelved", FOLDED_ROW_COUNT, aside="shelved"),
            section("suppressed", "Suppressed", FOLDED_ROW_COUNT, aside="suppressed"),
        )
    return Body(
        sections=tuple(each for each in sections if each.rows),
        folded=folded,
        counts=catalog.alarm_counts(scope=scope),
    )


def views_of(catalog: Catalog, alarms: Iterable[Alarm], scope: Scope) -> tuple[AlarmView, ...]:
    """Alarms with the names of their devices, and what they are suppressed by."""
    devices: dict[str, str] = {"": ""}
    reasons: dict[str, tuple[str, str]] = {"": ("", "")}
    found = []
    for alarm in alarms:
        if alarm.device_id not in devices:
            device = catalog.find_device(alarm.device_id)
            devices[alarm.device_id] = device.name if device is not None else ""
        if alarm.suppressed_by not in reasons:
            reasons[alarm.suppressed_by] = because(catalog, alarm.suppressed_by, scope)
        found.append(
            view_of(
                alarm, device_name=devices[alarm.device_id], suppressed_because=reasons[alarm.suppressed_by]
            )
        )
    return tuple(found)


def because(catalog: Catalog, suppressed_by: str, scope: Scope) -> tuple[str, str]:
    """What suppresses an alarm, in words, and where it is shown; no more than that there is something, for whoever may not see it."""
    if suppressed_by == WAITING:
        return "another alarm may explain it; nobody is told until that is known", ""
    explains = catalog.visible_alarms([suppressed_by], scope=None).get(suppressed_by)
    if explains is not None:
        is_seen = bool(catalog.visible_alarms([suppressed_by], scope=scope))
        return (
            f"explained by “{explains.rule_name}”",
            alarm_url(suppressed_by) if is_seen else "",
        )
    for each in catalog.list_maintenances(states=("running",)):
        if each.maintenance_id == suppressed_by:
            return f"in maintenance: {each.reason}", MAINTENANCE_URL
    return "in maintenance that is over", MAINTENANCE_URL


def view_of(
    alarm: Alarm, *, device_name: str = "", suppressed_because: tuple[str, str] = ("", "")
) -> AlarmView:
    """An alarm as a row."""
    return AlarmView(
        alarm_id=alarm.alarm_id,
        severity=alarm.severity,
        state=alarm.state.value,
        rule_id=alarm.rule_id,
        rule_name=alarm.rule_name,
        device_id=alarm.device_id,
        device_name=device_name,
        group_id=alarm.group_id,
        series=alarm.series,
        text=alarm.text,
        value=value_words(alarm.value, unit_words(alarm)),
        since_ms=alarm.episode_began_at_ms,
        raised_at_ms=alarm.raised_at_ms,
        cleared_at_ms=alarm.cleared_at_ms,
        raised_count=alarm.raised_count,
        acknowledged_by=alarm.acknowledged_by,
        acknowledged_at_ms=alarm.acknowledged_at_ms,
        acknowledge_note=alarm.acknowledge_note,
        shelved_by=alarm.shelved_by,
        shelved_until_ms=alarm.shelved_until_ms,
        shelve_reason=alarm.shelve_reason,
        because=suppressed_because[0],
        because_url=suppressed_because[1],
    )


def unit_words(alarm: Alarm) -> str:
    """The unit of its value: as whoever found it said, else as the metric's name says."""
    return alarm.unit or unit_of(alarm.series)


def event_view(row: AlarmEventRow, unit: str, alarm: AlarmView | None = None) -> EventView:
    """A move as a row of a history."""
    return EventView(
        at_ms=row.at_ms,
        event=row.event,
        to=row.to_state,
        actor=row.actor,
        note=row.note,
        value=value_words(row.value, unit),
        alarm=alarm,
    )


def value_words(value: float | None, unit: str) -> str:
    """A value with its unit; "" for none."""
    return "" if value is None else f"{value_text(value)} {unit}".strip()
