"""A reader for the watch alone: records that are in the store already, decoded once more from where the watch stands.

Windows and presence begin as the checkpoint has them, so each record says what it said the first time; nothing of it is stored. Series have the numbers
that the store gave them; one that it doesn't know is none.
"""

from __future__ import annotations

from collections.abc import Callable

from appliance.management.arrived import Arrived
from appliance.management.dedup import SeenSequences
from appliance.management.mapping import TopicRouter
from appliance.management.presence import PresenceFold
from appliance.management.readings import ValueKind
from appliance.management.shapes import Shapes
from appliance.management.typed import TypedShapes
from appliance.pipeline.batch import BatchBuilder
from appliance.pipeline.rules import Rules
from storage.log.block import Block
from storage.log.columns import Columns
from storage.telemetry.batch import Cursor, NewestRows, NewSeries
from storage.telemetry.journal import State, decode_state, encode_state, presence_row, window_row
from storage.telemetry.journal import newest_state as packed_newest
from storage.telemetry.series import SeriesCatalog
from storage.telemetry.state import StoreState, Totals, presence_of


class KnownSeries(SeriesCatalog):
    """The store's series, and no new ones."""

    def __init__(self, series: SeriesCatalog) -> None:
        super().__init__()
        self._of = series

    def id_of(self, device: str, metric: str, kind: ValueKind) -> int | None:
        return self._of.known_id(device, metric, kind)

    def take_new(self) -> list[NewSeries]:
        return []


class WatchReplay:
    """Decodes blocks for the watch.

    Args:
        state: As the store's reader has it: only its series are used. reader: Of the checkpoint; b"" begins with nothing.
        shapes, typed: Caches.
    Raises:
        ValueError: `reader` is no such state.
    """

    def __init__(
        self,
        state: StoreState,
        at: Cursor,
        reader: bytes,
        router: TopicRouter,
        shapes: Shapes,
        typed: TypedShapes,
    ) -> None:
        seen, presence = read_reader_state(reader)
        self._state = StoreState(at, Totals(), KnownSeries(state.series), seen, presence, [])
        self._builder = BatchBuilder(self._state, router, shapes, typed)

    def arrived(
        self,
        blocks: list[Block],
        columns: list[Columns],
        before: Cursor,
        is_accepted: Callable[[str], bool],
        rules: Rules,
    ) -> tuple[Arrived, Cursor]:
        """What these blocks bring, and where they end."""
        batch, live = self._builder.build(blocks, columns, before, is_accepted, rules=rules)
        assert live.arrived is not None
        return live.arrived, batch.after

    def reader(self) -> bytes:
        """Windows and presence as of now, for a checkpoint."""
        return reader_state(self._state.seen, self._state.presence)


def reader_state(seen: SeenSequences, presence: PresenceFold) -> bytes:
    """Windows and presence as bytes, about 100 a window and 200 a device."""
    nothing = packed_newest(NewestRows())
    return encode_state(
        State(
            windows=[window_row(window, seen.is_current(window)) for window in seen.all()],
            dropped=[],
            presences=[presence_row(each) for each in presence.all()],
            newest_numbers=nothing,
            newest_texts=nothing,
        )
    )


def read_reader_state(reader: bytes) -> tuple[SeenSequences, PresenceFold]:
    """The windows and the presence that `reader_state` was given; nothing of both for b"".

    Raises:
        ValueError: it is no such state.
    """
    seen, presence = SeenSequences(), PresenceFold()
    if not reader:
        return seen, presence
    state: State = decode_state(reader)
    for device, boot_id, is_current, low, top, floor, newest_ms, used, earlier in sorted(
        state.windows, key=lambda window: window[7]
    ):
        intervals = [*earlier, (low, top)] if top >= 0 else []
        seen.load(device, boot_id, intervals, current=is_current, floor=floor, newest_ms=newest_ms, used=used)
    presence.load(map(presence_of, state.presences))
    return seen, presence
