"""Endpoints about readings: telemetry and dead letters."""

from __future__ import annotations

from appliance.core.errors import UsageError
from appliance.core.limits import QUERY_POINT_COUNT_MAX, QUERY_RANGE_MS_MAX
from ui.api import structs
from ui.api.endpoint import Call, Endpoint, Reply
from ui.api.times import parse_time_ms
from ui.services import SeriesData

BUCKET_COUNT_DEFAULT = 480
"""About two device pixels each on a chart of a desktop."""


async def get_telemetry(call: Call) -> Reply:
    services, device_id, query = call.services, call.path["device_id"], call.query
    from_ms = parse_time_ms(query.from_, name="from")
    to_ms = services.clock.now_ms() if query.to is None else parse_time_ms(query.to, name="to")
    interval_ms = check_range(query, from_ms, to_ms)
    metrics = tuple(dict.fromkeys(query.metric))
    limit = min(query.limit, QUERY_POINT_COUNT_MAX // len(metrics))
    await services.catalog.read(lambda reader: reader.get_device(device_id))
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
    if not 0 < to_ms - from_ms <= QUERY_RANGE_MS_MAX:
        days = QUERY_RANGE_MS_MAX // 86_400_000
        raise UsageError(
            f"The range must end after it begins, and within {days} days.",
            hint="Give from before to; ask for a longer range in pieces.",
            code="range_invalid",
        )
    if query.aggregation == "raw":
        if query.interval_ms is not None:
            raise UsageError(
                "Raw points have no interval.",
                hint="Leave interval_ms out, or choose an aggregation such as mean.",
                code="interval_invalid",
            )
        return None
    interval_ms = query.interval_ms or max(1, -(-(to_ms - from_ms) // BUCKET_COUNT_DEFAULT))
    if (to_ms - from_ms) // interval_ms > QUERY_POINT_COUNT_MAX:
        raise UsageError(
            f"The range has more than {QUERY_POINT_COUNT_MAX} intervals of {interval_ms} ms.",
            hint="Choose a larger interval_ms or a shorter range.",
            code="interval_invalid",
        )
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
        path="/devices/{device_id}/telemetry",
        handler=get_telemetry,
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
        summary="Messages that could not be turned into readings",
        query=structs.DeadLetterQuery,
        answer=structs.DeadLetterPage,
        tags=("telemetry",),
    ),
)
