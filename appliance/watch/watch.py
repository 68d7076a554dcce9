"""Readings, put into order, shown to the detectors of anomalies and to the rules; what these found comes back as transitions.

Theory of operation. `see` takes what a batch brought; what waits no longer (reorder.py) is scored and evaluated. Instants, the whole multiples of
WATCH_INSTANT_MS, are decided when all readings that count at them were released and none that doesn't: so what compares series
doesn't depend on batches either. Between instants `tick` decides what was due by then, at its deadline. The time is that of arrival
in the log; only `tick` brings a clock's. The silence before a start of the broker is nobody's: no instant in it is decided.

Must not know: the log, the store, batches, when it is saved. One thread at a time, but for `members` and `statistics`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import zstandard

from appliance.core import logs
from appliance.core.errors import HomeportError, StorageError
from appliance.core.limits_watch import (
    WATCH_CHECKPOINT_BYTES_MAX,
    WATCH_CLOCK_BACK_MS,
    WATCH_INSTANT_COUNT_MAX,
    WATCH_INSTANT_MS,
)
from appliance.management.arrived import Arrived
from appliance.management.rule import Rule
from appliance.management.rule_transition import Transition
from appliance.management.watched import Membership, Released, SeriesNames
from appliance.watch.homes import Homes, SavedHomes
from appliance.watch.parts import Detectors, Evaluator
from appliance.watch.reorder import Reorder, SavedReorder, Slot
from appliance.watch.statistics import WatchStatistics

FORMAT: Final = 1
"""Of `save`; state of another is begun anew from the log."""
_log = logs.get(__name__)
_PACK_LEVEL: Final = 1
"""500 MB/s; most of the state is zeros and slowly changing numbers."""


class _Saved(msgspec.Struct, array_like=True):
    format: int
    lateness_ms: int
    watermark_ms: int
    instant_ms: int
    ticked_ms: int
    reorder: SavedReorder
    evaluator: bytes
    detectors: bytes
    homes: SavedHomes = SavedHomes()
    """States of before have none."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Saved).decode


