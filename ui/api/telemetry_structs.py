"""Queries and answers about readings of several devices. Times are UTC milliseconds in `_at_ms`."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from appliance.core.limits import (
    DEVICE_ID_BYTES_MAX,
    METRIC_NAME_BYTES_MAX,
    QUERY_METRIC_COUNT_MAX,
    QUERY_NAME_COUNT_MAX,
    QUERY_POINT_COUNT_MAX,
    TOP_COUNT_DEFAULT,
    TOP_COUNT_MAX,
)
from ui.api.structs import Answer, Freshness, Quality, Query, Scalar
from ui.telemetry_file import Format
from ui.telemetry_question import Aggregation, Source, TopAggregation

DeviceNames = Annotated[
    tuple[Annotated[str, Meta(min_length=1, max_length=DEVICE_ID_BYTES_MAX)], ...],
    Meta(max_length=QUERY_NAME_COUNT_MAX),
]
MetricNames = Annotated[
    tuple[Annotated[str, Meta(min_length=1, max_length=METRIC_NAME_BYTES_MAX)], ...],
    Meta(max_length=QUERY_METRIC_COUNT_MAX),
]
When = Annotated[str, Meta(min_length=1, max_length=40)]


class SiteTelemetryQuery(Query, kw_only=True, frozen=True):
    """A range of metrics of devices; `device` and `metric` may be repeated and hold `*` (any characters) and `?` (one).

    `from` (included) and `to` (excluded; now if left out) are ISO 8601 with an offset, UTC milliseconds, or counted back from now:
    `-15m`, `-24h`, `-7d`. Every aggregation but raw has intervals: of `interval_ms`, or the narrowest round ones (1, 2, 5, 10, 15, 30
    s or min, … 1 d) of which the range has at most `width`, 480 if left out: a chart's pixels. `limit` bounds the points of all series
    together.
    """

    device: Annotated[DeviceNames, Meta(min_length=1)]
    metric: MetricNames = ()
    from_: When = msgspec.field(name="from")
    to: When | None = None
    aggregation: Aggregation = "band"
    interval_ms: Annotated[int, Meta(ge=1, le=31 * 86_400_000)] | None = None
    width: Annotated[int, Meta(ge=1, le=10_000)] | None = None
    limit: Annotated[int, Meta(ge=1, le=QUERY_POINT_COUNT_MAX)] = QUERY_POINT_COUNT_MAX


class SiteSeries(Answer, kw_only=True, frozen=True):
    """Points of a device's metric: `at_ms[i]` and `value[i]`. An interval without readings is absent.

    Beside them, null where the aggregation has none: `min` and `max` (band), `count` (readings behind each point; not for raw),
    `quality` (raw). `truncated` says that there is more behind the last point. `unit` is what the metric's name says, "" for counts. `freshness` is of the metric's newest value,
    which is `newest_at_ms` old whatever was asked for.
    """

    device_id: str
    metric: str
    unit: str
    at_ms: tuple[int, ...]
    value: tuple[Scalar, ...]
    min: tuple[float | None, ...] | None
    max: tuple[float | None, ...] | None
    count: tuple[int, ...] | None
    quality: tuple[Quality, ...] | None
    truncated: bool
    freshness: Freshness
    newest_at_ms: int | None


class SiteTelemetry(Answer, kw_only=True, frozen=True):
    """The answer to a question about several devices.

    `interval_ms` is null for raw. `sources` is what was read: rollups of whole days, hours and minutes, single readings where those don't reach,
    Parquet of the archive. `took_ms` is how long the store worked on it. `behind_records` of the log are safe and not searchable yet.
    """

    now_ms: int
    from_ms: int
    to_ms: int
    aggregation: Aggregation
    interval_ms: int | None
    sources: tuple[Source, ...]
    took_ms: int
    behind_records: int
    truncated: bool
    series: tuple[SiteSeries, ...]


class TopQuery(Query, kw_only=True, frozen=True):
    """Which devices have the highest (`order=lowest`: the lowest) value of a metric over a range; names and times as in `GET /telemetry`."""

    metric: Annotated[str, Meta(min_length=1, max_length=METRIC_NAME_BYTES_MAX)]
    device: DeviceNames = ()
    from_: When = msgspec.field(name="from")
    to: When | None = None
    aggregation: TopAggregation = "max"
    order: Literal["highest", "lowest"] = "highest"
    limit: Annotated[int, Meta(ge=1, le=TOP_COUNT_MAX)] = TOP_COUNT_DEFAULT


class TopValue(Answer, kw_only=True, frozen=True):
    """A series and its value over the range; `count` readings of good or uncertain quality are behind it."""

    device_id: str
    metric: str
    unit: str
    value: float | None
    count: int
    freshness: Freshness


class Top(Answer, kw_only=True, frozen=True):
    """Series in their order, the highest (or lowest) first."""

    now_ms: int
    from_ms: int
    to_ms: int
    aggregation: TopAggregation
    took_ms: int
    behind_records: int
    values: tuple[TopValue, ...]


class ExportQuery(Query, kw_only=True, frozen=True):
    """Readings as a file, as they came in; names and times as in `GET /telemetry`. No device stands for all, no metric for all."""

    format: Format = "csv"
    device: DeviceNames = ()
    metric: MetricNames = ()
    from_: When = msgspec.field(name="from")
    to: When | None = None
