"""What a site answered, as the cloud node's pages show it. All of it is another machine's word: texts are cut and nothing in them hidden."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

from appliance.core.limits import CHART_METRIC_COUNT_MAX
from appliance.management.replication_state import SiteNodeState
from appliance.management.units import unit_of
from ui.api import alarm_structs, structs
from ui.pages.alarm_words import ALARM, SEVERITY
from ui.pages.charts import RANGES, Range, history_of
from ui.pages.device_chart import (
    DRAWN_COUNT_DEFAULT,
    PICKER_COUNT_MAX,
    ChartView,
    MetricChoice,
    RangeLink,
    range_of,
)
from ui.pages.device_facts import clock_text, cut, is_drawable
from ui.pages.format import count_text, plural, value_text
from ui.pages.looks import UNKNOWN, Look
from ui.pages.views import DeviceView, NewestView, dom_id
from ui.services import SeriesData

NEWEST_COUNT_MAX: Final = 200
PAGE: Final = "/sites/site"


def site_url(site_id: str, **more: str) -> str:
    """The page of a site."""
    return f"{PAGE}?{urlencode({'site': site_id, **{key: value for key, value in more.items() if value}})}"


def site_device_url(site_id: str, device_id: str) -> str:
    """The page of a device of a site."""
    return f"{PAGE}/device?{urlencode({'site': site_id, 'device': device_id})}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteDeviceView:
    """A device of a site as a row."""

    device: DeviceView
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteAlarmView:
    """An alarm of a site; `device_url` is "" for one of no device."""

    dom_id: str
    severity: Look
    state: Look
    edge: str
    is_open: bool
    rule: str
    where: str
    device_url: str
    text: str
    since_ms: int


def told_text(node: SiteNodeState) -> str:
    """What a box said of its site in its last report, in a sentence; "" where it may not be read, or never said."""
    if node.devices is None or node.online is None or node.alarms is None:
        return ""
    alarms = ", ".join(
        f"{count_text(count)} {priority}"
        for priority, count in zip(("P1", "P2", "P3"), node.alarms, strict=True)
        if count
    )
    return f"{plural(node.devices, 'device')}, {count_text(node.online)} online; " + (
        f"active alarms: {alarms}" if alarms else "no active alarm"
    )


def device_rows(site_id: str, devices: Sequence[structs.Device]) -> tuple[SiteDeviceView, ...]:
    return tuple(
        SiteDeviceView(device=device_view(each), url=site_device_url(site_id, each.device_id))
        for each in devices
    )


def device_view(device: structs.Device) -> DeviceView:
    """A device as it was answered."""
    return DeviceView(
        device_id=cut(device.device_id)[0],
        name=cut(device.name)[0],
        registry_state=device.state,
        presence=device.presence,
        since_ms=device.presence_since_ms,
        reason=cut((device.presence_reason or "").replace("_", " "))[0],
        last_seen_at_ms=device.last_seen_at_ms,
        last_reading_at_ms=device.last_reading_at_ms,
        freshness=device.freshness,
        stale_after_ms=device.stale_after_ms,
        watermark_at_ms=device.watermark_at_ms,
        clock=device.clock,
        clock_text=clock_text(device.clock_offset_ms),
        address=cut(device.address or "")[0],
        tags=tuple(cut(each)[0] for each in device.tags[:50]),
        groups=tuple(cut(each)[0] for each in device.groups[:50]),
    )


def newest_views(found: structs.NewestValues, stale_after_ms: int) -> tuple[NewestView, ...]:
    """A device's newest values; the first ones of very many."""
    return tuple(_newest(found.device_id, each, stale_after_ms) for each in found.values[:NEWEST_COUNT_MAX])


