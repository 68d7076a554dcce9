"""What is held here, on its way to the tier: which stream goes to which region, when, and in what order. Pure.

Theory of operation: each stream has a lane to each region, which knows how far the region is and puts the piece that begins there; a piece
that was put is the region's word, told to gossip. What is new goes to the live region within `pace_ms` (later where another failure
domain has it already), the other regions are filled behind it. While the live one doesn't answer, the others get what is new at once,
and after a while one of them is the live one (regions.py). What a region should have and this box keeps no longer is copied from another
region. A lane has one step under way, so pieces follow each other, and an audit beside it; a region that fails is tried by one lane at a time, ever more rarely.

Every method takes the monotonic time in ms and returns the steps to be done; steps.py says how outcomes come back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from replication.effects import Place
from replication.randomness import Randomness
from replication.tier.budget import Budget
from replication.tier.lanes import Lane, Source
from replication.tier.pieces import PieceName
from replication.tier.regions import Regions, RegionState
from replication.tier.steps import (
    EMPTY,
    Audit,
    Audited,
    Failed,
    FindEnd,
    Gone,
    Nothing,
    Outcome,
    Parted,
    Refused,
    Ship,
    Shipped,
    Step,
    Tell,
)
from replication.tier.views import Counts, LaneView
from storage.replicas.streams import StreamHead, StreamId

FILL_PACE_MS: Final = 60_000
"""What a region that isn't live waits for, and the live one where another failure domain has it already: fewer, larger pieces."""
LAG_MS: Final = 2 * FILL_PACE_MS
"""A region that lacks what is older isn't only filled behind: it isn't made the live one."""
LATE_MS: Final = 30_000
"""Another node's stream is shipped from here when the tier lacks for so long what is held here."""
LOOK_MS: Final = 60_000
"""How often a region is asked how far it has a stream."""
RETRY_MIN_MS, RETRY_MAX_MS = 1_000, 30_000
STEP_COUNT_MAX: Final = 4
"""Under way to one region."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShippingOptions:
    """How it is shipped.

    Args:
        pace_ms: What is new waits for so long to become one piece.
        is_filling: Regions that aren't live are filled, too; else only while the live one is away.
        bytes_per_s: Of all that goes out; 0 for no bound.
        audit_ms: How often a region's whole listing is looked at; 0 for never.
    """

    pace_ms: int = 5_000
    is_filling: bool = True
    bytes_per_s: int = 0
    audit_ms: int = 86_400_000


class Shipping:
    """See the module.

    Args:
        regions: In order of preference.
        rng: All randomness there is.
    """

    def __init__(
        self, regions: Sequence[str], rng: Randomness, now_ms: int, options: ShippingOptions | None = None
    ) -> None:
        self.options = options or ShippingOptions()
        self.regions = Regions(regions)
        self._rng = rng
        self._sources: dict[StreamId, Source] = {}
        self._lanes: dict[tuple[str, StreamId], Lane] = {}
        self._steps: dict[int, tuple[Lane, int]] = {}
        """Under way: whose, and since when."""
        self._number = 0
        self._retry_at_ms: dict[str, int] = dict.fromkeys(regions, 0)
        self._retry_ms: dict[str, int] = dict.fromkeys(regions, RETRY_MIN_MS)
        self.budget = Budget(self.options.bytes_per_s, now_ms)
        self.counts: dict[str, Counts] = {name: Counts() for name in regions}

    # --- What happens here ------------------------------------------------------------------------------------

    def holds(self, stream: StreamId, head: StreamHead, now_ms: int, *, is_own: bool) -> list[Step]:
        """A stream is held here, durably, up to `head`."""
        source = self._sources.get(stream)
        if source is None:
            source = self._sources[stream] = Source(stream, head, is_own)
            for state in self.regions.states:
                lane = self._lanes[(state.name, stream)] = Lane(state.name, source)
                if self.options.audit_ms:
                    lane.audit_at_ms = now_ms + self._rng.randrange(self.options.audit_ms)
        source.grew(head, now_ms)
        return self.tick(now_ms)

    def drops(self, stream: StreamId) -> None:
        """A stream isn't held here any more."""
        if self._sources.pop(stream, None) is not None:
            for state in self.regions.states:
                del self._lanes[(state.name, stream)]

    def is_safe(self, stream: StreamId, safe_seq: int) -> None:
        """Nodes in another failure domain have a stream up to a sequence: it may wait for longer."""
        if stream in self._sources:
            self._sources[stream].safe_seq = safe_seq

    def told(self, region: str, stream: StreamId, head: StreamHead, now_ms: int) -> None:
        """Somebody else says that a region has a stream up to here."""
        lane = self._lanes.get((region, stream))
        if lane is not None and head.place > lane.told:
            lane.told = head.place
            if lane.end is not None and head.place > (lane.end.epoch, lane.end.next_seq):
                lane.look_at_ms = now_ms

    def found(self, step: FindEnd, outcome: PieceName | Failed | None, now_ms: int) -> list[Step]:
        """The answer to a FindEnd."""
        lane = self._ended(step, outcome, now_ms)
        if lane is None:
            return self.tick(now_ms)
        if isinstance(outcome, Failed):
            self._failed(lane, outcome, now_ms)
            return self.tick(now_ms)
        lane.look_at_ms = now_ms + LOOK_MS
        out: list[Step] = []
        is_known = lane.end is not None
        lane.end = _end_of(outcome)
        place = (lane.end.epoch, lane.end.next_seq)
        if place != lane.said:
            lane.nothing_at, lane.is_cut = None, not is_known
            out.append(self._tell(lane, _head_of(lane.end), now_ms))
        return out + self.tick(now_ms)

    def shipped(self, step: Ship, outcome: Outcome, now_ms: int) -> list[Step]:
        """The answer to a Ship."""
        lane = self._ended(step, outcome, now_ms)
        if lane is None:
            return self.tick(now_ms)
        out: list[Step] = []
        counts = self.counts[lane.region]
        match outcome:
            case Failed():
                self._failed(lane, outcome, now_ms)
            case Shipped():
                lane.end, lane.is_cut, lane.fill_from = _end_of(outcome.name), outcome.is_cut, None
                lane.nothing_at, lane.is_parted, lane.problem = None, False, ""
                lane.measure(now_ms - lane.began_ms, is_cut=outcome.is_cut)
                lane.gap_count += step.skips_gap
                counts.pieces += 1
                counts.bytes += outcome.sent_bytes
                self.budget.spend(outcome.sent_bytes, now_ms)
                out.append(self._tell(lane, outcome.name.head, now_ms))
            case Refused():
                counts.fenced += 1
                lane.end, lane.is_cut = None, False
                if outcome.last is not None:
                    lane.end = _end_of(outcome.last)
                    out.append(self._tell(lane, outcome.last.head, now_ms))
            case Nothing():
                lane.nothing_at, lane.is_cut = lane.source.head.place, False
            case Parted():
                lane.is_parted, lane.nothing_at = True, lane.source.head.place
                lane.problem = "another history of this stream is there"
            case Gone():
                self._gone(lane, step, now_ms)
        return out + self.tick(now_ms)

    def audited(self, step: Audit, outcome: Audited | Failed, now_ms: int) -> list[Step]:
        """The answer to an Audit."""
        lane = self._ended(step, outcome, now_ms)
        if lane is None:
            return self.tick(now_ms)
        if isinstance(outcome, Failed):
            self._failed(lane, outcome, now_ms)
        else:
            counts = self.counts[lane.region]
            counts.audits += 1
            counts.mended += outcome.mended_count
            counts.lost += outcome.lost_count
            lane.audit_at_ms = now_ms + self.options.audit_ms
            if outcome.lost_count:
                lane.problem = f"{outcome.lost_count} records from {outcome.lost_first_seq} on are lost there"
        return self.tick(now_ms)

    # --- Time -------------------------------------------------------------------------------------------------

    def next_at_ms(self, now_ms: int) -> int | None:
        """When `tick` has something to do."""
        full = {state.name for state in self.regions.states if self._is_full(state.name)}
        times = [
            due_ms
            for lane in self._idle()
            if lane.region not in full and (due_ms := self._due_ms(lane, now_ms)) is not None
        ]
        doubt_ms = self.regions.next_at_ms(now_ms)
        if doubt_ms is not None:
            times.append(doubt_ms)
        return max(now_ms, min(times)) if times else None

    def tick(self, now_ms: int) -> list[Step]:
        """Time has come for something; harmless at any other time."""
        self.regions.choose(now_ms)
        self.budget.refill(now_ms)
        for state in self.regions.states:
            # Of others' streams it isn't asked, and somebody else ships them.
            state.lags = any(
                lane.end is None or lane.is_cut or lane.lag_ms(now_ms) > LAG_MS
                for (name, _), lane in self._lanes.items()
                if name == state.name and lane.source.is_own
            )
        due = [
            (due_ms, lane)
            for lane in self._idle()
            if (due_ms := self._due_ms(lane, now_ms)) is not None and due_ms <= now_ms
        ]
        # What is new of the live region first, then what waited longest.
        due.sort(key=lambda each: (each[1].region != self.regions.live, each[1].is_cut, each[0]))
        return [step for _, lane in due if (step := self._step(lane, now_ms)) is not None]

    def views(self, now_ms: int) -> Iterator[LaneView]:
        """All lanes."""
        for (region, stream), lane in self._lanes.items():
            yield LaneView(
                region=region,
                stream=stream,
                is_known=lane.end is not None,
                lacks=lane.lacks,
                lag_ms=lane.lag_ms(now_ms),
                gap_count=lane.gap_count,
                problem=lane.problem,
            )

    @property
    def states(self) -> list[RegionState]:
        """The regions, in order of preference."""
        return self.regions.states

    # --- Inside -----------------------------------------------------------------------------------------------

    def _is_full(self, region: str) -> bool:
        """Whether as much is under way to a region as may be."""
        under_way = sum(1 for lane, _ in self._steps.values() if lane.region == region)
        return under_way >= (1 if self.regions[region].reason else STEP_COUNT_MAX)

    def _tell(self, lane: Lane, head: StreamHead, now_ms: int) -> Tell:
        is_less = head.place < lane.said
        if is_less:
            # It lost its end. What else it lost is not waited for until the next audit is due.
            self.counts[lane.region].lost_ends += 1
            lane.audit_at_ms = now_ms
        lane.said = head.place
        return Tell(region=lane.region, stream=lane.source.stream, head=head, is_less=is_less)

    def _idle(self) -> Iterator[Lane]:
        return (lane for lane in self._lanes.values() if not lane.busy)

    def _pace_ms(self, lane: Lane, now_ms: int) -> int | None:
        """How long what is new may wait; None where it is not to be shipped on this lane now."""
        live = self.regions.live
        if lane.region == live or self.regions.is_doubtful(live, now_ms):
            return self.options.pace_ms
        # One that is to be the live one again gets what it missed first: else all that is new would wait behind that.
        names = [state.name for state in self.regions.states]
        is_preferred = names.index(lane.region) < names.index(live)
        return FILL_PACE_MS if self.options.is_filling or is_preferred else None

    def _due_ms(self, lane: Lane, now_ms: int) -> int | None:
        retry_ms = self._retry_at_ms[lane.region]
        ship_ms = self._ship_ms(lane, now_ms)
        if not lane.source.is_own:
            return None if ship_ms is None else max(retry_ms, ship_ms)
        if lane.end is None:
            return retry_ms
        times = [lane.look_at_ms]
        if self.options.audit_ms and not lane.audit:
            times.append(lane.audit_at_ms)
        if ship_ms is not None:
            times.append(ship_ms)
        return max(retry_ms, min(times))

    def _ship_ms(self, lane: Lane, now_ms: int) -> int | None:
        """When the next piece is to go; None where none is, or it isn't known where it would begin."""
        pace_ms = self._pace_ms(lane, now_ms)
        if pace_ms is None:
            return None
        if lane.source.is_own:
            due_ms = lane.due_ms(pace_ms, now_ms, safe_pace_ms=FILL_PACE_MS)
        else:
            due_ms = lane.late_ms(LATE_MS)
        return None if due_ms is None else max(due_ms, self.budget.open_ms(now_ms))

    def _step(self, lane: Lane, now_ms: int) -> Step | None:
        region = lane.region
        if self._is_full(region):
            return None
        self._number += 1
        step: FindEnd | Ship | Audit
        stream = lane.source.stream
        ship_ms = self._ship_ms(lane, now_ms)
        if lane.end is None or lane.look_at_ms <= now_ms:
            step = FindEnd(number=self._number, region=region, stream=stream)
        elif ship_ms is not None and ship_ms <= now_ms:
            step = Ship(
                number=self._number,
                region=region,
                stream=stream,
                place=lane.end,
                bytes_max=lane.piece_bytes,
                from_region=lane.fill_from[0] if lane.fill_from else "",
                skips_gap=lane.fill_from == [],
            )
        elif self.options.audit_ms and not lane.audit and lane.audit_at_ms <= now_ms:
            step = Audit(number=self._number, region=region, stream=stream)
        else:
            return None
        self._steps[step.number] = (lane, now_ms)
        if isinstance(step, Audit):
            lane.audit = step.number
        else:
            lane.busy, lane.began_ms = step.number, now_ms
        self.regions.tries(region, now_ms)
        return step

    def _ended(self, step: FindEnd | Ship | Audit, outcome: object, now_ms: int) -> Lane | None:
        """The lane of a step that is over; None where the stream was dropped meanwhile."""
        lane, began_ms = self._steps.pop(step.number, (None, 0))
        if isinstance(outcome, PieceName | None | Shipped | Refused | Audited):
            # The region itself has answered.
            self._worked(step.region, now_ms)
        elif lane is not None and not (isinstance(outcome, Failed) and not outcome.is_here):
            self.regions.spared(step.region, began_ms)
        if lane is None:
            return None
        if isinstance(step, Audit):
            lane.audit = 0
        else:
            lane.busy = 0
        return lane if self._lanes.get((lane.region, lane.source.stream)) is lane else None

    def _worked(self, region: str, now_ms: int) -> None:
        self.regions.worked(region, now_ms)
        self._retry_ms[region] = RETRY_MIN_MS
        self._retry_at_ms[region] = now_ms

    def _failed(self, lane: Lane, outcome: Failed, now_ms: int) -> None:
        if outcome.is_here:
            lane.problem, lane.nothing_at = outcome.reason, lane.source.head.place
            return
        region = lane.region
        self.counts[region].failed += 1
        self.regions.failed(region, outcome.reason, is_unfit=outcome.is_unfit)
        # Whether the last piece is there isn't known: it is looked for.
        lane.end = None
        wait_ms = self._retry_ms[region]
        self._retry_at_ms[region] = now_ms + wait_ms // 2 + self._rng.randrange(wait_ms)
        self._retry_ms[region] = min(RETRY_MAX_MS, wait_ms * 2)

    def _gone(self, lane: Lane, step: Ship, now_ms: int) -> None:
        """What should come next isn't here: it is asked of other regions that answer, and at last passed over; an audit fills it in."""
        if lane.fill_from is None:
            others = (state.name for state in self.regions.states if state.name != lane.region)
            lane.fill_from = [name for name in others if not self.regions.is_doubtful(name, now_ms)]
        elif step.from_region in lane.fill_from:
            lane.fill_from.remove(step.from_region)
        elif step.skips_gap:
            lane.fill_from, lane.nothing_at = None, lane.source.head.place


def _end_of(name: PieceName | None) -> Place:
    return EMPTY if name is None else Place(epoch=name.epoch, next_seq=name.next_seq, hash=name.hash)


def _head_of(end: Place) -> StreamHead:
    return StreamHead(end.epoch, end.next_seq, end.hash)
