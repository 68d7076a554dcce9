"""Batches without a log and a store: records in, rows by name out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

from appliance.management.dedup import SeenSequences
from appliance.management.mapping import TopicMapping, TopicRouter
from appliance.management.presence import PresenceFold
from appliance.management.readings import Scalar, ValueKind
from appliance.management.shapes import Shapes
from appliance.management.typed import TypedShapes
from appliance.pipeline.batch import BatchBuilder, LiveUpdate
from storage.log.block import Block
from storage.telemetry.batch import Cursor, NewSeries, StoreBatch
from storage.telemetry.series import SeriesCatalog
from storage.telemetry.state import StoreState, Totals, scalar_of
from storage.telemetry.store import check_counts
from tests.log_kit import Record, body_of


class Row(NamedTuple):
    device: str
    metric: str
    observed_at_ms: int
    value: Scalar
    quality: int


def block_of(
    records: Sequence[Record], first_seq: int = 1, *, prev_hash: bytes = b"", hash: bytes = b"h"
) -> Block:
    """Records as a block, in memory only."""
    body, first_ms, last_ms = body_of(records)
    return Block(1, first_seq, len(records), first_ms, last_ms, prev_hash, hash, body)


class Bench:
    """A builder over an empty state, that remembers names of series."""

    def __init__(
        self, mappings: Sequence[TopicMapping] = (), accepted: Callable[[str], bool] = lambda _: True
    ) -> None:
        self.seen = SeenSequences()
        self.presence = PresenceFold()
        self.series = SeriesCatalog()
        self.typed = TypedShapes()
        self.router = TopicRouter(mappings)
        self.names: dict[int, NewSeries] = {}
        self.accepted = accepted
        self.next_seq = 1
        state = StoreState(Cursor(), Totals(), self.series, self.seen, self.presence, [])
        self.builder = BatchBuilder(state, self.router, Shapes(), self.typed)

    def build(self, *blocks: Sequence[Record]) -> tuple[StoreBatch, LiveUpdate]:
        """Build a batch of blocks; it adds up, or the test fails."""
        made = []
        for records in blocks:
            made.append(block_of(records, self.next_seq))
            self.next_seq += len(records)
        before = Cursor(1, made[0].first_seq, b"h", 0)
        batch, live = self.builder.build(made, [block.columns() for block in made], before, self.accepted)
        check_counts(batch)
        self.names.update((series.id, series) for series in batch.new_series)
        return batch, live

    def rows(self, batch: StoreBatch) -> list[Row]:
        """All rows of a batch by name, sorted."""
        found: list[Row] = []
        columns: list[tuple[Any, Any, Any, Any]] = [
            (rows.series, rows.observed, rows.numbers.tolist(), rows.quality)
            for rows in batch.numbers.values()
        ]
        columns += [(rows.series, rows.observed, rows.texts, rows.quality) for rows in batch.texts.values()]
        for series, observed, values, quality in columns:
            for number, ms, value, how in zip(
                series.tolist(), observed.tolist(), values, quality.tolist(), strict=True
            ):
                name = self.names[number]
                is_text = name.kind is ValueKind.TEXT
                typed = scalar_of(name.kind, None if is_text else value, value if is_text else None)
                found.append(Row(name.device, name.metric, ms, typed, how))
        return sorted(found, key=repr)


class EveryDevice:
    """A directory that knows everyone."""

    async def known(self, device_ids: Sequence[str]) -> Collection[str]:
        return device_ids

    async def of_site(self, device_ids: Sequence[str]) -> Collection[str]:
        return device_ids

    async def first_contact(self, device_ids: Sequence[str]) -> Collection[str]:
        raise AssertionError(f"{device_ids} are known")
