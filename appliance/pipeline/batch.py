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
from appliance.management.arrived import Arrived
from appliance.management.clock_offset import ClockSample
from appliance.management.decoding import decode_payloads
from appliance.management.envelopes import Opened, open_envelopes
from appliance.management.field_rules import apply_fields
from appliance.management.formats import decode_messages
from appliance.management.mapping import TopicRouter
from appliance.management.messages import Messages
from appliance.management.presence import DevicePresence
from appliance.management.readings import Quality
from appliance.management.shapes import Shapes
from appliance.management.typed import TypedShapes
from appliance.pipeline.arrived import arrived_of
from appliance.pipeline.clocks import absurd_samples, clock_samples
from appliance.pipeline.dead_letters import Boots, boots_then, dead_letters, without_sequences
from appliance.pipeline.duplicates import Pass, needs_order, only, without_duplicates
from appliance.pipeline.kept_messages import KeptMessage
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
from appliance.pipeline.rules import Rules
from appliance.pipeline.traces import TracedBatch, traced_batch
from storage.log.block import Block
from storage.log.columns import Columns
from storage.telemetry.batch import Counts, Cursor, StoreBatch
from storage.telemetry.state import StoreState

_LAG_SAMPLES_PER_GROUP: int = 64


@dataclass(slots=True)
class LiveUpdate:
    """What the live view learns when a batch is committed.

    Attributes:
        last: The newest points, by shape. presences: Devices whose presence a record touched.
        messages: Readings messages. ages: (time that counts, UTC ms; messages it stands for), a sample.
        clocks: What the messages say of their devices' clocks.
        arrived: What rules and anomalies are shown; None once they were, or where they are not.
        traced: Messages that are traced; None for none.
    """

    last: list[LastPoints] = field(default_factory=list)
    presences: list[DevicePresence] = field(default_factory=list)
    messages: int = 0
    ages: list[tuple[int, int]] = field(default_factory=list)
    arrivals: list[tuple[int, int]] = field(default_factory=list)
    clocks: list[ClockSample] = field(default_factory=list)
    arrived: Arrived | None = None
    traced: TracedBatch | None = None


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

    def read_as(self, router: TopicRouter) -> None:
        """Read what comes from now on by this set of mappings."""
        self._router = router

    def build(
        self,
        blocks: Sequence[Block],
        columns: Sequence[Columns],
        before: Cursor,
        is_accepted: Callable[[str], bool],
        which: Pass = Pass.IN_ORDER,
        rules: Rules | None = None,
        again: Sequence[KeptMessage] | None = None,
    ) -> tuple[StoreBatch, LiveUpdate]:
        """Decode blocks. See `_build`; with the garbage collector off meanwhile.

        A batch makes tens of thousands of objects and no cycles; looking through them took half of the build.
        """
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            return self._build(
                blocks, columns, before, is_accepted, which, rules or Rules(self._router), again
            )
        finally:
            if was_enabled:
                gc.enable()

    def _build(
        self,
        blocks: Sequence[Block],
        columns: Sequence[Columns],
        before: Cursor,
        is_accepted: Callable[[str], bool],
        which: Pass,
        rules: Rules,
        again: Sequence[KeptMessage] | None,
    ) -> tuple[StoreBatch, LiveUpdate]:
        """Decode blocks.

        Args:
            blocks, columns: At least one block, consecutive, `columns[i]` is `blocks[i]` decoded.
            before: Where the store is: the first block's first sequence.
            is_accepted: Whether a device's records are kept.
            which: In which order these records are read. rules: What holds for all of them.
            again: Records that were refused before and are read again, each in a block of its own.
        """
        records = BatchRecords(blocks, columns)
        state, is_ahead = self._state, which is Pass.AHEAD
        presence = state.live_presence if is_ahead else state.presence
        state.seen.read_from(blocks[0].first_seq)
        gathered = gather(records, rules, presence, None if is_ahead else state.seen, is_accepted)
        if again is not None:
            devices = [rules.router.route(each.topics[0]).device for each in columns]
            gathered.boots = boots_then(state.seen, devices, [each.boot_id for each in again])
        messages = gathered.messages
        opened = self._open(messages)
        groups, refusals = opened.groups, opened.refusals
        left = needs_order(groups, rules.held) if which is not Pass.IN_ORDER else None
        if left is not None:
            groups = only(groups, left, wanted=not is_ahead)
        if which is Pass.SECOND:
            # Said when they were read ahead.
            gathered.refusals, opened.nulls_skipped, opened.clocks_absurd = {}, 0, 0
            refusals.clear()
        if again is not None:
            groups = without_sequences(groups, messages.records, [each.is_noted for each in again])
        groups, duplicates = without_duplicates(state.seen, groups, gathered, refusals)
        unnoted = {int(messages.records[index]) for index in refusals}.union(gathered.refusals)
        shaped = self._shapes.shape(groups)
        refusals.update(shaped.refusals)
        named, refused = apply_fields(shaped.groups)
        refusals.update(refused)
        resolved, refused = resolve(named, self._plans)
        refusals.update(refused)
        gathered.refusals.update((int(messages.records[index]), each) for index, each in refusals.items())
        _settle(records, gathered, resolved, duplicates)
        if left is not None:
            _set_apart(records, messages.records[left], which)

        last = blocks[-1]
        newest_arrival = max(block.last_time_ms for block in blocks)
        if again is not None:
            newest_arrival = max(newest_arrival, before.watermark_ms)
        batch = StoreBatch(
            before=before,
            after=Cursor(last.epoch, last.next_seq, last.hash, max(before.watermark_ms, newest_arrival)),
            counts=Counts(),
            blocks=records.fate_counts(),
        )
        rows = add_rows(batch, resolved, newest_arrival, rules.archived)
        _mark_kept_copies(gathered, resolved)
        where = [last_positions(item.group) for item in resolved]
        live = LiveUpdate(
            last=[last_points(item.group, at) for item, at in zip(resolved, where, strict=True)]
        )
        add_newest(batch, resolved, where)
        batch.dead_letters = dead_letters(
            records,
            gathered.refusals,
            rules.router,
            None if is_ahead else Boots(gathered.boots, state.seen),
            unnoted.difference(at for at, each in enumerate(again or ()) if each.is_noted),
        )
        batch.new_series = self._state.series.take_new()
        windows, batch.windows_dropped = self._state.seen.take_changes()
        batch.windows = [(window, self._state.seen.is_current(window)) for window in windows]
        live.arrived = arrived_of(
            resolved,
            presence.take_steps(),
            gathered.broker_starts,
            gathered.heard,
            gathered.newest_own_ms,
        )
        batch.presences = live.presences = presence.take_changes()
        batch.counts = Counts(
            records=records.count,
            readings=records.count_of(Fate.READING),
            duplicates=records.count_of(Fate.DUPLICATE),
            dead_letters=records.count_of(Fate.DEAD_LETTER),
            sessions=records.count_of(Fate.SESSION),
            statuses=records.count_of(Fate.STATUS),
            unmapped=records.count_of(Fate.UNMAPPED),
            others=records.count_of(Fate.OTHER),
            apart=records.count_of(Fate.APART),
            rows=rows,
            nulls=opened.nulls_skipped + shaped.nulls_skipped,
            clocks_absurd=opened.clocks_absurd,
        )
        live.messages = batch.counts.readings
        _sample_ages(resolved, live)
        live.clocks = gathered.clocks + clock_samples(resolved)
        live.clocks += absurd_samples(messages, opened.absurd, gathered.kept_copies)
        if which is not Pass.SECOND and again is None:
            live.traced = traced_batch(records, messages, resolved, rules.router)
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
        if messages.is_json_only:
            documents, refusals = decode_payloads(payloads)
        else:
            documents, refusals = decode_messages(payloads, each, received)
        self._typed.learn(each, documents)
        opened.refusals.update((int(index[at]), refusal) for at, refusal in refusals.items())
        open_envelopes(documents, routes, received, opened, index)
        return opened


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