class Watch:
    """See the module's docstring. `begin` comes first.

    Args:
        lateness_ms: As Reorder.
        evaluator, detectors: Make them anew, without any state. Without detectors no reading has a score.
        own_id: This node's, where it is one of a site: what it finds of others' devices is theirs to say (homes.py).
    """

    def __init__(
        self,
        *,
        lateness_ms: int,
        evaluator: Callable[[SeriesNames], Evaluator],
        detectors: Callable[[], Detectors] | None = None,
        own_id: str = "",
    ) -> None:
        self._lateness_ms = lateness_ms
        self._make_evaluator = evaluator
        self._make_detectors = detectors
        self._membership: Membership | None = None
        self._is_membership_new = False
        self._evaluator: Evaluator | None = None
        self._names: SeriesNames | None = None
        self._rules: Sequence[Rule] = ()
        self._detectors: Detectors | None = None
        self._reorder = Reorder(lateness_ms)
        self._homes = Homes(own_id)
        self._by_clock: list[Transition] = []
        self._watermark_ms = self._instant_ms = self._ticked_ms = 0
        self._seen_total = self._copies_total = self._found_total = 0
        self._said: tuple[Any, Any] = (None, None)

    def begin(self, names: SeriesNames, rules: Sequence[Rule], saved: bytes | None) -> None:
        """Forget everything, and go on from what was saved while these rules held; from nothing without.

        Raises:
            StorageError: `watch_state_unusable`: it is damaged, or of another release; nothing is watched until the next call.
        """
        self._evaluator = None
        self._names, self._rules = names, rules
        evaluator = self._make_evaluator(names)
        detectors = self._make_detectors() if self._make_detectors is not None else None
        reorder, homes = Reorder(self._lateness_ms), Homes(self._homes.own_id)
        if self._membership is not None:
            evaluator.members(self._membership)
        evaluator.use(rules)
        watermark_ms = instant_ms = ticked_ms = 0
        if saved is not None:
            try:
                found = _unpack(saved)
                reorder.load(found.reorder)
                evaluator.load(found.evaluator)
                if detectors is not None and found.detectors:
                    detectors.load(found.detectors)
                homes.load(found.homes)
            except (
                ValueError,
                zstandard.ZstdError,
                HomeportError,
            ) as error:  # msgspec's errors are ValueErrors
                raise StorageError(
                    f"The saved state of rules and anomalies can't be used: {error}.",
                    hint="It is built anew from the log.",
                    code="watch_state_unusable",
                ) from error
            watermark_ms, instant_ms, ticked_ms = found.watermark_ms, found.instant_ms, found.ticked_ms
        self._watermark_ms, self._instant_ms, self._ticked_ms = watermark_ms, instant_ms, ticked_ms
        self._reorder, self._detectors, self._evaluator, self._homes = reorder, detectors, evaluator, homes
        self._ask()

    def use(self, rules: Sequence[Rule], *, epoch: int, seq: int) -> list[Transition]:
        """From here on by these rules: what is seen next is the first that they are for.

        What waits is released before, so that which rules see it follows from the position alone.
        """
        found: list[Transition] = []
        for slot in self._reorder.release(None):
            self._release(slot, epoch, seq, found)
        self._begun().use(rules)
        self._rules = rules
        return self._placed(found, epoch, seq)

    def _ask(self) -> None:
        """What rules and detectors say of themselves, for whoever asks from another thread while they work."""
        evaluator, detectors = self._evaluator, self._detectors
        self._said = (
            evaluator.statistics() if evaluator is not None else None,
            detectors.statistics() if detectors is not None else None,
        )

    def members(self, membership: Membership) -> None:
        """Where devices belong; holds from what is seen next. From any thread."""
        self._membership = membership
        self._is_membership_new = True

    def see(self, arrived: Arrived, *, epoch: int, seq: int) -> list[Transition]:
        """What a batch brought, in the order of the log.

        Args:
            epoch, seq: Where the batch ends in the log; stands in what is found.
        """
        self._take_members()
        self._seen_total += len(arrived)
        self._copies_total += arrived.copies
        newest = int(arrived.received_at_ms.max()) if len(arrived) else 0
        # Other nodes' clocks are others, and what is copied comes late: time goes on by what arrives here.
        newest = newest if arrived.newest_own_ms is None else arrived.newest_own_ms
        if newest:
            self._look_at_clock(newest)
        self._reorder.add(arrived)
        self._homes.note(arrived.heard)
        if arrived.newest_own_ms is None:
            newest = max([newest, *arrived.broker_starts, *(each.at_ms for each in arrived.presences)])
        return self._advance(newest, epoch, seq)

    def tick(self, now_ms: int, *, epoch: int, seq: int) -> list[Transition]:
        """Nothing that arrived before a time is to come any more."""
        self._take_members()
        self._look_at_clock(now_ms)
        return self._advance(now_ms, epoch, seq)

    def _look_at_clock(self, now_ms: int) -> None:
        """Begin anew where the clock was put back by long: what the state waits for would not come until it is so late again.

        Alarms that are active stay; what is still so is found again, and its end then, too.
        """
        if now_ms < self._watermark_ms - WATCH_CLOCK_BACK_MS:
            assert self._names is not None, "begin comes first"
            _log.warning(
                "the clock was put back: rules and anomalies begin anew",
                from_ms=self._watermark_ms,
                to_ms=now_ms,
            )
            self.begin(self._names, self._rules, None)

    def _take_members(self) -> None:
        if self._is_membership_new and self._membership is not None:
            self._is_membership_new = False
            self._begun().members(self._membership)

    def _begun(self) -> Evaluator:
        assert self._evaluator is not None, "begin comes first"
        return self._evaluator

    def _advance(self, now_ms: int, epoch: int, seq: int) -> list[Transition]:
        self._watermark_ms = max(self._watermark_ms, now_ms)
        found: list[Transition] = []
        for slot in self._reorder.release(self._watermark_ms):
            self._release(slot, epoch, seq, found)
        held = self._reorder.first_held
        if held is None:
            self._tick_until(self._watermark_ms, found)
        elif not held.is_start:
            self._tick_until(min(self._watermark_ms, held.first_ms + self._lateness_ms - 1), found)
        return self._placed(found, epoch, seq)

    def _placed(self, found: list[Transition], epoch: int, seq: int) -> list[Transition]:
        self._found_total += len(found)
        self._ask()
        by_clock, self._by_clock = self._by_clock, []
        if not self._homes.is_alone:
            ids = {id(each) for each in by_clock}
            found = self._homes.passed_on(found, ids, max(self._watermark_ms, self._ticked_ms))
        return [msgspec.structs.replace(each, epoch=epoch, seq=seq) for each in found]

    def _release(self, slot: Slot, epoch: int, seq: int, found: list[Transition]) -> None:
        evaluator = self._begun()
        before_ms = slot.instant - WATCH_INSTANT_MS
        if slot.is_start:
            # Nobody can have sent anything since the broker went away, and nobody knows when that was.
            self._instant_ms = max(self._instant_ms, slot.first_ms // WATCH_INSTANT_MS * WATCH_INSTANT_MS)
            evaluator.broker_started(slot.first_ms)
            if self._detectors is not None:
                self._detectors.broker_started(slot.first_ms)
        elif not self._instant_ms:
            self._instant_ms = before_ms
        else:
            self._decide_instants(before_ms, found)
        if slot.presences:
            found += evaluator.presence(slot.presences)
        columns = slot.parts[0]
        if not len(columns):
            return
        points = Released(
            series=columns.series,
            observed_at_ms=columns.observed,
            received_at_ms=columns.received,
            values=columns.values,
            quality=columns.quality,
            epoch=epoch,
            seq=seq,
        )
        scores = self._detectors.see(points) if self._detectors is not None else None
        found += evaluator.see(points, scores)

    def _tick_until(self, horizon_ms: int, found: list[Transition]) -> None:
        if self._instant_ms:
            self._decide_instants(horizon_ms // WATCH_INSTANT_MS * WATCH_INSTANT_MS, found)
        if horizon_ms > self._ticked_ms:
            self._tick(horizon_ms, found)

    def _decide_instants(self, until_ms: int, found: list[Transition]) -> None:
        """All instants behind the last one, up to and with this."""
        first = max(
            self._instant_ms + WATCH_INSTANT_MS, until_ms - WATCH_INSTANT_COUNT_MAX * WATCH_INSTANT_MS
        )
        for at_ms in range(first, until_ms + 1, WATCH_INSTANT_MS):
            self._instant_ms = at_ms
            self._tick(at_ms, found)

    def _tick(self, at_ms: int, found: list[Transition]) -> None:
        evaluator = self._begun()
        self._ticked_ms = max(self._ticked_ms, at_ms)
        said: list[Transition] = []
        if self._detectors is not None:
            silences = self._detectors.tick(at_ms)
            if len(silences.series):
                said += evaluator.silence(silences)
        said += evaluator.tick(at_ms)
        found += said
        self._by_clock += said

    def save(self) -> bytes:
        """All of the state, to go on from with `begin`."""
        saved = _Saved(
            FORMAT,
            self._lateness_ms,
            self._watermark_ms,
            self._instant_ms,
            self._ticked_ms,
            self._reorder.save(),
            self._begun().save(),
            self._detectors.save() if self._detectors is not None else b"",
            self._homes.save(),
        )
        return zstandard.ZstdCompressor(level=_PACK_LEVEL).compress(_encode(saved))

    def statistics(self) -> WatchStatistics:
        """From any thread."""
        reorder, (rules, anomalies) = self._reorder, self._said
        return WatchStatistics(
            seen_total=self._seen_total,
            copies_total=self._copies_total,
            late_total=reorder.late_total,
            duplicates_total=reorder.duplicates_total,
            early_total=reorder.early_total,
            held=reorder.held_count,
            watermark_ms=self._watermark_ms,
            found_total=self._found_total,
            held_back=self._homes.held_count,
            held_back_late_total=self._homes.late_total,
            held_back_full_total=self._homes.full_total,
            rules=rules,
            anomalies=anomalies,
        )


def _unpack(saved: bytes) -> _Saved:
    """Raises ValueError, ZstdError."""
    size = zstandard.frame_content_size(saved)
    if not 0 <= size <= WATCH_CHECKPOINT_BYTES_MAX:
        raise ValueError(f"it would be {size} bytes")
    found = _decode(
        zstandard.ZstdDecompressor().decompress(saved, max_output_size=WATCH_CHECKPOINT_BYTES_MAX)
    )
    if found.format != FORMAT:
        raise ValueError(f"it is of format {found.format}, not {FORMAT}")
    return found
