"""What must hold of the tier in every world: judged while boxes ship, when one is restored, and when all has healed."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Final

from replication.gossip.fleet_view import FleetView
from replication.tier.envelope import KeyOf, open_piece
from replication.tier.pieces import Piece
from storage.replicas.streams import StreamId

from .body import Body
from .disk import Disk
from .frames import Frame
from .judge import Judge
from .log_model import LogModel
from .region import Key, Line, Region
from .scheduler import Scheduler
from .tier_pieces import piece_of

RPO_MS_MAX: Final = 10_000
"""Of what is written while a region can be reached: 5 s of waiting for more, and a piece's way."""
MOVED_WITHIN_MS: Final = 60_000
SETTLED_MS: Final = 60_000
"""After a region was lost, or the box began, RPO may be greater; and while a region answers now and then, or takes seconds for it: each time that has
to be found out."""
DRAINED_SHARE: Final = 0.03
"""Of the time for which no region could be reached: until what came meanwhile has gone out."""
LACKS_SHOWN_COUNT: Final = 3


class TierJudge(Judge):
    """See the module's docstring.

    Args:
        opens: Gives the key of a stream's pieces.
        is_filling: All regions are to have everything; else one of them.
    """

    def __init__(self, scheduler: Scheduler, opens: Callable[[StreamId], KeyOf]) -> None:
        super().__init__(scheduler)
        self._opens = opens
        self.regions: list[Region] = []
        self.is_filling = True
        self.is_bounded = False
        self.lost_regions: set[str] = set()
        self.restored_total = 0
        self.rpo_worst_ms = 0
        self._contents: dict[tuple[Key, bytes], frozenset[bytes]] = {}
        self._kept: dict[str, set[bytes]] = {}
        self._lines: dict[tuple[str, str], tuple[bool, int, int]] = {}
        self._dark: dict[str, tuple[int, int]] = {}
        self._settled_ms: dict[str, int] = {}
        self._complete: dict[tuple[str, str], tuple[int, LogModel, int]] = {}

    # --- What regions have ----------------------------------------------------------------------------------------

    def kept(self, region: Region, piece: Piece) -> None:
        """A region has a piece, durably."""
        name = piece.name
        chunk = open_piece(piece.data, self._opens(name.stream), wanted=name)
        frames = piece_of(chunk).frames
        key = (name.stream, name.epoch, name.first_seq)
        self._contents[key, name.hash] = frozenset(frame.hash for frame in frames)
        self._kept.setdefault(region.name, set()).update(frame.hash for frame in frames)
        if not name.stream.branch:
            for frame in frames:
                self.accept(region.name, name.stream, frame.epoch, frame.next_seq, frame.hash)

    def has(self, region: Region, stream: StreamId, frame: Frame, *, is_rotten_too: bool = False) -> bool:
        """Whether a region has a record now, as it was put there."""
        name = region.piece_at(stream, frame.epoch, frame.first_seq)
        if name is None:
            return False
        key = (name.stream, name.epoch, name.first_seq)
        is_rotten = region.lied.get(key) is name
        return (is_rotten_too or not is_rotten) and frame.hash in self._contents[key, name.hash]

    # --- As the judge of what is safe -------------------------------------------------------------------------------

    def holders(self, body: Body, frame: Frame) -> tuple[object, ...]:
        # What a region acknowledged and lost is found by its audit: it wasn't wrong to call it safe.
        regions = [each for each in self.regions if frame.hash in self._kept.get(each.name, ())]
        return (*super().holders(body, frame), *regions)

    def lives(self, holder: object, stream: StreamId, frame: Frame) -> bool:
        if not isinstance(holder, Region):
            return super().lives(holder, stream, frame)
        lies = (
            name
            for (lied, epoch, first_seq), name in holder.lied.items()
            if (lied, epoch) == (stream, frame.epoch) and first_seq <= frame.first_seq < name.next_seq
        )
        return holder.name not in self.lost_regions and not any(lies)

    def is_somewhere(self, stream: StreamId, frame: Frame) -> bool:
        return super().is_somewhere(stream, frame) or any(
            self.has(region, stream, frame) for region in self.regions if region.name not in self.lost_regions
        )

    # --- While it runs ----------------------------------------------------------------------------------------------

    def look(self, body: Body) -> None:
        """Every second or so: whether a box's readings are safe as soon as they should be, and go where they can."""
        now_ms = self._scheduler.now_ms
        shipper = body.tier.shipper
        if not body.is_up or shipper is None or body.is_troubled:
            self._settled_ms[body.name] = now_ms
            return
        lines = [self._line(body, name, line) for name, line in body.lines.items()]
        if not any(line.is_well for line in body.lines.values()):
            began_ms, _ = self._dark.get(body.name, (now_ms, now_ms))
            self._dark[body.name] = (began_ms, now_ms)
            return
        if body.name in self._dark:
            began_ms, ended_ms = self._dark[body.name]
            if now_ms < ended_ms + int((ended_ms - began_ms) * DRAINED_SHARE) + 2 * SETTLED_MS:
                return
            del self._dark[body.name]
        is_settled = now_ms - self._settled_ms.setdefault(body.name, now_ms) > 2 * SETTLED_MS
        if not is_settled or max(well_ms for well_ms, _ in lines) <= 2 * SETTLED_MS or self.is_bounded:
            return
        if not all(steady_ms > SETTLED_MS for _, steady_ms in lines):
            return
        rpo_ms = body.gossip.rpo_ms(now_ms)
        self.rpo_worst_ms = max(self.rpo_worst_ms, rpo_ms)
        regions = shipper.machine.regions
        if rpo_ms > RPO_MS_MAX:
            self.breach(f"{body.name} would lose {rpo_ms} ms though a region can be reached")
        elif regions.silent_ms(regions.live, now_ms) > MOVED_WITHIN_MS:
            self.breach(f"{body.name} still ships to {regions.live}, which is away")
        else:
            return
        self._settled_ms[body.name] = now_ms

    def _line(self, body: Body, name: str, line: Line) -> tuple[int, int]:
        """For how long a box has reached a region without a break, and for how long it has been as it is, ms."""
        now_ms = self._scheduler.now_ms
        was_well, well_ms, steady_ms = self._lines.get((body.name, name), (line.is_well, 0, 0))
        if not line.is_well:
            well_ms = now_ms
        if line.is_well is not was_well or line.is_unsteady:
            steady_ms = now_ms
        self._lines[body.name, name] = (line.is_well, well_ms, steady_ms)
        return now_ms - well_ms, now_ms - steady_ms

    def had(self, region: Region, body: Body, lost: Disk) -> list[Frame]:
        """What a region has of a box that was lost, when its restore begins."""
        log = lost.logs.get(body.own)
        return [frame for frame in log.frames if self.has(region, body.own, frame)] if log is not None else []

    def restored(self, body: Body, region: Region, log: LogModel, had: Sequence[Frame]) -> None:
        """A box has its log back out of a region: what was there, and nothing else."""
        self.restored_total += 1
        for frame in log.frames:
            known = self._accepted.get((body.own, frame.epoch, frame.next_seq))
            if known != frame.hash and (body.node_id, frame.epoch) not in self.may_fork:
                self.breach(f"{body.name} has {frame.epoch} {frame.next_seq} back, which nobody wrote")
        if region.lied:
            return
        there = {frame.hash for frame in log.frames}
        for frame in had:
            if frame.hash not in there:
                self.breach(
                    f"{body.name} has {frame.epoch} {frame.next_seq} not back, which {region.name} has"
                )
                return

    # --- When it has healed -------------------------------------------------------------------------------------------

    def missing(self, fleet: FleetView) -> list[str]:
        found = super().missing(fleet)
        for region in self.regions:
            if region.name in self.lost_regions:
                continue
            for (stream, epoch), names in region.names.items():
                for before, name in pairwise(names):
                    if name.first_seq < before.next_seq:
                        found.append(f"{region.name} has {stream} {epoch} {name.first_seq} twice")
                    elif not name.follows(before) and self._is_kept(stream, epoch, before.next_seq):
                        found.append(
                            f"{region.name} lacks {stream} {epoch} {before.next_seq} and what follows"
                        )
        for body in self.bodies.values():
            if body.is_lost:
                found.append(f"{body.name} is not restored")
            elif body.is_up and not body.disk.must_claim:
                found += self._lacked(body)
        return found

    def _is_kept(self, stream: StreamId, epoch: int, seq: int) -> bool:
        """Whether a box that ships it, or a region, has a record that a region lacks."""
        logs = [body.disk.logs.get(stream) for body in self.bodies.values() if body.node_id == stream.node_id]
        at = [(log, log.segment_at(seq)) for log in logs if log is not None and log.segments]
        is_here = any(
            number >= 0 and log.segments[number].epoch == epoch and seq < log.end.next_seq
            for log, number in at
        )
        return is_here or any(region.piece_at(stream, epoch, seq) for region in self.regions)

    def _lacked(self, body: Body) -> Iterable[str]:
        regions = [each for each in self.regions if each.name not in self.lost_regions]
        lacked = [self._first_lacked(body, region) for region in regions]
        if self.is_filling or all(lacked):
            for region, frame in zip(regions, lacked, strict=True):
                if frame is not None:
                    yield f"{region.name} lacks {body.name} {frame.epoch} {frame.next_seq}"

    def _first_lacked(self, body: Body, region: Region) -> Frame | None:
        """The first record of a box's log that a region lacks. What rotted isn't lacked: it is found by chance alone."""
        log = body.disk.logs[body.own]
        version, known_log, known_seq = self._complete.get((body.name, region.name), (0, log, 0))
        if (version, known_log) != (region.version, log):
            known_seq = 0
        at = bisect_right(log.frames, known_seq, key=lambda frame: frame.next_seq)
        for frame in log.frames[at:]:
            is_exempt = (body.node_id, frame.epoch) in self.may_fork
            if not is_exempt and not self.has(region, body.own, frame, is_rotten_too=True):
                return frame
            self._complete[body.name, region.name] = (region.version, log, frame.next_seq)
        return None

    def final(self) -> None:
        super().final()
        for region in self.regions:
            for (stream, epoch), names in region.names.items():
                for name in names:
                    if name.stream != stream or name.epoch != epoch:
                        self.breach(f"{region.name} has a piece of {name.stream} under {stream}")
