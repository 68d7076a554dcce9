"""Endpoints about readings of several devices at once: a range, and the highest of a metric."""

from __future__ import annotations

from typing import Final

from appliance.core.limits import CHART_POINT_COUNT, EXPORT_DEVICE_COUNT_MAX, QUERY_DEVICE_COUNT_MAX
from appliance.management.freshness import Freshness, value_freshness
from appliance.management.units import unit_of
from ui.api import structs as common
from ui.api import telemetry_structs as structs
from ui.api.endpoint import Call, Endpoint, Reply
from ui.api.telemetry import QUALITY_WORDS
from ui.services import SeriesData, Services
from ui.telemetry_question import (
    Aggregation,
    check_interval,
    check_range,
    parse_when,
    refuse_interval_of_raw,
    round_interval_ms,
)
from ui.telemetry_series import find_devices, series_of


async def query_telemetry(call: Call) -> Reply:
    services, query = call.services, call.query
    now_ms = services.clock.now_ms()
    from_ms, to_ms = range_of(query.from_, query.to, now_ms)
    interval_ms = interval_of(query, from_ms, to_ms)
    devices = await find_devices(services, query.device, call.scope, count_max=QUERY_DEVICE_COUNT_MAX)
    series = series_of(services.live, devices, query.metric)
    began_mono_ms = services.clock.mono_ms()
    found = await services.telemetry.query_many(
        series,
        from_ms,
        to_ms,
        aggregation=query.aggregation,
        interval_ms=interval_ms,
        limit_total=query.limit,
    )
    return Reply(
        content=structs.SiteTelemetry(
            now_ms=now_ms,
            from_ms=from_ms,
            to_ms=to_ms,
            aggregation=query.aggregation,
            interval_ms=interval_ms,
            sources=tuple(found[0].sources) if found else (),
            took_ms=services.clock.mono_ms() - began_mono_ms,
            behind_records=services.pipeline.statistics().behind_records,
            truncated=any(one.truncated for one in found),
            series=tuple(_series(services, one, query.aggregation, now_ms) for one in found),
        )
    )


async def top_telemetry(call: Call) -> Reply:
    services, query = call.services, call.query
    now_ms = services.clock.now_ms()
    from_ms, to_ms = range_of(query.from_, query.to, now_ms)
    devices = None
    if query.device or call.scope is not None:
        devices = await find_devices(services, query.device, call.scope, count_max=EXPORT_DEVICE_COUNT_MAX)
    began_mono_ms = services.clock.mono_ms()
    found = await services.telemetry.top(
        # What the store takes for a set of characters is none here.
        query.metric.replace("[", "[[]"),
        query.aggregation,
        from_ms,
        to_ms,
        query.limit,
        lowest=query.order == "lowest",
        devices=devices,
    )
    return Reply(
        content=structs.Top(
            now_ms=now_ms,
            from_ms=from_ms,
            to_ms=to_ms,
            aggregation=query.aggregation,
            took_ms=services.clock.mono_ms() - began_mono_ms,
            behind_records=services.pipeline.statistics().behind_records,
            values=tuple(
                structs.TopValue(
                    device_id=one.device,
                    metric=one.metric,
                    unit=_unit(one.metric, query.aggregation),
                    value=one.value,
                    count=one.count,
                    freshness=freshness_of(services, one.device, one.metric, now_ms)[0],
                )
                for one in found
            ),
        )
    )


def range_of(from_: str, to: str | None, now_ms: int) -> tuple[int, int]:
    """The range that a query names, until now where it has no end. Raises UsageError: `time_invalid`, `range_invalid`."""
    from_ms = parse_when(from_, now_ms, name="from")
    to_ms = now_ms if to is None else parse_when(to, now_ms, name="to")
    check_range(from_ms, to_ms)
    return from_ms, to_ms


def interval_of(query: structs.SiteTelemetryQuery, from_ms: int, to_ms: int) -> int | None:
    """The width of an interval, None for raw points. Raises UsageError: `interval_invalid`."""
    if query.aggregation == "raw":
        if query.interval_ms is not None or query.width is not None:
            raise refuse_interval_of_raw()
        return None
    interval_ms = query.interval_ms or round_interval_ms(to_ms - from_ms, query.width or CHART_POINT_COUNT)
    check_interval(to_ms - from_ms, interval_ms)
    return interval_ms


def freshness_of(
    services: Services, device_id: str, metric: str, now_ms: int
) -> tuple[common.Freshness, int | None]:
    """How fresh a metric's newest value is, and when it was observed."""
    newest = services.live.newest(device_id).get(metric)
    if newest is None:
        return Freshness.NEVER.value, None
    word = value_freshness(newest.counts_at_ms, now_ms, services.stale_after_ms_of(device_id))
    return word.value, newest.observed_at_ms


def _series(
    services: Services, data: SeriesData, aggregation: Aggregation, now_ms: int
) -> structs.SiteSeries:
    word, newest_at_ms = freshness_of(services, data.device, data.metric, now_ms)
    return structs.SiteSeries(
        device_id=data.device,
        metric=data.metric,
        unit=_unit(data.metric, aggregation),
        at_ms=tuple(data.at_ms),
        value=tuple(data.value),
        min=tuple(data.min) if data.min else None,
        max=tuple(data.max) if data.max else None,
        count=tuple(data.count) if data.count else None,
        quality=tuple(QUALITY_WORDS[each] for each in data.quality) if data.quality else None,
        truncated=data.truncated,
        freshness=word,
        newest_at_ms=newest_at_ms,
    )


def _unit(metric: str, aggregation: Aggregation) -> str:
    return "" if aggregation == "count" else unit_of(metric)


_CODES: Final = ("time_invalid", "range_invalid", "device_count_too_large", "wildcard_count_too_large")
ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/telemetry",
        handler=query_telemetry,
        needs="telemetry.read",
        summary="Readings of several devices and metrics over a range",
        query=structs.SiteTelemetryQuery,
        answer=structs.SiteTelemetry,
        errors=(404,),
        codes={
            404: ("device_unknown",),
            422: (*_CODES, "interval_invalid", "series_count_too_large"),
            503: ("query_timeout",),
        },
        tags=("telemetry",),
    ),
    Endpoint(
        method="GET",
        path="/telemetry/top",
        handler=top_telemetry,
        needs="telemetry.read",
        summary="The devices with the highest or lowest value of a metric over a range",
        query=structs.TopQuery,
        answer=structs.Top,
        errors=(404,),
        codes={404: ("device_unknown",), 422: _CODES, 503: ("query_timeout",)},
        tags=("telemetry",),
    ),
)