def _set_apart(records: BatchRecords, left: I64, which: Pass) -> None:
    """What the other reading of the same records takes is not counted in this one."""
    if which is Pass.AHEAD:
        records.fates[left] = Fate.APART
        return
    is_ours = np.zeros(records.count, np.bool_)
    is_ours[left] = True
    records.fates[~is_ours] = Fate.APART


def _mark_kept_copies(gathered: Gathered, resolved: Sequence[Resolved]) -> None:
    """Negate the arrival of what may be copies that another broker kept: from here on it only says how fresh a value is."""
    if not len(gathered.kept_copies):
        return
    is_copy = np.isin(gathered.messages.records, gathered.kept_copies)
    for item in resolved:
        received = item.group.received
        item.group.received = np.where(is_copy[item.group.index], -received, received)


def _sample_ages(resolved: Sequence[Resolved], live: LiveUpdate) -> None:
    """Times for the lag: of up to 64 points per group, evenly, each standing for its share; not of kept copies."""
    for item in resolved:
        group = item.group
        count = len(group)
        step = max(1, count // _LAG_SAMPLES_PER_GROUP)
        received = group.received[::step]
        observed = np.where(group.quality[::step] == Quality.GOOD, group.observed[::step], received)
        weights = [min(step, count - at) for at in range(0, count, step)]
        weights = [
            weight if at_ms >= 0 else 0 for at_ms, weight in zip(received.tolist(), weights, strict=True)
        ]
        live.ages += zip(observed.tolist(), weights, strict=True)
        live.arrivals += zip(received.tolist(), weights, strict=True)
