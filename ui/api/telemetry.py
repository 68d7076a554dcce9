"""Endpoints about readings: newest values, telemetry, dead letters."""

from __future__ import annotations

from appliance.core.limits import QUERY_POINT_COUNT_MAX
from appliance.management.freshness import value_freshness
from appliance.management.readings import Quality
from ui import telemetry_question
from ui.api import structs
from ui.api.endpoint import Call, Endpoint, Reply
from ui.services import SeriesData
from ui.times import parse_time_ms

BUCKET_COUNT_DEFAULT = 480
"""About two device pixels each on a chart of a desktop."""


QUALITY_WORDS: dict[int, structs.Quality] = {
    Quality.GOOD: "good",
    Quality.UNCERTAIN: "uncertain",
    Quality.BAD: "bad",
}


async def get_telemetry(call: Call) -> Reply:
    services, device_id, query = call.services, call.path["device_id"], call.query
    from_ms = parse_time_ms(query.from_, name="from")
    to_ms = services.clock.now_ms() if query.to is None else parse_time_ms(query.to, name="to")
    interval_ms = check_range(query, from_ms, to_ms)
    metrics = tuple(dict.fromkeys(query.metric))
    limit = min(query.limit, QUERY_POINT_COUNT_MAX // len(metrics))
    await services.catalog.read(lambda reader: reader.get_device(device_id, scope=call.scope))
    found = await services.telemetry.query(
        device_id,
        metrics,
        from_ms,
        to_ms,
        aggregation=query.aggregation,
        interval_ms=interval_ms,
        limit=limit,
    )
    return Reply(
        content=structs.Telemetry(
            device_id=device_id,
            from_ms=from_ms,
            to_ms=to_ms,
            aggregation=query.aggregation,
            interval_ms=interval_ms,
            series=tuple(_series(one, band=query.aggregation == "band") for one in found),
        )
    )


def check_range(query: structs.TelemetryQuery, from_ms: int, to_ms: int) -> int | None:
    """The width of a bucket in ms, None for raw points.

    Raises:
        UsageError: `range_invalid` or `interval_invalid`.
    """
    telemetry_question.check_range(from_ms, to_ms)
    if query.aggregation == "raw":
        if query.interval_ms is not None:
            raise telemetry_question.refuse_interval_of_raw()
        return None
    interval_ms = query.interval_ms or max(1, -(-(to_ms - from_ms) // BUCKET_COUNT_DEFAULT))
    telemetry_question.check_interval(to_ms - from_ms, interval_ms)
    return interval_ms


def _series(data: SeriesData, *, band: bool) -> structs.Series:
    return structs.Series(
        metric=data.metric,
        at_ms=tuple(data.at_ms),
        value=tuple(data.value),
        min=tuple(data.min) if band else None,
        max=tuple(data.max) if band else None,
        truncated=data.truncated,
    )


async def newest_values(call: Call) -> Reply:
    services, device_id = call.services, call.path["device_id"]
    await services.catalog.read(lambda reader: reader.get_device(device_id, scope=call.scope))
    now_ms = services.clock.now_ms()
    newest = services.live.newest(device_id)
    stale_after_ms = services.stale_after_ms_of(device_id)
    return Reply(
        content=structs.NewestValues(
            device_id=device_id,
            now_ms=now_ms,
            values=tuple(
                structs.Newest(
                    metric=name,
                    value=newest[name].value,
                    observed_at_ms=newest[name].observed_at_ms,
                    received_at_ms=newest[name].received_at_ms,
                    quality=QUALITY_WORDS[newest[name].quality],
                    freshness=value_freshness(newest[name].counts_at_ms, now_ms, stale_after_ms).value,
                    kept_copy=newest[name].is_kept_copy,
                )
                for name in sorted(newest)
            ),
        )
    )


async def list_dead_letters(call: Call) -> Reply:
    query: structs.DeadLetterQuery = call.query
    before = None
    if query.before is not None:
        epoch, _, seq = query.before.partition(":")
        before = int(epoch), int(seq)
    found = await call.services.telemetry.dead_letters(query.limit, before)
    last = found[-1] if len(found) == query.limit else None
    return Reply(
        content=structs.DeadLetterPage(
            dead_letters=tuple(
                structs.DeadLetter(
                    epoch=one.epoch,
                    seq=one.seq,
                    received_at_ms=one.received_at_ms,
                    device=one.device,
                    topic=one.topic,
                    client_id=one.client_id,
                    reason=str(one.reason),
                    detail=one.detail,
                    payload=one.payload,
                    payload_bytes=one.payload_bytes,
                )
                for one in found
            ),
            next_before=f"{last.epoch}:{last.seq}" if last else None,
        )
    )


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/devices/{device_id}/newest",
        handler=newest_values,
        needs="telemetry.read",
        summary="The newest value of each metric",
        answer=structs.NewestValues,
        errors=(404,),
        tags=("telemetry",),
    ),
    Endpoint(
        method="GET",
        path="/devices/{device_id}/telemetry",
        handler=get_telemetry,
        needs="telemetry.read",
        summary="Readings of a device's metrics over a range",
        query=structs.TelemetryQuery,
        answer=structs.Telemetry,
        errors=(404,),
        tags=("telemetry",),
    ),
    Endpoint(
        method="GET",
        path="/dead-letters",
        handler=list_dead_letters,
        needs="dead_letters.read",
        summary="Messages that could not be turned into readings",
        query=structs.DeadLetterQuery,
        answer=structs.DeadLetterPage,
        tags=("telemetry",),
    ),
)
