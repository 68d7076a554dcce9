"""Where a reading spent its time, in a few stages; and a trace's steps as a tree. Pure.

    to disk      arrived, until its block is synced          (append log; from the arrival)
    waiting      until the pipeline reads it
    decoding     read log and decode, of its batch
    rules        evaluate rules, of its batch
    storing      until the batch is in the store

The stages follow each other without a gap, so that they add up to the whole. Steps that are missing (the broker's were dropped, or have not come
yet) make the stage before them longer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from appliance.tracing.book import Trace
from appliance.tracing.span import Span

DEPTH_MAX: Final = 16
_ENDS: Final = (
    ("to disk", ("append log",)),
    ("waiting", ("wait in log",)),
    ("decoding", ("read log", "decode")),
    ("rules", ("evaluate rules",)),
    ("storing", ("commit",)),
)
"""Stage → the steps whose end is its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A part of the way; `start_us` is from the arrival on."""

    name: str
    start_us: int
    duration_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Journey:
    """The way of one message from its arrival into the store.

    Attributes:
        arrived_us: UTC, µs. fate: What became of it: reading, dead_letter … (pipeline.records.Fate).
    """

    trace_id: str
    device_id: str
    topic: str
    arrived_us: int
    duration_us: int
    fate: str
    stages: tuple[Stage, ...]


def journeys(trace: Trace) -> list[Journey]:
    """Of each message of a trace that has come through the pipeline, the newest first."""
    found = [_journey(trace, span) for span in trace.spans if span.name == "process"]
    return sorted(found, key=lambda each: -each.arrived_us)


def _journey(trace: Trace, process: Span) -> Journey:
    steps = [
        each
        for each in trace.spans
        if each.parent_id in (process.span_id, process.parent_id) or each.span_id == process.parent_id
    ]
    arrived_us = min([process.start_us, *(each.start_us for each in steps)])
    stages, at_us = [], arrived_us
    for name, names in _ENDS:
        ends = [each.end_us for each in steps if each.name in names]
        if not ends:
            continue
        until_us = process.end_us if name == "storing" else min(max(*ends, at_us), process.end_us)
        stages.append(Stage(name=name, start_us=at_us - arrived_us, duration_us=until_us - at_us))
        at_us = until_us
    return Journey(
        trace_id=trace.trace_id,
        device_id=process.device_id,
        topic=str(process.attributes.get("messaging.destination.name", "")),
        arrived_us=arrived_us,
        duration_us=process.end_us - arrived_us,
        fate=str(process.attributes.get("homeport.fate", "")),
        stages=tuple(stages),
    )


def tree(spans: Sequence[Span]) -> list[tuple[int, Span]]:
    """(depth, step): each behind what it is below, by their start; what is below nothing that is known is at the top."""
    known = {span.span_id for span in spans}
    below: dict[str, list[Span]] = {}
    for span in sorted(spans, key=lambda each: (each.start_us, -each.end_us)):
        below.setdefault(span.parent_id if span.parent_id in known else "", []).append(span)
    seen: set[str] = set()

    def walk(parent_id: str, depth: int) -> Iterator[tuple[int, Span]]:
        for span in below.get(parent_id, ()):
            if span.span_id not in seen:
                seen.add(span.span_id)
                yield depth, span
                if depth < DEPTH_MAX:
                    yield from walk(span.span_id, depth + 1)

    rows = list(walk("", 0))
    # Whoever calls itself its own parent, in a circle, is shown all the same.
    return rows + [(0, span) for span in spans if span.span_id not in seen]


def milliseconds(duration_us: int) -> str:
    """A duration for people: “0.4 ms”, “12 ms”, “3.2 s”."""
    if duration_us >= 1_000_000:
        return f"{duration_us / 1_000_000:.1f} s"
    if duration_us >= 10_000:
        return f"{duration_us / 1000:.0f} ms"
    return f"{duration_us / 1000:.1f} ms"