def _newest(device_id: str, newest: structs.Newest, stale_after_ms: int) -> NewestView:
    value = newest.value
    text, is_cut = cut(value) if isinstance(value, str) else (value_text(value), False)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return NewestView(
        device_id=device_id,
        metric=newest.metric,
        label=cut(newest.metric)[0],
        text=text,
        unit=unit_of(newest.metric) if is_number else "",
        observed_at_ms=newest.observed_at_ms,
        received_at_ms=newest.received_at_ms,
        counts_at_ms=None if newest.kept_copy else newest.received_at_ms,
        freshness=newest.freshness,
        stale_after_ms=stale_after_ms,
        quality_word=newest.quality,
        is_kept_copy=newest.kept_copy,
        is_cut=is_cut,
    )


def alarm_rows(site_id: str, alarms: Sequence[alarm_structs.Alarm]) -> tuple[SiteAlarmView, ...]:
    return tuple(_alarm(site_id, each) for each in alarms)


def _alarm(site_id: str, alarm: alarm_structs.Alarm) -> SiteAlarmView:
    about = alarm.device_id or (f"group {alarm.group_id}" if alarm.group_id else "the site itself")
    return SiteAlarmView(
        dom_id=dom_id("a", alarm.alarm_id),
        severity=SEVERITY.get(alarm.severity, UNKNOWN),
        state=ALARM.get(alarm.state, UNKNOWN),
        edge=alarm.severity.lower(),
        is_open=alarm.state.endswith("unacknowledged") and not alarm.is_set_aside,
        rule=cut(alarm.rule_name)[0],
        where=cut(f"{about} {alarm.series}".strip())[0],
        device_url=site_device_url(site_id, alarm.device_id) if alarm.device_id else "",
        text=cut(alarm.text)[0],
        since_ms=alarm.episode_began_at_ms,
    )


def chart_view(site_id: str, device_id: str, newest: structs.NewestValues, query: QueryParams) -> ChartView:
    """What the page of a device draws: from the URL; the first few metrics when it names none."""
    values = {each.metric: each.value for each in newest.values}
    names = sorted(
        (name for name, value in values.items() if is_drawable(value)),
        key=lambda name: (isinstance(values[name], bool), not unit_of(name), name),
    )
    chosen = range_of(query)
    wanted = [name for name in names if name in query.getlist("metric")][:CHART_METRIC_COUNT_MAX]
    drawn = wanted or names[:DRAWN_COUNT_DEFAULT]
    about = [("site", site_id), ("device", device_id)]
    choices = tuple(
        MetricChoice(
            name=name,
            label=cut(name)[0],
            unit=unit_of(name),
            drawn=name in drawn,
            src=f"{PAGE}/chart?{urlencode([*about, ('metric', name), ('range', chosen.key)])}",
            more="",
        )
        for name in names
    )
    return ChartView(
        range=chosen,
        ranges=tuple(
            RangeLink(
                label=each.label,
                url=f"{PAGE}/device?{urlencode([*about, ('range', each.key), *(('metric', name) for name in wanted)])}",
                current=each == chosen,
            )
            for each in RANGES.values()
        ),
        metrics=choices[:PICKER_COUNT_MAX],
        drawn=tuple(each for each in choices if each.drawn),
    )


def chart_question(metric: str, chosen: Range, now_ms: int) -> str:
    """The query for a chart's history."""
    from_ms = (now_ms - chosen.span_ms) // chosen.interval_ms * chosen.interval_ms
    return urlencode(
        {
            "metric": metric,
            "from": str(from_ms),
            "to": str(now_ms + 1),
            "aggregation": "band",
            "interval_ms": str(chosen.interval_ms),
        }
    )


def chart_history(found: structs.Telemetry, metric: str, chosen: Range) -> dict[str, Any]:
    """A chart's line, as js/chart.js takes it; columns of different lengths are no series."""
    series = [
        ("", cast(SeriesData, each)) for each in found.series if each.metric == metric and _is_even(each)
    ]
    return history_of(series, interval_ms=chosen.interval_ms, range_ms=chosen.span_ms, end_ms=None)


def _is_even(series: structs.Series) -> bool:
    columns = [each for each in (series.value, series.min, series.max) if each is not None]
    return all(len(each) == len(series.at_ms) for each in columns)
