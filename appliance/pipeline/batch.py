"""Blocks in, one transaction out: every record of them is a row, a recognised non-reading, or a dead letter.

Runs in the pipeline's thread. The state it goes on from (series, dedup windows, presence) is changed in place while a
batch is built. A batch is built once and committed until it succeeds; when it is given up, the state is read from the
store again (Pipeline), never patched.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from appliance.core.arrays import I64
from appliance.core.limits import DEAD_LETTER_BATCH_BYTES_MAX, DEAD_LETTER_PAYLOAD_BYTES_MAX
from appliance.management.decoding import REFUSED, decode_payloads, decode_text
from appliance.management.dedup import Verdict, Window
from appliance.management.envelopes import Opened, Points, mask_without, open_envelopes
from appliance.management.mapping import TopicRouter
from appliance.management.messages import Messages
from appliance.management.presence import DevicePresence
from appliance.management.readings import Quality, Reason, Refusal
from appliance.management.shapes import Shapes
from appliance.management.typed import TypedShapes
from appliance.pipeline.records import BatchRecords, Fate, Gathered, gather
from appliance.pipeline.rows import (
    LastPoints,
    Plans,
    Resolved,
    add_newest,
    add_rows,
    last_points,
    last_positions,
    resolve,
)
from storage.log.block import Block
from storage.log.columns import Columns
from storage.telemetry.batch import Counts, Cursor, DeadLetter, StoreBatch
from storage.telemetry.state import StoreState

_LAG_SAMPLES_PER_GROUP: int = 64


@dataclass(slots=True)
class LiveUpdate:
    """What the live view learns when a batch is committed.

    Attributes:
        last: The newest points, by shape. presences: Devices whose presence a record touched.
        messages: Readings messages. ages: (time that counts, UTC ms; messages it stands for), a sample.
    """

    last: list[LastPoints] = field(default_factory=list)
    presences: list[DevicePresence] = field(default_factory=list)
    messages: int = 0
    ages: list[tuple[int, int]] = field(default_factory=list)
    arrivals: list[tuple[int, int]] = field(default_factory=list)


class BatchBuilder:
    """Builds batches one after the other from a state of the store.

    Args:
        state: As the store has it; owned by the builder from here on.
        router, shapes, typed: The topic mappings and what is known of payloads. Caches only: they outlive the builder.
    """

    def __init__(self, state: StoreState, router: TopicRouter, shapes: Shapes, typed: TypedShapes) -> None:
        self._state = state
        self._router = router
        self._shapes = shapes
        self._typed = typed
        self._plans = Plans(state.series)

    def build(
        self,
        blocks: Sequence[Block],
        columns: Sequence[Columns],
        before: Cursor,
        is_accepted: Callable[[str], bool],
    ) -> tuple[StoreBatch, LiveUpdate]:
        """Decode blocks. See `_build`; with the garbage collector off meanwhile.

        A batch makes tens of thousands of objects and no cycles; looking through them took half of the build.
        """
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            return self._build(blocks, columns, before, is_accepted)
        finally:
            if was_enabled:
                gc.enable()

    def _build(
        self,
        blocks: Sequence[Block],
        columns: Sequence[Columns],
        before: Cursor,
        is_accepted: Callable[[str], bool],
    ) -> tuple[StoreBatch, LiveUpdate]:
        """Decode blocks.

        Args:
            blocks, columns: At least one block, consecutive, `columns[i]` is `blocks[i]` decoded.
            before: Where the store is: the first block's first sequence.
            is_accepted: Whether a device's records are kept.
        """
        records = BatchRecords(blocks, columns)
        gathered = gather(records, self._router, self._state.presence, self._state.seen, is_accepted)
        messages = gathered.messages
        opened = self._open(messages)
        refusals = opened.refusals
        groups, duplicates = self._without_duplicates(opened.groups, gathered, refusals)
        shaped = self._shapes.shape(groups)
        refusals.update(shaped.refusals)
        resolved, refused = resolve(shaped.groups, self._plans)
        refusals.update(refused)
        gathered.refusals.update((int(messages.records[index]), each) for index, each in refusals.items())
        _settle(records, gathered, resolved, duplicates)

        last = blocks[-1]
        newest_arrival = max(block.last_time_ms for block in blocks)
        batch = StoreBatch(
            before=before,
            after=Cursor(last.epoch, last.next_seq, last.hash, max(before.watermark_ms, newest_arrival)),
            counts=Counts(),
            blocks=records.fate_counts(),
        )
        rows = add_rows(batch, resolved, newest_arrival)
        where = [last_positions(item.group) for item in resolved]
        live = LiveUpdate(
            last=[last_points(item.group, at) for item, at in zip(resolved, where, strict=True)]
        )
        add_newest(batch, resolved, where)
        batch.dead_letters = _dead_letters(records, gathered.refusals, self._router)
        batch.new_series = self._state.series.take_new()
        windows, batch.windows_dropped = self._state.seen.take_changes()
        batch.windows = [(window, self._state.seen.is_current(window)) for window in windows]
        batch.presences = live.presences = self._state.presence.take_changes()
        batch.counts = Counts(
            records=records.count,
            readings=records.count_of(Fate.READING),
            duplicates=records.count_of(Fate.DUPLICATE),
            dead_letters=records.count_of(Fate.DEAD_LETTER),
            sessions=records.count_of(Fate.SESSION),
            statuses=records.count_of(Fate.STATUS),
            unmapped=records.count_of(Fate.UNMAPPED),
            others=records.count_of(Fate.OTHER),
            rows=rows,
            nulls=opened.nulls_skipped + shaped.nulls_skipped,
            clocks_absurd=opened.clocks_absurd,
        )
        live.messages = batch.counts.readings
        _sample_ages(resolved, live)
        return batch, live

    def _open(self, messages: Messages) -> Opened:
        """Read all messages: by the typed shape of their topic, or the general way."""
        opened = Opened()
        index = self._typed.read(messages, opened)
        if not len(index):
            return opened
        routes, received, payloads = (
            messages.routes.take(index),
            messages.received[index],
            messages.payloads(index),
        )
        each = routes.each()
        documents, refusals = decode_payloads(payloads)
        for at, route in enumerate(each) if messages.has_text else ():
            if route.format == "text":
                refusals.pop(at, None)
                value = decode_text(payloads[at])
                if isinstance(value, Refusal):
                    refusals[at], documents[at] = value, REFUSED
                else:
                    documents[at] = value
        self._typed.learn(each, documents)
        opened.refusals.update((int(index[at]), refusal) for at, refusal in refusals.items())
        open_envelopes(documents, routes, received, opened, index)
        return opened

    def _windows(self, points: Points, gathered: Gathered) -> tuple[list[Window], I64]:
        """The window of each point: of the boot that it names, or of the one that its device was in."""
        if points.boot_ids is not None:
            devices = [route.device for route in points.routes.each()]
            return self._state.seen.windows(devices, points.boot_ids)
        table = points.routes.table
        numbers: dict[str, int] = {}
        of_route = np.zeros(len(table), np.int64)
        for number in points.routes.present().tolist():
            of_route[number] = numbers.setdefault(table[number].device, len(numbers))
        windows = list(map(self._state.seen.window_now, numbers))
        at = of_route[points.routes.at]
        records = gathered.messages.records[points.index]
        # Readings that came before a status named another boot belong to the one before.
        for device in gathered.boots.keys() & numbers.keys():
            mine = np.flatnonzero(at == numbers[device])
            for record, before in reversed(gathered.boots[device]):
                at[mine[records[mine] < record]] = len(windows)
                windows.append(before)
        return _distinct(windows, at)

    def _see(self, groups: Sequence[Points], gathered: Gathered) -> list[dict[int, Verdict]]:
        """Take note of all `seq` in the order of the log, whatever groups they are in; for each group what isn't new.

        The order matters: one group after the other, a device that alternates between two shapes would leave a gap per
        reading, more than a window can hold.
        """
        windows: list[Window] = []
        at: list[I64] = []
        for points in groups:
            mine, positions = self._windows(points, gathered)
            at.append(positions + len(windows))
            windows.extend(mine)
        seqs = np.concatenate([points.seqs for points in groups if points.seqs is not None])
        observed = np.concatenate([points.observed for points in groups])
        index = np.concatenate([points.index for points in groups])
        order = np.argsort(index, kind="stable")
        windows, which = _distinct(windows, np.concatenate(at))
        verdicts = self._state.seen.see_all(windows, which[order], seqs[order], observed[order])
        return _by_group(verdicts, order, [len(points) for points in groups])

    def _without_duplicates(
        self, groups: Sequence[Points], gathered: Gathered, refusals: dict[int, Refusal]
    ) -> tuple[list[Points], set[int]]:
        """Leave out what was seen; a `seq` too old to tell refuses its message.

        Returns:
            The points that are new, and the indexes of messages that had one that isn't.
        """
        duplicates: set[int] = set()
        numbered = [points for points in groups if points.seqs is not None]
        if not numbered:
            return list(groups), duplicates
        verdicts = self._see(numbered, gathered)
        too_old = {
            int(points.index[at])
            for points, found in zip(numbered, verdicts, strict=True)
            for at, verdict in found.items()
            if verdict is Verdict.TOO_OLD
        }
        refusals.update((index, Refusal(Reason.SEQ_TOO_OLD)) for index in too_old)
        kept = [points for points in groups if points.seqs is None]
        for points, found in zip(numbered, verdicts, strict=True):
            duplicates.update(points.index[list(found)].tolist())
            kept.append(points.keep(mask_without(len(points), found)) if found else points)
        if too_old:
            kept = [points.keep(~np.isin(points.index, list(too_old))) for points in kept]
        return kept, duplicates


def _distinct(windows: Sequence[Window], at: I64) -> tuple[list[Window], I64]:
    """Each window once, and the indexes into them."""
    numbers: dict[Window, int] = {}
    new = np.array([numbers.setdefault(window, len(numbers)) for window in windows], np.int64)
    return list(numbers), new[at]


def _by_group(verdicts: dict[int, Verdict], order: I64, sizes: Sequence[int]) -> list[dict[int, Verdict]]:
    """Verdicts by position in the merged order, back to positions in each group."""
    found: list[dict[int, Verdict]] = [{} for _ in sizes]
    starts = np.concatenate(([0], np.cumsum(sizes)))
    for position, verdict in verdicts.items():
        at = int(order[position])
        group = int(np.searchsorted(starts, at, side="right")) - 1
        found[group][at - int(starts[group])] = verdict
    return found


def _settle(
    records: BatchRecords, gathered: Gathered, resolved: Sequence[Resolved], duplicates: set[int]
) -> None:
    """Give each message its fate, from what was really made of it: rows first, then refusals, then duplicates.

    Nothing is concluded from what is left over: a message that got lost on the way keeps Fate.NONE, and the store
    refuses the batch.
    """
    fates, record_of = records.fates, gathered.messages.records
    for item in resolved:
        fates[record_of[item.group.index]] = Fate.READING
    for record in gathered.refusals:
        if fates[record] == Fate.NONE:
            fates[record] = Fate.DEAD_LETTER
    for index in duplicates:
        if fates[record_of[index]] == Fate.NONE:
            fates[record_of[index]] = Fate.DUPLICATE


def _dead_letters(
    records: BatchRecords, refusals: dict[int, Refusal], router: TopicRouter
) -> list[DeadLetter]:
    letters: list[DeadLetter] = []
    budget_bytes = DEAD_LETTER_BATCH_BYTES_MAX
    for record in sorted(refusals):
        reason, detail = refusals[record]
        block, columns, at = records.place(record)
        payload = columns.payload(at)
        kept: bytes | None = payload[:DEAD_LETTER_PAYLOAD_BYTES_MAX]
        budget_bytes -= len(kept or b"")
        if budget_bytes < 0:
            kept = None
        client_id, principal = columns.clients[columns.client_index[at]]
        topic = columns.topics[columns.topic_index[at]]
        letters.append(
            DeadLetter(
                epoch=block.epoch,
                seq=block.first_seq + at,
                received_at_ms=block.first_time_ms + columns.received_delta_ms[at],
                device=router.route(topic).device or principal,
                topic=topic.decode("utf-8", "replace"),
                client_id=client_id,
                reason=reason.value,
                detail=detail,
                payload=kept,
                payload_bytes=len(payload),
            )
        )
    return letters


def _sample_ages(resolved: Sequence[Resolved], live: LiveUpdate) -> None:
    """Times for the lag: of up to 64 points per group, evenly, each standing for its share."""
    for item in resolved:
        group = item.group
        count = len(group)
        step = max(1, count // _LAG_SAMPLES_PER_GROUP)
        received = group.received[::step]
        observed = np.where(group.quality[::step] == Quality.GOOD, group.observed[::step], received)
        weights = [min(step, count - at) for at in range(0, count, step)]
        live.ages += zip(observed.tolist(), weights, strict=True)
        live.arrivals += zip(received.tolist(), weights, strict=True)
