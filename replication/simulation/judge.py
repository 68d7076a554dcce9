"""What must hold in every world, whatever happens: judged while it runs and when it has healed.

It sees all disks, which no node does. A breach is a sentence with the time; the world goes on, so that all are seen.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from appliance.management.merge import KeyState
from appliance.management.row_change import RowChange, Value
from replication.gossip.fleet_view import FleetView
from replication.membership.claims import Condition
from replication.membership.events import Became
from storage.replicas.streams import StreamHead, StreamId

from .body import Body
from .catalog import FINAL
from .disk import Disk
from .frames import Frame
from .histories import readable
from .log_model import LogModel
from .scheduler import Scheduler

CALM_MS: Final = 180_000
"""After the last fault of a node it may be called dead for it for so long: the longest suspicion."""
BREACH_COUNT_MAX: Final = 20


class Judge:
    """See the module's docstring."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self.bodies: dict[str, Body] = {}
        self.breaches: list[str] = []
        self.may_fork: set[tuple[str, int]] = set()
        self.disturbed_until_ms: dict[str, int] = {}
        self.acknowledged_total = 0
        self.safe_total = 0
        self.death_total = 0
        self._ended: dict[tuple[str, str, str, int], Value] = {}
        self._epochs: dict[tuple[str, int], str] = {}
        self._accepted: dict[tuple[StreamId, int, int], bytes] = {}
        self._acknowledged: dict[StreamId, dict[bytes, Frame]] = defaultdict(dict)
        self._safe: dict[bytes, tuple[StreamId, Frame, tuple[object, ...]]] = {}

    def breach(self, what: str) -> None:
        """Something that must hold doesn't."""
        self._scheduler.note(f"BREACH {what}")
        if len(self.breaches) < BREACH_COUNT_MAX:
            self.breaches.append(f"at {self._scheduler.now_ms / 1000:.3f} s: {what}")

    # --- While it runs --------------------------------------------------------------------------------------------

    def became(self, body: Body, event: Became) -> None:
        """Nobody is called dead who was only stalled for a moment, or not at all."""
        if event.condition is not Condition.DEAD:
            return
        self.death_total += 1
        now_ms = self._scheduler.now_ms
        is_calm = all(
            now_ms > self.disturbed_until_ms.get(node, -CALM_MS) + CALM_MS
            for node in (body.node_id, event.node)
        )
        if is_calm and any(each.is_up and each.node_id == event.node for each in self.bodies.values()):
            self.breach(f"{body.name} calls {event.node[:3]} dead, which lives")

    def acknowledged(self, body: Body, frame: Frame) -> None:
        """A block is on the disk of its writer, and its devices were told so."""
        self.acknowledged_total += 1
        self._acknowledged[body.own][frame.hash] = frame
        self.accept(body.name, body.own, frame.epoch, frame.next_seq, frame.hash)

    def stored(self, body: Body, stream: StreamId, head: StreamHead) -> None:
        """A copy has grown."""
        if not stream.branch:
            self.accept(body.name, stream, head.epoch, head.next_seq, head.hash)

    def accept(self, who: str, stream: StreamId, epoch: int, next_seq: int, frame_hash: bytes) -> None:
        """Somebody has a record from now on: nobody has another one in its place."""
        known = self._accepted.setdefault((stream, epoch, next_seq), frame_hash)
        if known != frame_hash and (stream.node_id, epoch) not in self.may_fork:
            self.breach(f"{who} accepts another record as {stream} {epoch} {next_seq}")

    def safe(self, body: Body, from_seq: int, to_seq: int) -> None:
        """A node calls own records safe: another one must have them, durably, now."""
        log = body.disk.logs[body.own]
        if to_seq > log.head().next_seq:
            self.breach(f"{body.name} calls {to_seq} safe, and ends at {log.head().next_seq}")
        at = bisect_right(log.frames, from_seq, key=lambda frame: frame.next_seq)
        for frame in log.frames[at:]:
            if frame.next_seq > to_seq:
                break
            holders = self.holders(body, frame)
            if not holders:
                self.breach(f"{body.name} calls {frame.epoch} {frame.next_seq} safe, which nobody else has")
            self.safe_total += 1
            self._safe.setdefault(frame.hash, (body.own, frame, (*holders, body.disk)))

    def holders(self, body: Body, frame: Frame) -> tuple[object, ...]:
        """Whoever but a body itself has one of its records durably."""
        return tuple(
            other.disk
            for other in self.bodies.values()
            if other.node_id != body.node_id and _has(other.disk, body.own, frame)
        )

    def lives(self, holder: object, stream: StreamId, frame: Frame) -> bool:
        """Whether a holder is still there, as far as it keeps what it took."""
        return any(holder is body.disk for body in self.bodies.values())

    def is_somewhere(self, stream: StreamId, frame: Frame) -> bool:
        """Whether anybody has a record."""
        return any(_has(body.disk, stream, frame) for body in self.bodies.values())

    def claimed(self, body: Body) -> None:
        """An epoch belongs to one body: nobody else has written in it, or claimed it."""
        owner = self._epochs.setdefault((body.node_id, body.disk.epoch), body.disk.instance)
        if owner != body.disk.instance:
            self.breach(f"{body.name} claims epoch {body.disk.epoch}, which another body has")

    def changed(self, body: Body, change: RowChange) -> None:
        """A person changed a row of a site's catalog; what was deleted or decommissioned is so for good."""
        key = (body.site_id, change.table, change.key, change.generation)
        if change.op == "delete":
            self._ended[key] = None
        elif change.table == "devices" and change.row.get("state") == FINAL:
            self._ended.setdefault(key, FINAL)

    def may_both_write(self, disk: Disk) -> None:
        """There is a copy of a disk that nobody knows to be one: two may write its epoch, which has to be found."""
        self.may_fork.add((disk.node_id, disk.epoch))

    # --- When it has healed -----------------------------------------------------------------------------------------

    def missing(self, fleet: FleetView) -> list[str]:
        """Why the fleet hasn't converged; empty: it has."""
        found: list[str] = []
        up = [body for body in self.bodies.values() if body.is_up]
        tips: dict[tuple[str, str], dict[bytes, Frame]] = defaultdict(dict)
        for body in up:
            for stream, log in body.disk.logs.items():
                if log.frames:
                    tip = log.frames[-1]
                    tips[(stream.node_id, stream.name)][tip.hash] = tip
        for (node_id, name), frames in tips.items():
            stream = StreamId(node_id, name)  # type: ignore[arg-type]
            for body in up:
                if not fleet.is_holder(body.node_id, node_id):
                    continue
                found += [
                    f"{body.name} lacks {stream.node_id[:3]} {frame.epoch} {frame.next_seq}"
                    for frame in frames.values()
                    if not _has(body.disk, stream, frame)
                ]
        for body in up:
            found += [
                f"{body.name} sees {other.name} as {body.membership.condition(other.node_id)}"
                for other in up
                if body.membership.condition(other.node_id) is not Condition.ALIVE
            ]
        found += self._unknown_forks(up)
        found += self._other_catalogs(up)
        return found or [*self._unreadable(up, fleet), *self._unsafe(up)]

    def _unsafe(self, up: list[Body]) -> Iterable[str]:
        """What others have is called safe in the end: an age that nothing ends would be an alarm for nothing."""
        for body in up:
            log = body.disk.logs[body.own]
            if log.frames and body.gossip.is_somebody_apart() and self.holders(body, log.frames[-1]):
                safe_seq = body.gossip.safe_seq(body.own)
                if safe_seq < log.end.next_seq:
                    yield f"{body.name} calls its records before {safe_seq} safe, and has them before {log.end.next_seq}"

    def _other_catalogs(self, up: list[Body]) -> Iterable[str]:
        """Nodes of one site that have other rows, or other values beside each other in conflict."""
        first: dict[str, Body] = {}
        for body in up:
            ours = body.disk.catalog
            theirs = first.setdefault(body.site_id, body).disk.catalog
            if ours is None or theirs is None:
                continue
            yield from (
                f"{body.name} has {table} {key} otherwise than {first[body.site_id].name}"
                for table, key in sorted({*ours.keys, *theirs.keys})
                if ours.keys.get((table, key)) != theirs.keys.get((table, key))
            )

    def _unknown_forks(self, up: list[Body]) -> Iterable[str]:
        """Two records under one (stream, epoch, sequence), and somebody who doesn't know of it.

        Evidence names a place at which two histories were compared: in the epoch in which they part, or a later one of either.
        """
        for stream, epoch in sorted(self.forked()):
            for body in up:
                if not any(
                    proof.stream == stream and proof.epoch >= epoch for proof in body.gossip.forks.proofs
                ):
                    yield f"{body.name} knows nothing of the fork of {stream} in epoch {epoch}"

    def forked(self) -> set[tuple[StreamId, int]]:
        """Where disks of those who are up hold two records under one (stream, epoch, sequence)."""
        seen: dict[tuple[StreamId, int, int], bytes] = {}
        found: set[tuple[StreamId, int]] = set()
        for body in self.bodies.values():
            for stream, log in body.disk.logs.items() if body.is_up else ():
                whole = StreamId(stream.node_id, stream.name)
                for frame in log.frames:
                    if seen.setdefault((whole, frame.epoch, frame.first_seq), frame.hash) != frame.hash:
                        found.add((whole, frame.epoch))
        return found

    def _unreadable(self, up: list[Body], fleet: FleetView) -> Iterable[str]:
        """What was acknowledged in whatever history of a node and isn't read once at each holder and by the node itself, as long as anybody there has it."""
        for stream, frames in self._acknowledged.items():
            kept = {frame.hash for body in up for log in body.disk.logs.values() for frame in log.frames}
            there = [frame for frame in frames.values() if frame.hash in kept]
            for body in up:
                if body.node_id != stream.node_id and not fleet.is_holder(body.node_id, stream.node_id):
                    continue
                found = readable(body.disk, stream)
                for frame in there:
                    if found[frame.hash] != 1 and not _is_dropped(body.disk, stream, frame):
                        yield f"{body.name} reads {stream} {frame.epoch} {frame.first_seq} {found[frame.hash]} times"

    def final(self) -> None:
        """What was called safe is there as long as one of those who had it has its disk."""
        for stream, epoch in self.forked():
            if (stream.node_id, epoch) not in self.may_fork:
                self.breach(f"two records lie under {stream} in epoch {epoch}")
        for body in self.bodies.values():
            self._look_at_what_ended(body)
        for stream, frame, holders in self._safe.values():
            if any(self.lives(holder, stream, frame) for holder in holders) and not self.is_somewhere(
                stream, frame
            ):
                self.breach(f"{stream} {frame.epoch} {frame.next_seq} was called safe and is lost")

    def _look_at_what_ended(self, body: Body) -> None:
        """Nothing that was deleted or decommissioned on any node of a site is back on one."""
        if not body.is_up or body.disk.catalog is None:
            return
        for (site, table, key, generation), how in self._ended.items():
            state = body.disk.catalog.keys.get((table, key), KeyState())
            if site != body.site_id or state.dead >= generation:
                continue
            if how is None or state.row is None or state.row.values["state"] != how:
                self.breach(f"{body.name} has {table} {key} back, which was {how or 'deleted'}")


def _has(disk: Disk, stream: StreamId, frame: Frame) -> bool:
    log = disk.logs.get(stream)
    if log is not None and _in(log, frame):
        return True
    return any(
        _in(other, frame)
        for name, other in disk.logs.items()
        if name.branch and name.node_id == stream.node_id and name.name == stream.name
    )


def _is_dropped(disk: Disk, stream: StreamId, frame: Frame) -> bool:
    """Whether a copy's own rule may have removed it, or the node itself began anew after it and has its past restored."""
    return any(
        frame.next_seq <= (log.start.next_seq if log.is_own else log.dropped_seq) > 1
        for name, log in disk.logs.items()
        if (name.node_id, name.name) == (stream.node_id, stream.name)
    )


def _in(log: LogModel, frame: Frame) -> bool:
    """A copy's own rule may have removed it."""
    return frame.next_seq <= log.dropped_seq > 1 or log.hash_at(frame.epoch, frame.next_seq) == frame.hash
