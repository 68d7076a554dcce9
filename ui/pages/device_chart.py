"""Which charts a device's page draws, and the history behind each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

from appliance.core.errors import UsageError
from appliance.core.limits import CHART_METRIC_COUNT_MAX, CHART_POINT_COUNT, METRIC_NAME_BYTES_MAX
from appliance.management.units import unit_of
from ui.pages.charts import RANGE_DEFAULT, RANGES, Range, history_of
from ui.pages.format import visible
from ui.pages.views import device_url
from ui.services import TelemetryReader

DRAWN_COUNT_DEFAULT: Final = 3
PICKER_COUNT_MAX: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricChoice:
    """A metric of the device; `more` is the address of the page of readings with it."""

    name: str
    label: str
    unit: str
    drawn: bool
    src: str
    more: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeLink:
    label: str
    url: str
    current: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartView:
    """What the page draws: `metrics` to choose from, `drawn` of them, over `range`."""

    range: Range
    ranges: tuple[RangeLink, ...]
    metrics: tuple[MetricChoice, ...]
    drawn: tuple[MetricChoice, ...]


def range_of(query: QueryParams, known_ms: int | None = None) -> Range:
    """The range that the URL names, the last 24 h for any other.

    Args:
        known_ms: For how long the box has known the device: one that is new is not shown as a dot at the edge of an
            empty day, but over the shortest range that holds all there can be.
    """
    named = RANGES.get(query.get("range", ""))
    if named is not None:
        return named
    fitting = (r for r in RANGES.values() if known_ms is not None and known_ms <= r.span_ms)
    found = next(fitting, RANGES[RANGE_DEFAULT])
    return min(found, RANGES[RANGE_DEFAULT], key=lambda r: r.span_ms)


def choose(
    device_id: str, metrics: Sequence[str], query: QueryParams, *, known_ms: int | None = None
) -> ChartView:
    """From the URL; the first few metrics when it names none.

    Args:
        device_id: Whose page it is.
        metrics: Those that can be drawn, by name.
        known_ms: As in `range_of`.
    """
    page = device_url(device_id)
    chosen_range = range_of(query, known_ms)
    wanted = [name for name in metrics if name in query.getlist("metric")][:CHART_METRIC_COUNT_MAX]
    drawn = wanted or list(metrics[:DRAWN_COUNT_DEFAULT])
    choices = tuple(
        MetricChoice(
            name=name,
            label=visible(name),
            unit=unit_of(name),
            drawn=name in drawn,
            src=f"{page}/chart?" + urlencode({"metric": name, "range": chosen_range.key}),
            more="/telemetry?"
            + urlencode({"device": device_id, "metric": name, "from": f"-{chosen_range.key}"}),
        )
        for name in metrics
    )
    links = tuple(
        RangeLink(
            label=r.label,
            url=f"{page}?" + urlencode([("range", r.key), *(("metric", name) for name in wanted)]),
            current=r == chosen_range,
        )
        for r in RANGES.values()
    )
    return ChartView(
        range=chosen_range,
        ranges=links,
        metrics=choices[:PICKER_COUNT_MAX],
        drawn=tuple(choice for choice in choices if choice.drawn),
    )


async def history(
    telemetry: TelemetryReader, device_id: str, metric: str, chosen: Range, *, now_ms: int
) -> dict[str, Any]:
    """One metric in buckets, with gaps marked: what js/chart.js calls History.

    Raises:
        UsageError: the metric's name is empty or too long. Unavailable: the store is away or slow.
    """
    if not metric or len(metric) > METRIC_NAME_BYTES_MAX:
        raise UsageError(
            "A chart needs a metric's name.", hint="Choose one on the device's page.", code="query_invalid"
        )
    interval_ms = chosen.interval_ms
    from_ms = (now_ms - chosen.span_ms) // interval_ms * interval_ms
    found = await telemetry.query(
        device_id,
        [metric],
        from_ms,
        now_ms + 1,
        aggregation="band",
        interval_ms=interval_ms,
        limit=CHART_POINT_COUNT + 2,
    )
    return history_of(
        [("", series) for series in found if series.metric == metric],
        interval_ms=interval_ms,
        range_ms=chosen.span_ms,
        end_ms=None,
    )
