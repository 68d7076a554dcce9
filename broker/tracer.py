"""Which messages are traced, and what the broker knows of their way: received, on disk, acknowledged.

Three reasons, in this order: the publisher says so (`traceparent` as an MQTT 5 user property whose flag is set), somebody asked for the
next reading of a device, or it is the turn of the sampled share. All three are bounded; what is beyond is not traced, and counted where
somebody asked for it. A publisher that says that its trace is not sampled is never sampled by share.

Cost. It is asked once for each block, not for each message: the share is a subtraction, and only messages with properties are looked
through for a traceparent. What is chosen gets a context in the log (storage/log/traced.py); spans are made when the block is on disk.

Nothing here waits; called from the data plane's task.
Source: W3C Trace Context, Trace Context: MQTT protocol (the name of the property).
"""

from __future__ import annotations

import random
import secrets
import time
from bisect import bisect_right
from collections.abc import Callable
from itertools import accumulate
from operator import itemgetter
from typing import Any, Final, NamedTuple

from appliance.core.errors import RemoteProtocolError
from appliance.core.ids import RandomBytes, new_span_id, new_trace_id
from appliance.core.limits_tracing import (
    SPANS_PER_MESSAGE_MAX,
    TRACE_WANTED_COUNT_MAX,
    TRACE_WANTED_MS,
    TRACES_PER_BLOCK_MAX,
)
from appliance.tracing.context import TRACEPARENT_CHARS, TraceContext, format_traceparent, parse_traceparent
from appliance.tracing.ring import SpanRing
from appliance.tracing.sampling import Gaps, PerSecond
from appliance.tracing.span import Attribute, Span, SpanKind, bounded, to_plain
from storage.log.columns import Kind

from .mqtt.batch import Batch
from .mqtt.properties import decode_properties

PARENT: Final = "traceparent"
STATE: Final = "tracestate"
_NAME: Final = b"\x00\x0btraceparent\x00"
"""Of a user property with that name and a value of less than 256 bytes; other properties may hold the bytes, too."""
_LENGTH: Final = bytes((TRACEPARENT_CHARS,))
_SAMPLED: Final = b"13579bdf"
"""Last digits of flags whose first bit is set."""
_COUNT: Final = itemgetter(1)
_STATUS: Final = b"/status"
_RANDOM: Final = random.Random()
_MESSAGES: Final = (Kind.PUBLISH, Kind.SERVER_PUBLISH)


class _Chosen(NamedTuple):
    record: int
    context: TraceContext
    parent_id: str


def _asks(raw: bytes) -> bool:
    """Whether properties may ask to be traced: decided by the bytes for all that don't, which a device may send with each message."""
    at = raw.find(_NAME)
    if at < 0:
        return False
    length_at = at + len(_NAME)
    flags_at = length_at + TRACEPARENT_CHARS
    if raw[length_at : length_at + 1] != _LENGTH or flags_at >= len(raw):
        return True  # A later version, or nonsense.
    return raw[flags_at] in _SAMPLED


def offered(raw: bytes) -> TraceContext | None:
    """What a message's properties say of its trace; None for nothing, or what is malformed or there twice."""
    if _NAME not in raw:
        return None
    try:
        user = decode_properties(raw).user_properties
    except RemoteProtocolError:
        return None  # They were looked at when they came; whatever they are, they are no reason to stop.
    parents = [value for name, value in user if name == PARENT]
    if len(parents) != 1:
        return None
    return parse_traceparent(parents[0], ",".join(value for name, value in user if name == STATE))


