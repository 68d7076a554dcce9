"""What a mapping would make of real messages, before anybody relies on it.

Each message goes by itself through the same code that fills the store, over an empty state: so what is shown is what would be
stored, but for duplicates and for limits on a device's series. Nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import trio

from appliance.core.errors import LimitExceeded
from appliance.core.limits import TRY_OUT_ROW_COUNT_MAX, TRY_OUT_WAITING_COUNT_MAX
from appliance.management.dedup import SeenSequences
from appliance.management.mapping import DEFAULT_MAPPINGS, RouteKind, TopicMapping, TopicRouter
from appliance.management.presence import PresenceFold
from appliance.management.readings import Scalar, ValueKind
from appliance.management.shapes import Shapes
from appliance.management.typed import TypedShapes
from appliance.pipeline.batch import BatchBuilder
from appliance.pipeline.kept_messages import KeptMessage, KeptMessages, Recent
from storage.telemetry.batch import Cursor, NewSeries, StoreBatch
from storage.telemetry.series import SeriesCatalog
from storage.telemetry.state import StoreState, Totals, scalar_of


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedRow:
    """A reading that a message would give. Time is UTC ms."""

    device: str
    metric: str
    observed_at_ms: int
    value: Scalar
    quality: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What became of one message.

    Attributes:
        rows: The first TRY_OUT_ROW_COUNT_MAX of `row_count`, by metric and time.
        reason, detail: Why there are none, as of a dead letter; "" when there are some.
        taken_by: The pattern that is tried before and takes the topic, "" when the mapping itself does.
    """

    message: KeptMessage
    rows: tuple[TriedRow, ...]
    row_count: int
    reason: str
    detail: str
    taken_by: str = ""

    @property
    def fits(self) -> bool:
        return self.row_count > 0 and not self.taken_by


@dataclass(frozen=True, slots=True, kw_only=True)
class TryOut:
    """Tried messages, the newest first, and how far was looked for them."""

    tried: Sequence[Tried]
    looked_at: int
    is_whole: bool

    @property
    def fit_count(self) -> int:
        return sum(each.fits for each in self.tried)


class TryOuts:
    """Tries mappings on what the log has; one at a time, in a thread. From the event loop."""

    def __init__(self, kept: KeptMessages) -> None:
        self._kept = kept
        self._limiter = trio.CapacityLimiter(1)

    async def on_log(self, mapping: TopicMapping, before: Sequence[TopicMapping], count: int) -> TryOut:
        """On the newest messages of its topics.

        Args:
            before: The mappings that are tried before it. count: How many messages at most.
        Raises:
            StorageError, Unavailable: the log's head can't be read. LimitExceeded: `try_out_waiting`.
        """

        def look() -> TryOut:
            found = self._kept.recent(lambda topic: mapping.match(topic) is not None, count)
            return tried(mapping, before, found)

        return await self._in_turn(look)

    async def on_messages(
        self, mapping: TopicMapping, before: Sequence[TopicMapping], messages: Sequence[KeptMessage]
    ) -> TryOut:
        """On given messages, such as dead letters; the log's own record is taken where it still has it. Raises as on_log."""

        def look() -> TryOut:
            whole = self._kept.at(message.position for message in messages)
            chosen = [whole.get(message.position, message) for message in messages]
            return tried(mapping, before, Recent(messages=chosen, looked_at=len(chosen), is_whole=True))

        return await self._in_turn(look)

    async def _in_turn(self, look: Callable[[], TryOut]) -> TryOut:
        if self._limiter.statistics().tasks_waiting >= TRY_OUT_WAITING_COUNT_MAX:
            raise LimitExceeded(
                f"{TRY_OUT_WAITING_COUNT_MAX} mappings wait to be tried already.",
                hint="Try again in a few seconds.",
                code="try_out_waiting",
            )
        return await trio.to_thread.run_sync(look, limiter=self._limiter)


def tried(mapping: TopicMapping, before: Sequence[TopicMapping], recent: Recent) -> TryOut:
    """Try a mapping on some messages."""
    alone = TopicRouter([mapping], defaults=())
    in_order = TopicRouter([*before, mapping], defaults=DEFAULT_MAPPINGS)
    found = []
    for message in recent.messages:
        route = in_order.route(message.topic)
        taken_by = ""
        if route.kind is RouteKind.STATUS:
            taken_by = "dm/{device}/status"
        elif route.mapping is not None and route.mapping is not mapping:
            taken_by = route.mapping.pattern
        found.append(_try(alone, message, taken_by))
    return TryOut(tried=found, looked_at=recent.looked_at, is_whole=recent.is_whole)


def _try(router: TopicRouter, message: KeptMessage, taken_by: str) -> Tried:
    state = StoreState(Cursor(), Totals(), SeriesCatalog(), SeenSequences(), PresenceFold(), [])
    block, columns = message.as_block()
    batch, _ = BatchBuilder(state, router, Shapes(), TypedShapes()).build(
        [block], [columns], Cursor(message.epoch, message.seq, b"", 0), lambda _: True
    )
    rows = _rows(batch)
    letter = batch.dead_letters[0] if batch.dead_letters else None
    return Tried(
        message=message,
        rows=tuple(rows[:TRY_OUT_ROW_COUNT_MAX]),
        row_count=len(rows),
        reason=letter.reason if letter else "" if rows else "no_values",
        detail=letter.detail if letter else "",
        taken_by=taken_by,
    )


def _rows(batch: StoreBatch) -> list[TriedRow]:
    names = {series.id: series for series in batch.new_series}
    found: list[TriedRow] = []
    for rows in batch.numbers.values():
        found += _typed(
            names, rows.series.tolist(), rows.observed.tolist(), rows.numbers.tolist(), rows.quality.tolist()
        )
    for texts in batch.texts.values():
        found += _typed(
            names, texts.series.tolist(), texts.observed.tolist(), texts.texts, texts.quality.tolist()
        )
    return sorted(found, key=lambda row: (row.metric, row.observed_at_ms))


def _typed(
    names: Mapping[int, NewSeries],
    series: Sequence[int],
    observed: Sequence[int],
    values: Sequence[Any],
    qualities: Sequence[int],
) -> Iterator[TriedRow]:
    for number, at_ms, value, quality in zip(series, observed, values, qualities, strict=True):
        name = names[number]
        num, text = (None, str(value)) if name.kind is ValueKind.TEXT else (float(value), None)
        yield TriedRow(
            device=name.device,
            metric=name.metric,
            observed_at_ms=at_ms,
            value=scalar_of(name.kind, num, text),
            quality=quality,
        )
