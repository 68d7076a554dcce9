"""Blocks in, one transaction out: every record of them is a row, a recognised non-reading, or a dead letter.

Runs in the pipeline's thread. The state it goes on from (series, dedup windows, presence) is changed in place while a
batch is built. A batch is built once and committed until it succeeds; when it is given up, the state is read from the
store again (Pipeline), never patched.
"""

from __future__ import annotations

import gc
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, chain

from appliance.core.limits import DEAD_LETTER_BATCH_BYTES_MAX, DEAD_LETTER_PAYLOAD_BYTES_MAX
from appliance.management.decoding import REFUSED, decode_payloads, decode_text
from appliance.management.dedup import Verdict, Window
from appliance.management.envelopes import Opened, Points, open_envelopes, take
from appliance.management.mapping import TopicRouter
from appliance.management.presence import DevicePresence
from appliance.management.readings import Quality, Reason, Refusal
from appliance.management.shapes import Shapes
from appliance.management.typed import TypedShapes
from appliance.pipeline.records import BatchRecords, Fate, Gathered, Messages, gather, windows_at
from appliance.pipeline.rows import LastPoints, Plans, Resolved, add_newest, add_rows, last_points, resolve
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
        gathered.refusals.update((messages.records[index], refusal) for index, refusal in refusals.items())
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
        live = LiveUpdate(last=[last_points(item.group) for item in resolved])
        add_newest(batch, live.last, lambda points: self._plans.plan(points.keys, points.kinds))
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
        routes, received, payloads = messages.routes, messages.received, messages.payloads
        index = self._typed.read(payloads, routes, received, opened)
        if not index:
            return opened
        if len(index) != len(payloads):
            routes, received, payloads = take(routes, index), take(received, index), take(payloads, index)
        documents, refusals = decode_payloads(payloads)
        for at, route in enumerate(routes) if messages.has_text else ():
            if route.format == "text":
                refusals.pop(at, None)
                value = decode_text(payloads[at])
                if isinstance(value, Refusal):
                    refusals[at], documents[at] = value, REFUSED
                else:
                    documents[at] = value
        self._typed.learn(routes, documents)
        opened.refusals.update((index[at], refusal) for at, refusal in refusals.items())
        open_envelopes(documents, routes, received, opened, index)
        return opened

    def _see(self, groups: Sequence[Points], gathered: Gathered) -> list[dict[int, Verdict]]:
        """Take note of all `seq` in the order of the log, whatever groups they are in; for each group what isn't new.

        The order matters: one group after the other, a device that alternates between two shapes would leave a gap per
        reading, more than a window can hold.
        """
        seen, records = self._state.seen, gathered.messages.records
        windows: list[Window] = []
        for points in groups:
            devices = [route.device for route in points.routes]
            found = seen.windows(devices, points.boot_ids)
            if points.boot_ids is None and gathered.boots:
                windows_at(found, take(records, points.index), devices, gathered)
            windows.extend(found)
        if len(groups) == 1:
            return [seen.see_all(windows, groups[0].seqs or (), groups[0].observed)]
        index = list(chain.from_iterable(points.index for points in groups))
        seqs = list(chain.from_iterable(points.seqs or () for points in groups))
        observed = list(chain.from_iterable(points.observed for points in groups))
        order = sorted(range(len(index)), key=index.__getitem__)
        verdicts = seen.see_all(take(windows, order), take(seqs, order), take(observed, order))
        return _by_group(verdicts, order, list(map(len, groups)))

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
            points.index[at]
            for points, found in zip(numbered, verdicts, strict=True)
            for at, verdict in found.items()
            if verdict is Verdict.TOO_OLD
        }
        refusals.update((index, Refusal(Reason.SEQ_TOO_OLD)) for index in too_old)
        kept = [points for points in groups if points.seqs is None]
        for points, found in zip(numbered, verdicts, strict=True):
            duplicates.update(points.index[at] for at in found)
            kept.append(points.keep([at not in found for at in range(len(points))]) if found else points)
        if too_old:
            kept = [points.keep([index not in too_old for index in points.index]) for points in kept]
        return kept, duplicates


def _by_group(
    verdicts: dict[int, Verdict], order: Sequence[int], sizes: Sequence[int]
) -> list[dict[int, Verdict]]:
    """Verdicts by position in the merged order, back to positions in each group."""
    found: list[dict[int, Verdict]] = [{} for _ in sizes]
    starts = list(accumulate(sizes, initial=0))
    for position, verdict in verdicts.items():
        at = order[position]
        group = bisect_right(starts, at) - 1
        found[group][at - starts[group]] = verdict
    return found


def _settle(
    records: BatchRecords, gathered: Gathered, resolved: Sequence[Resolved], duplicates: set[int]
) -> None:
    """Give each message its fate, from what was really made of it: rows first, then refusals, then duplicates.

    Nothing is concluded from what is left over: a message that got lost on the way keeps Fate.NONE, and the store
    refuses the batch.
    """
    fates = records.fates
    record_of = gathered.messages.records.__getitem__
    for item in resolved:
        if isinstance(item.group.index, range) and len(item.group.index) == len(fates):
            fates[:] = bytes((Fate.READING,)) * len(fates)
            continue
        for record in map(record_of, item.group.index):
            fates[record] = Fate.READING
    for record in gathered.refusals:
        if fates[record] == Fate.NONE:
            fates[record] = Fate.DEAD_LETTER
    for index in duplicates:
        if fates[record_of(index)] == Fate.NONE:
            fates[record_of(index)] = Fate.DUPLICATE


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
        step = max(1, len(group) // _LAG_SAMPLES_PER_GROUP)
        for at in range(0, len(group), step):
            weight = min(step, len(group) - at)
            received = group.received[at]
            observed = group.observed[at] if group.quality[at] == Quality.GOOD else received
            live.ages.append((observed, weight))
            live.arrivals.append((received, weight))