class Tracer:
    """See the module's docstring.

    Args:
        sample_ratio: Share of all messages. per_second_max: Of those that publishers ask for, and as many again of the share.
        now_us: Wall time, µs. mono_ms: As Clock's.
    """

    def __init__(
        self,
        *,
        sample_ratio: float = 0.0,
        per_second_max: int = 100,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
        mono_ms: Callable[[], int] = lambda: time.monotonic_ns() // 1_000_000,
        uniform: Callable[[], float] = _RANDOM.random,
        random_bytes: RandomBytes = secrets.token_bytes,
    ) -> None:
        self._now_us = now_us
        self._mono_ms = mono_ms
        self._random_bytes = random_bytes
        self.is_on = per_second_max > 0
        self._gaps = Gaps(sample_ratio if self.is_on else 0.0, uniform)
        self._left = self._gaps.next()
        self._asked = PerSecond(per_second_max, mono_ms)
        self._shared = PerSecond(per_second_max, mono_ms)
        self._wanted: dict[bytes, int] = {}
        """Device, as a level of a topic → until when its next reading is waited for, monotonic ms."""
        self._chosen: list[_Chosen] = []
        """Of the block in flight: there is one at most."""
        self._submitted_us = self._durable_us = 0
        self._ring = SpanRing()
        self._traces_total = 0

    def want(self, device_id: str) -> None:
        """Trace the next reading of a device; the oldest wish goes where there are too many."""
        self._wanted.pop(device_id.encode(), None)
        while len(self._wanted) >= TRACE_WANTED_COUNT_MAX:
            del self._wanted[next(iter(self._wanted))]
        self._wanted[device_id.encode()] = self._mono_ms() + TRACE_WANTED_MS

    # --- for each block -----------------------------------------------------------------------------------------

    def choose(self, batch: Batch) -> None:
        """Choose among the messages of a block that is about to be written, and give them their contexts."""
        if batch.properties:
            self._choose_offered(batch)
        if self._wanted:
            self._choose_wanted(batch)
        count = len(batch)
        if count <= self._left:
            self._left -= count
        else:
            self._choose_share(batch, count)
        if self._chosen:
            self._submitted_us = self._now_us()

    def durable(self) -> None:
        """The block is on disk, and nothing of it has been acknowledged yet."""
        if self._chosen:
            self._durable_us = self._now_us()

    def acknowledged(self, batch: Batch, first_seq: int) -> None:
        """What there was to be acknowledged has been: the way through the broker is over."""
        if not self._chosen:
            return
        chosen, self._chosen = self._chosen, []
        done_us = self._now_us()
        run_ends = list(accumulate(map(_COUNT, batch.client_runs)))
        for each in chosen:
            sender, _ = batch.client_runs[bisect_right(run_ends, each.record)]
            self._ring.add(self._spans(each, batch, first_seq, sender, done_us))

    # --- why ----------------------------------------------------------------------------------------------------

    def _choose_offered(self, batch: Batch) -> None:
        # Most messages have the properties of another one: what they are is looked at once for all of them.
        asking = {raw for raw in set(batch.properties.values()) if _asks(raw)}
        if not asking:
            return
        for index, raw in batch.properties.items():
            context = offered(raw) if raw in asking else None
            if context is None or not context.is_sampled or not self._is_message(batch, index):
                continue
            if len(self._chosen) >= TRACES_PER_BLOCK_MAX or not self._asked.take():
                # The rest of the block is not looked at: who floods is not to cost more than who doesn't.
                return
            self._choose(batch, index, context)

    def _choose_wanted(self, batch: Batch) -> None:
        now_mono_ms = self._mono_ms()
        for late in [each for each, until_ms in self._wanted.items() if until_ms < now_mono_ms]:
            del self._wanted[late]
        wanted: dict[int, bytes] = {}
        for slot, topic in enumerate(batch.topics):
            if not topic.endswith(_STATUS):
                wanted.update((slot, level) for level in topic.split(b"/") if level in self._wanted)
        if not wanted:
            return
        for index, slot in enumerate(batch.topic_index):
            device = wanted.get(slot)
            if device is None or device not in self._wanted or not self._is_message(batch, index):
                continue
            if index not in batch.traces:
                self._choose(batch, index, offered(batch.properties.get(index, b"")))
            del self._wanted[device]

    def _choose_share(self, batch: Batch, count: int) -> None:
        index = self._left
        while index < count:
            is_free = self._is_message(batch, index) and index not in batch.traces
            is_ours = is_free and offered(batch.properties.get(index, b"")) is None
            if is_ours and len(self._chosen) < TRACES_PER_BLOCK_MAX and self._shared.take():
                self._choose(batch, index, None)
            index += 1 + self._gaps.next()
        self._left = index - count

    def _is_message(self, batch: Batch, index: int) -> bool:
        return batch.other_kinds.get(index, Kind.PUBLISH) in _MESSAGES

    def _choose(self, batch: Batch, index: int, offer: TraceContext | None) -> None:
        context = TraceContext(
            offer.trace_id if offer is not None else new_trace_id(self._random_bytes),
            new_span_id(self._random_bytes),
            is_sampled=True,
            state=offer.state if offer is not None else "",
        )
        batch.traces[index] = format_traceparent(context).encode()
        self._chosen.append(_Chosen(index, context, offer.span_id if offer is not None else ""))
        self._traces_total += 1

    # --- what became of it --------------------------------------------------------------------------------------

    def _spans(self, chosen: _Chosen, batch: Batch, first_seq: int, sender: int, done_us: int) -> list[Span]:
        index, context, durable_us = chosen.record, chosen.context, self._durable_us
        marks = batch.time_marks
        received_us = marks[bisect_right(marks, index, key=lambda mark: mark[0]) - 1][1] * 1000
        client_id, principal = batch.clients[sender]
        topic = batch.topics[batch.topic_index[index]].decode()
        qos = batch.flags[index] >> 1 & 3
        of_message: dict[str, Attribute] = {
            "messaging.system": "mqtt",
            "messaging.operation.name": "receive",
            "messaging.operation.type": "receive",
            "messaging.destination.name": topic,
            "messaging.client.id": client_id,
            "messaging.message.body.size": len(batch.payloads[index]),
            "messaging.mqtt.qos": qos,
            "homeport.principal": principal,
            "homeport.log.seq": first_seq + index,
        }
        spans = [
            self._span(
                context, chosen.parent_id, "receive", received_us, done_us, of_message, SpanKind.CONSUMER
            ),
            self._child(
                context,
                "append log",
                self._submitted_us,
                durable_us,
                {"homeport.log.first_seq": first_seq, "homeport.log.records": len(batch)},
            ),
        ]
        if qos:
            name = "puback" if qos == 1 else "pubrec"
            spans.append(
                self._child(
                    context,
                    name,
                    durable_us,
                    done_us,
                    {
                        "messaging.system": "mqtt",
                        "messaging.operation.name": name,
                        "messaging.operation.type": "settle",
                    },
                )
            )
        return spans

    def _child(
        self, context: TraceContext, name: str, start_us: int, end_us: int, attributes: dict[str, Attribute]
    ) -> Span:
        child = context._replace(span_id=new_span_id(self._random_bytes))
        return self._span(child, context.span_id, name, start_us, end_us, attributes, SpanKind.INTERNAL)

    @staticmethod
    def _span(
        context: TraceContext,
        parent_id: str,
        name: str,
        start_us: int,
        end_us: int,
        attributes: dict[str, Attribute],
        kind: SpanKind,
    ) -> Span:
        return Span(
            context.trace_id,
            context.span_id,
            parent_id,
            name,
            kind,
            min(start_us, end_us),
            end_us,
            bounded(attributes),
            state=context.state,
        )

    # --- for the node -------------------------------------------------------------------------------------------

    def take_spans(self) -> list[Any]:
        """Spans to be told to the node now, as the control socket takes them."""
        return to_plain(self._ring.take(SPANS_PER_MESSAGE_MAX)) if len(self._ring) else []

    def statistics(self) -> dict[str, int]:
        return {
            "traces": self._traces_total,
            "spans": self._ring.added_total,
            "spans_dropped": self._ring.dropped_total,
            "refused_offers": self._asked.refused_total,
            "refused_share": self._shared.refused_total,
            "wanted": len(self._wanted),
        }
