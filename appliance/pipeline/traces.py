"""The way of traced messages through the pipeline, as spans; and which of them decided what a rule found.

    receive (the broker's) ─┬─ wait in log        from its arrival until its block is read
                            └─ process ─┬─ read log, decode, evaluate rules, commit     of its batch: what many have waited for
                                        └─ evaluate rule        where a rule found something: from being shown to it until then

A batch without traced messages is asked once, for its blocks' properties. In the pipeline's thread, but for `committed`.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
import numpy as np

from appliance.core.ids import new_span_id
from appliance.core.limits_tracing import TRACE_AGE_MS_MAX, TRACE_LINK_COUNT_MAX
from appliance.management.mapping import TopicRouter
from appliance.management.messages import Messages
from appliance.management.rule_transition import Transition
from appliance.management.watched import SeriesNames
from appliance.pipeline.records import BatchRecords, Fate
from appliance.pipeline.rows import Resolved
from appliance.tracing.context import TraceContext, parse_traceparent
from appliance.tracing.links import rule_context
from appliance.tracing.recorder import Recorder, wall_us
from appliance.tracing.span import DEVICE, Attribute, SpanKind
from broker.tracer import offered

READINGS_PER_SERIES_MAX: Final = 4
"""Traced readings of a series that wait for the rules at a time."""


@dataclass(slots=True, kw_only=True)
class TracedRecord:
    """A traced message of a batch.

    Attributes:
        context: Whose parent is the broker's span. process_id: Of the span that stands for its way through here.
        device_id: "" where no mapping knows its topic. points: (series, observed_at_ms) of its numbers.
    """

    context: TraceContext
    record: int
    seq: int
    topic: str
    device_id: str
    received_at_ms: int
    fate: Fate = Fate.NONE
    points: list[tuple[int, int]] = field(default_factory=list)
    process_id: str = ""

    @property
    def process(self) -> TraceContext:
        """The parent of what is done with it here."""
        return self.context._replace(span_id=self.process_id)


@dataclass(slots=True)
class TracedBatch:
    """Those of a batch, and when what was done: UTC, µs."""

    records: list[TracedRecord]
    count: int
    began_us: int = 0
    read_us: int = 0
    decoded_us: int = 0
    shown_us: int = 0


def traced_batch(
    batch: BatchRecords, messages: Messages, resolved: Sequence[Resolved], router: TopicRouter
) -> TracedBatch | None:
    """The traced messages of a batch of which all fates are known; None where there are none."""
    found: dict[int, TracedRecord] = {}
    for block, columns, start in zip(batch.blocks, batch.columns, batch.starts, strict=True):
        for at, traceparent in columns.traced():
            offer = offered(columns.published_properties(at))
            state = offer.state if offer is not None else ""
            context = parse_traceparent(traceparent.decode("latin-1"), state)
            if context is None:
                continue
            topic = columns.topics[columns.topic_index[at]]
            found[start + at] = TracedRecord(
                context=context,
                record=start + at,
                seq=block.first_seq + at,
                topic=topic.decode(),
                device_id=router.route(topic).device,
                received_at_ms=block.first_time_ms + columns.received_delta_ms[at],
                fate=Fate(int(batch.fates[start + at])),
                process_id=new_span_id(),
            )
    if not found:
        return None
    wanted = np.array(list(found), np.int64)
    for item in resolved:
        group = item.group
        records = messages.records[group.index]
        numbers = [at for at, column in enumerate(group.columns) if not isinstance(column, list)]
        for point in np.flatnonzero(np.isin(records, wanted)).tolist():
            ids = item.ids[group.routes.at[point]]
            observed_ms = int(group.observed[point])
            found[int(records[point])].points += [(int(ids[at]), observed_ms) for at in numbers]
    return TracedBatch(list(found.values()), batch.count)


class PipelineTraces:
    """See the module's docstring.

    Args:
        recorder: Takes the spans. now_us: UTC, µs.
    """

    def __init__(self, recorder: Recorder, now_us: Callable[[], int] = wall_us) -> None:
        self._recorder = recorder
        self._now_us = now_us
        self._shown: OrderedDict[tuple[str, str], list[tuple[int, int, TracedRecord]]] = OrderedDict()
        """(device, metric) → (observed, shown at µs, message)."""

    # --- Its batch ----------------------------------------------------------------------------------------

    def built(self, traced: TracedBatch, began_ns: int, read_ns: int, decoded_ns: int, shown_ns: int) -> None:
        """When what was done with a batch, on the clock of `time.perf_counter_ns`: `shown_ns` is just now."""
        now_us = self._now_us()
        traced.began_us, traced.read_us, traced.decoded_us, traced.shown_us = (
            now_us - (shown_ns - each_ns) // 1000 for each_ns in (began_ns, read_ns, decoded_ns, shown_ns)
        )

    def committed(self, traced: TracedBatch, began_ns: int, rows: int) -> None:
        """A batch is in the store.

        Args:
            began_ns: When its commit began, on the clock of `time.perf_counter_ns`.
        """
        done_us = self._now_us()
        began_us = done_us - (time.perf_counter_ns() - began_ns) // 1000
        for each in traced.records:
            if done_us // 1000 - each.received_at_ms <= TRACE_AGE_MS_MAX:
                self._way(each, traced, began_us, done_us, rows)

    def _way(self, each: TracedRecord, traced: TracedBatch, commit_us: int, done_us: int, rows: int) -> None:
        record, context, process = self._recorder.record, each.context, each.process
        device: dict[str, Attribute] = {DEVICE: each.device_id} if each.device_id else {}
        record(
            context,
            "wait in log",
            each.received_at_ms * 1000,
            traced.began_us,
            {"homeport.log.seq": each.seq, **device},
        )
        record(
            context,
            "process",
            traced.began_us,
            done_us,
            {
                "messaging.system": "mqtt",
                "messaging.operation.name": "process",
                "messaging.operation.type": "process",
                "messaging.destination.name": each.topic,
                "messaging.batch.message_count": traced.count,
                "homeport.fate": each.fate.name.lower(),
                "homeport.log.seq": each.seq,
                **device,
            },
            kind=SpanKind.CONSUMER,
            span_id=each.process_id,
        )
        batch: dict[str, Attribute] = {"messaging.batch.message_count": traced.count}
        record(process, "read log", traced.began_us, traced.read_us, batch)
        record(process, "decode", traced.read_us, traced.decoded_us, batch)
        record(process, "evaluate rules", traced.decoded_us, traced.shown_us, batch)
        store: dict[str, Attribute] = {
            "db.system.name": "duckdb",
            "db.operation.name": "COMMIT",
            "db.operation.batch.size": rows,
        }
        record(process, "commit", commit_us, done_us, store, kind=SpanKind.CLIENT)

    # --- What rules found ---------------------------------------------------------------------------------

    def show(self, traced: TracedBatch | None, names: SeriesNames) -> None:
        """Remember whose readings the rules are about to be shown."""
        if traced is None:
            return
        now_us = self._now_us()
        for each in traced.records:
            for series, observed_ms in each.points:
                name = names.name_of(series)
                shown = self._shown.setdefault(name, [])
                shown.append((observed_ms, now_us, each))
                del shown[:-READINGS_PER_SERIES_MAX]
                self._shown.move_to_end(name)
        while len(self._shown) > TRACE_LINK_COUNT_MAX:
            self._shown.popitem(last=False)

    def linked(self, found: list[Transition]) -> list[Transition]:
        """What rules found, with the traces of the readings that decided."""
        if not self._shown:
            return found
        return [self._link(each) for each in found]

    def _link(self, found: Transition) -> Transition:
        times = (found.at_ms, found.explanation.get("since_ms"))
        for observed_ms, shown_us, each in reversed(
            self._shown.get((found.key.device_id, found.key.series), ())
        ):
            if observed_ms in times:
                return self._linked(found, shown_us, each)
        return found

    def _linked(self, found: Transition, shown_us: int, each: TracedRecord) -> Transition:
        linked = msgspec.structs.replace(found, trace_id=each.context.trace_id)
        self._recorder.record(
            each.process,
            "evaluate rule",
            shown_us,
            self._now_us(),
            {
                DEVICE: found.key.device_id,
                "homeport.rule.id": found.key.rule_id,
                "homeport.rule.version": found.rule_version,
                "homeport.series": found.key.series,
                "homeport.alarm.raised": found.is_raised,
            },
            span_id=rule_context(linked).span_id,
        )
        return linked
