"""A reader of the log for rows that go elsewhere than into the store: decoded once more, by the pipeline's own code, from wherever those rows end.

It reads no further than the store has come, so that what a record said there is settled: whose readings are kept, by which mappings they are read.
Windows and presence go with the position, wherever that is kept, so each record says what it said to the store. For one thread at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from appliance.core.errors import CursorBeyondHead
from appliance.management.readings import ValueKind
from appliance.management.shapes import Shapes
from appliance.management.typed import TypedShapes
from appliance.pipeline.batch import BatchBuilder
from appliance.pipeline.records import devices_of
from appliance.pipeline.rules import LogRules
from appliance.pipeline.source import BlockSource
from appliance.pipeline.watch_replay import read_reader_state, reader_state
from storage.log.source import LogSource
from storage.telemetry.batch import Cursor, NumberRows, StoreBatch, TextRows
from storage.telemetry.series import SeriesCatalog
from storage.telemetry.state import StoreState, Totals

Kept = Callable[[Collection[str]], Collection[str]]
"""Of some devices, those whose readings are kept."""


class Numbering(Protocol):
    """How records of the own stream are called in the log that the store reads, which is that of the whole site."""

    def of_site(self, seq: int) -> int:
        """The site's number of an own record; 1 where that was forgotten. Raises OSError."""
        ...

    def own(self, site_seq: int) -> int:
        """The first own record that is not before a place of the site. Raises OSError."""
        ...


def _no_numbers() -> NumberRows:
    return NumberRows(
        np.empty(0, np.uint32), np.empty(0, np.int64), np.empty(0, np.float64), np.empty(0, np.uint8)
    )


def _no_texts() -> TextRows:
    return TextRows(np.empty(0, np.uint32), np.empty(0, np.int64), [], np.empty(0, np.uint8))


@dataclass(slots=True, kw_only=True)
class ReadRows:
    """What some records gave.

    Attributes:
        after: Where they end. series: (device, metric, kind), each once; the rows' `series` is a place in it.
        reader: Windows and presence there.
    """

    after: Cursor
    reader: bytes
    series: list[tuple[str, str, ValueKind]]
    numbers: NumberRows = field(default_factory=_no_numbers)
    texts: TextRows = field(default_factory=_no_texts)

    def __len__(self) -> int:
        return len(self.numbers) + len(self.texts)


class RowsReading:
    """See the module's docstring.

    Args:
        reader: Of the own stream, for this alone.
    Attributes:
        at: Where it stands.
    """

    def __init__(self, reader: LogSource, numbering: Numbering) -> None:
        self._reader, self._numbering = reader, numbering
        self._source = BlockSource(reader)
        self._series = SeriesCatalog()
        self._names: dict[int, tuple[str, str, ValueKind]] = {}
        self._shapes, self._typed = Shapes(), TypedShapes()
        self.at = Cursor()
        self._state: StoreState | None = None
        self._builder: BatchBuilder | None = None

    def begin(self, at: Cursor, reader: bytes) -> None:
        """Go on from a position. Raises ValueError: `reader` is no state of a reader."""
        seen, presence = read_reader_state(reader)
        self._state = StoreState(at, Totals(), self._series, seen, presence, [])
        self._builder = None
        self._go_to(at)

    def first_seq(self) -> int:
        """The oldest record that is kept."""
        return self._reader.first_seq()

    def close(self) -> None:
        """Let go of the log."""
        self._reader.close()

    def skip_to(self, next_seq: int) -> int:
        """Go on behind records that can't be read any more; gives how many they are."""
        before = self.at
        self._go_to(Cursor(before.epoch, max(before.next_seq, next_seq), b"", before.watermark_ms))
        return self.at.next_seq - before.next_seq

    def begin_epoch(self) -> None:
        """Go on where the first epoch behind this one begins: the log isn't that of before from some record on, which may be one that was read.

        Raises:
            CursorBeyondHead: there is no later epoch. StorageError, Unavailable: as `LogSource.read`.
        """
        before = self.at
        low, high = self._reader.first_seq(), self._reader.head().next_seq
        if self._reader.head().epoch <= before.epoch or low >= high:
            raise CursorBeyondHead(
                f"The log does not go on where the rows end, at record {before.next_seq} of epoch {before.epoch}.",
                hint="The log was replaced without a new epoch: see 'homeport doctor'.",
                code="cursor_mismatch",
            )
        found = high
        while low < high:
            middle = (low + high) // 2
            block = self._reader.read(middle, bytes_max=1)[0]
            if block.epoch > before.epoch:
                found, high = block.first_seq, min(middle, block.first_seq)
            else:
                low = block.next_seq
        self._go_to(Cursor(before.epoch, found, b"", before.watermark_ms))

    def read(self, rules_of: LogRules, messages: int, upto_seq: int, kept: Kept) -> ReadRows | None:
        """Rows of the next records; None where there are none before `upto_seq`.

        Args:
            messages: About so many records, whole blocks.
            upto_seq: The site's number of the first record that is not to be read.
        Raises:
            As `BlockSource.read`; OSError; whatever `kept` raises.
        """
        at, state = self.at, self._state
        assert state is not None
        with rules_of.reading(at.epoch, self._numbering.of_site(at.next_seq)) as rules:
            until_seq = upto_seq if rules.until_seq is None else min(upto_seq, rules.until_seq)
            own_until_seq = self._numbering.own(until_seq)
            if at.next_seq >= own_until_seq:
                return None
            blocks, columns = self._source.read(at, messages, own_until_seq)
        if not blocks:
            return None
        if self._builder is None:
            self._builder = BatchBuilder(state, rules.router, self._shapes, self._typed)
        accepted = frozenset(kept(devices_of(columns, rules.router)))
        batch, _ = self._builder.build(blocks, columns, at, accepted.__contains__, rules=rules)
        for new in batch.new_series:
            self._names[new.id] = (new.device, new.metric, new.kind)
        self.at = batch.after
        return self._rows(batch, reader_state(state.seen, state.presence))

    def _rows(self, batch: StoreBatch, reader: bytes) -> ReadRows:
        numbers = list(batch.numbers.values())
        texts = list(batch.texts.values())
        rows = ReadRows(after=batch.after, reader=reader, series=[])
        parts = [each.series for each in numbers] + [each.series for each in texts]
        if not parts:
            return rows
        ids, places = np.unique(np.concatenate(parts), return_inverse=True)
        at = places.astype(np.uint32)
        rows.series = [self._names[number] for number in ids.tolist()]
        count = sum(map(len, numbers))
        if numbers:
            rows.numbers = NumberRows(
                at[:count], _joined([each.observed for each in numbers]),
                _joined([each.numbers for each in numbers]), _joined([each.quality for each in numbers]),
            )  # fmt: skip
        if texts:
            rows.texts = TextRows(
                at[count:], _joined([each.observed for each in texts]),
                [text for each in texts for text in each.texts], _joined([each.quality for each in texts]),
            )  # fmt: skip
        return rows

    def _go_to(self, at: Cursor) -> None:
        self.at = at
        self._source.forget()


def _joined(parts: Sequence[Any]) -> Any:
    return np.concatenate(parts)
