"""What the readers say of themselves, as part of a pipeline's statistics."""

from __future__ import annotations

from typing import Any

from appliance.pipeline.backlog import BacklogStatistics
from appliance.pipeline.breaker import BreakerState
from appliance.pipeline.reading import Reading
from appliance.pipeline.statistics import PipelineState, PipelineStatistics


def of_reading(
    reading: Reading, now_ms: int, *, backlog: BacklogStatistics, **others: Any
) -> PipelineStatistics:
    """Statistics of a pipeline.

    Args:
        others: The fields that the readers don't know.
    """
    totals, cursor, waiting = reading.totals, reading.cursor, reading.waiting()
    seen = reading.state.seen if reading.state else None
    return PipelineStatistics(
        lag_s=max(0, now_ms - cursor.watermark_ms) / 1_000 if waiting and cursor.watermark_ms else 0.0,
        behind_records=waiting + backlog.records,
        backlog=backlog,
        behind_since_ms=reading.behind_since_ms(),
        complete_seq=reading.complete_seq,
        cursor=cursor,
        head_seq=reading.head_seq,
        records_total=totals.records,
        messages_total=totals.readings,
        rows_total=totals.rows,
        duplicates_total=totals.duplicates,
        dead_letters_total=totals.dead_letters,
        unmapped_total=totals.unmapped,
        skipped_total=totals.skipped,
        dedup_merged_total=seen.merged_total if seen else 0,
        restarts_total=seen.restarts_total if seen else 0,
        series_count=len(reading.state.series) if reading.state else 0,
        stage_s=tuple((stage, ns / 1e9) for stage, ns in reading.stage_ns.items()),
        watch=reading.watch.feed.statistics(cursor) if reading.watch else None,
        **others,
    )


def state_word(
    reading: Reading, breaker: BreakerState, rebuild_until_seq: int, *, is_stopped: bool
) -> PipelineState:
    """What a pipeline does now.

    Args:
        rebuild_until_seq: Until the cursor is there, the store is one that was begun anew.
    """
    if is_stopped:
        return PipelineState.STOPPED
    if breaker is not BreakerState.CLOSED:
        return PipelineState.WAITING
    if reading.state is None:
        return PipelineState.STARTING
    behind = reading.behind
    if reading.cursor.next_seq < rebuild_until_seq or (behind and behind.is_rebuild):
        return PipelineState.REBUILDING
    return PipelineState.CATCHING_UP if behind else PipelineState.RUNNING
