"""One box: the real machines, driven as the replicator's process drives them, over a modelled disk and virtual links.

A node has one body as a rule; a clone is a second one. A body's process may end at any instant and begin anew from its
disk, and may stand still, in which case everything that was to reach it waits.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Final

from replication.effects import Append, Effect, KeepFork, KeepVote, Read, Refused, Send, SetAside
from replication.fences import Promise, Voter
from replication.gossip.fleet_view import PeerInfo
from replication.gossip.machine import Gossip
from replication.membership.events import Became, MembershipEffect
from replication.membership.membership import Membership
from replication.membership.messages import MembershipMessage
from replication.messages import ClaimAnswer, ClaimEpoch, Heads, Message, Stored
from replication.tier.feeding import Feed
from storage.replicas.streams import StreamId

from .catalog import CatalogNode, catalog_of
from .disk import Disk
from .log_appending import append, full
from .log_model import LogModel
from .log_reading import read
from .network import End, Network
from .scheduler import Scheduler
from .standing import Standing
from .tier_shipper import ModelFeed, feed_of
from .writer import SYNC_MS, Writer

if TYPE_CHECKING:
    from .observer import Observer

READ_MS: Final = 4


class Body(Standing):
    """See the module's docstring.

    Args:
        name: Of this body; a clone has another.
        disk: What it starts from.
        write_interval_ms: Between two blocks, on average; 0: it writes nothing.
    """

    def __init__(
        self,
        name: str,
        disk: Disk,
        roster: Iterable[PeerInfo],
        scheduler: Scheduler,
        network: Network,
        source: random.Random,
        observer: Observer,
        *,
        write_interval_ms: int,
    ) -> None:
        self.name = name
        super().__init__(disk.node_id, roster)
        self.disk = disk
        self.write_interval_ms = write_interval_ms
        self.body_bytes = 40
        self.slow_disk_factor = 1
        self.is_full = False
        self.clock_offset_ms = 0
        self.is_up = False
        self.is_lost = False
        self.refuses_links = False
        self.links: dict[str, None] = {}
        self.scheduler = scheduler
        self._network = network
        self.source = source
        self.observer = observer
        self._generation = 0
        self._stalled: list[Callable[[], None]] | None = None
        self._timer_ms: int | None = None
        self.writer = Writer(self)
        self.catalog: CatalogNode | None = None
        self.tier: ModelFeed = Feed()
        self._safe_seq = 1

    # --- Life ---------------------------------------------------------------------------------------------------

    @property
    def own(self) -> StreamId:
        """The stream that it writes."""
        return StreamId(self.node_id, "telemetry")

    @property
    def is_troubled(self) -> bool:
        """Its own disk or process keeps it from its work."""
        return self.is_stalled or self.is_full or self.slow_disk_factor > 1 or self.disk.must_claim

    @property
    def is_reachable(self) -> bool:
        return self.is_up

    @property
    def is_stalled(self) -> bool:
        return self._stalled is not None

    def admits(self, other: End) -> bool:
        """One link to a node: a second body of it is refused while the first is there."""
        return not self.refuses_links and other.node_id not in self.links and other.node_id != self.node_id

    def start(self) -> None:
        """The process begins, from what is on the disk."""
        now_ms = self.scheduler.now_ms
        self.scheduler.note(f"{self.name} starts")
        self._generation += 1
        self.is_up = True
        self._timer_ms = None
        self.writer = Writer(self)
        self._safe_seq = 1
        self.membership = Membership(self.node_id, random.Random(self.source.getrandbits(64)), now_ms)
        self.voter = Voter(self.disk.promises)
        self.gossip = Gossip(self.node_id, random.Random(self.source.getrandbits(64)), now_ms)
        for info in self.roster:
            self.membership.admit(info.node_id, now_ms)
        self.tier = feed_of(self, self.tier_settings)
        self.do(self.gossip.set_fleet([*self.roster, *self.tier.infos], now_ms))
        for proof in self.disk.proofs.values():
            self.gossip.forks.known_before(proof)
        own = self.disk.logs.setdefault(self.own, LogModel(self.own, is_own=True))
        if not self.disk.must_claim:
            own.begin_epoch(self.disk.epoch)
        for stream, log in self.disk.logs.items():
            self.holds(stream, log)
        self.catalog = catalog_of(self)
        if self.catalog is not None:
            self.catalog.start()
        self._network.back(self.name)
        self._schedule()
        if self.disk.must_claim:
            self.writer.renew()
        self.writer.write_later()

    def holds(self, stream: StreamId, log: LogModel) -> None:
        """The machine hears how far a stream is here; nothing of one of which nothing is there."""
        head = log.head()
        if head.epoch:
            self.gossiped(self.gossip.holds(stream, head, self.scheduler.now_ms))
            self.tier.holds(stream, head)

    def ensure_up(self) -> None:
        """Somebody switches it on, if it isn't."""
        if not self.is_up and not self.is_lost:
            self.start()

    def crash(self) -> None:
        """Power is gone."""
        if not self.is_up:
            return
        self.scheduler.note(f"{self.name} crashes")
        self._generation += 1
        self.is_up = False
        self._stalled = None
        self.close()
        self._network.gone(self.name)
        self.links.clear()
        self.disk.crash()

    def close(self) -> None:
        """Ends what is under way to regions."""
        if self.tier.shipper is not None:
            self.tier.shipper.stop()

    def stall(self) -> None:
        """The process stands still."""
        if self.is_up and self._stalled is None:
            self.scheduler.note(f"{self.name} stalls")
            self._stalled = []

    def go_on(self) -> None:
        """It runs again, and finds what has come meanwhile."""
        if self._stalled is None:
            return
        self.scheduler.note(f"{self.name} goes on")
        waiting, self._stalled = self._stalled, None
        for call in waiting:
            call()

    def wall_ms(self) -> int:
        """What its clock says; it may jump."""
        return max(1, self.scheduler.now_ms + self.clock_offset_ms)

    # --- Links ----------------------------------------------------------------------------------------------------

    def link_up(self, peer: str) -> None:
        self.links[peer] = None
        self.when_running(lambda: self._link_up(peer))

    def _link_up(self, peer: str) -> None:
        now_ms = self.scheduler.now_ms
        if peer in self.links:
            self.scheduler.note(f"{self.name} up {peer[:3]}")
            self.do(self.membership.link_up(peer, now_ms))
            self.gossiped(self.gossip.connected(peer, now_ms))
            if self.writer.claim is not None:
                self.do(self.writer.claim.connected(peer))

    def link_down(self, peer: str) -> None:
        self.links.pop(peer, None)
        self.when_running(lambda: self._link_down(peer))

    def _link_down(self, peer: str) -> None:
        now_ms = self.scheduler.now_ms
        self.scheduler.note(f"{self.name} down {peer[:3]}")
        self.do(self.membership.link_down(peer, now_ms))
        self.gossiped(self.gossip.disconnected(peer, now_ms))
        if self.writer.claim is not None:
            self.writer.claim.disconnected(peer)

    def receive(self, peer: str, message: Message) -> None:
        self.when_running(lambda: self._receive(peer, message))

    def _receive(self, peer: str, message: Message) -> None:
        now_ms = self.scheduler.now_ms
        self.scheduler.note(f"{self.name} < {peer[:3]} {type(message).__name__}")
        if isinstance(message, MembershipMessage):
            self.do(self.membership.receive(peer, message, now_ms))
            self._schedule()
            return
        self.do(self.membership.heard(peer, now_ms))
        if isinstance(message, ClaimEpoch):
            held = [log.head().epoch for stream, log in self.disk.logs.items() if stream.node_id == peer]
            self.do([self.voter.asked(peer, message, held_epoch=max(held, default=0))])
        elif isinstance(message, ClaimAnswer):
            if self.writer.claim is not None:
                self.do(self.writer.claim.answered(peer, message))
                self.writer.look_at_claim()
        else:
            self.gossiped(self.gossip.receive(peer, message, now_ms))  # type: ignore[arg-type]
            if isinstance(message, Heads | Stored):
                self._look_at_what_is_safe()

    def sent(self, peer: str, size_bytes: int) -> None:
        self.when_running(lambda: self.gossiped(self.gossip.sent(peer, size_bytes, self.scheduler.now_ms)))

    # --- Time -------------------------------------------------------------------------------------------------------

    def _schedule(self) -> None:
        due_ms, other_ms = self.membership.next_at_ms(), self.gossip.next_at_ms()
        if due_ms is None or (other_ms is not None and other_ms < due_ms):
            due_ms = other_ms
        if due_ms is not None and (self._timer_ms is None or due_ms < self._timer_ms):
            self._timer_ms = at_ms = due_ms
            generation = self._generation
            self.scheduler.at(at_ms, lambda: self._timer(at_ms, generation))

    def _timer(self, at_ms: int, generation: int) -> None:
        if at_ms == self._timer_ms and generation == self._generation:
            self.when_running(self._tick)

    def _tick(self) -> None:
        now_ms = self.scheduler.now_ms
        self._timer_ms = None
        due_ms = self.membership.next_at_ms()
        if due_ms is not None and due_ms <= now_ms:
            self.do(self.membership.tick(now_ms))
        if self.writer.claim is not None:
            self.do(self.writer.claim.tick(now_ms))
        due_ms = self.gossip.next_at_ms()
        if due_ms is not None and due_ms <= now_ms:
            self.gossiped(self.gossip.tick(now_ms))
        else:
            self._schedule()

    def when_running(self, call: Callable[[], None]) -> None:
        if not self.is_up:
            return
        if self._stalled is not None:
            self._stalled.append(call)
        else:
            call()

    def after_disk(self, work_ms: int, call: Callable[[], None]) -> None:
        """When the disk has done something."""
        self.after((1 + self.source.randrange(work_ms)) * self.slow_disk_factor, call)

    def after(self, delay_ms: int, call: Callable[[], None]) -> None:
        """In a while, if this process still lives."""
        generation = self._generation

        def due() -> None:
            if generation == self._generation:
                self.when_running(call)

        self.scheduler.after(delay_ms, due)

    # --- Effects ----------------------------------------------------------------------------------------------------

    def gossiped(self, effects: list[Effect]) -> None:
        self.do(effects)
        if self.gossip.ahead and self.writer.claim is None:
            self.writer.renew()
        self._schedule()

    def tick_gossip(self) -> None:
        """Something was told to the machine that it hands on with its next tick."""
        self.gossiped(self.gossip.tick(self.scheduler.now_ms))
        self._look_at_what_is_safe()

    def _look_at_what_is_safe(self) -> None:
        safe_seq = self.gossip.safe_seq(self.own)
        if safe_seq > self._safe_seq:
            self.observer.safe(self, self._safe_seq, safe_seq)
        self._safe_seq = safe_seq

    def do(self, effects: Iterable[Effect | MembershipEffect]) -> None:
        for effect in effects:
            match effect:
                case Send():
                    self._network.send(self, effect.peer, effect.message, effect.priority, effect.size_bytes)
                case Became():
                    self.scheduler.note(f"{self.name} sees {effect.node[:3]} {effect.condition.name}")
                    self.observer.became(self, effect)
                case Read():
                    self.after_disk(READ_MS, self._reader(effect))
                case Append():
                    self.after_disk(SYNC_MS, self._appender(effect))
                case KeepFork():
                    self._keep_fork(effect)
                case SetAside():
                    self.after_disk(SYNC_MS, partial(self._set_aside, effect.stream))
                case KeepVote():
                    self.after_disk(SYNC_MS, partial(self._keep_vote, effect))
                case _:
                    raise AssertionError(f"{type(effect).__name__} is not simulated")

    def _reader(self, effect: Read) -> Callable[[], None]:
        def look() -> None:
            log = self.disk.logs.get(effect.stream) or LogModel(effect.stream)
            outcome = read(log, effect.place, effect.bytes_max, effect.wanted)
            self.gossiped(self.gossip.read(effect, outcome, self.scheduler.now_ms))
            if effect.bytes_max == 1:
                self._look_at_what_is_safe()

        return look

    def _appender(self, effect: Append) -> Callable[[], None]:
        def take() -> None:
            stream = effect.chunk.stream
            log = self.disk.logs.get(stream) or LogModel(stream)
            now_ms = self.scheduler.now_ms
            outcome, branch = (
                append(log, effect.chunk, self.disk.logs) if not self.is_full else (full(log), None)
            )
            if isinstance(outcome, Refused):
                self.scheduler.note(f"{self.name} refuses {stream} {outcome.reason}")
                self.gossiped(self.gossip.appended(effect, outcome, now_ms))
                return
            self.disk.logs[stream] = log
            place = f"{outcome.epoch} {outcome.next_seq} {outcome.hash.hex()[:8]}"
            self.scheduler.note(f"{self.name} stores {stream} {place}")
            self.observer.stored(self, stream, outcome)
            self.gossiped(self.gossip.appended(effect, outcome, now_ms))
            self.tier.holds(stream, outcome)
            if self.catalog is not None and stream.name == "catalog":
                self.catalog.follow()
            if branch is not None:
                self.disk.logs[branch.stream] = branch
                self.holds(branch.stream, branch)

        return take

    def _keep_fork(self, effect: KeepFork) -> None:
        place = effect.place
        self.scheduler.note(f"{self.name} knows of a fork of {effect.stream} {place.epoch} {place.next_seq}")
        proof = next(
            each
            for each in self.gossip.forks.proofs
            if (each.stream, each.epoch, each.next_seq) == (effect.stream, place.epoch, place.next_seq)
        )
        self.disk.proofs[(proof.stream, proof.epoch)] = proof
        if effect.stream == self.own and place.epoch >= self.disk.epoch and self.writer.claim is None:
            self.writer.renew()

    def _set_aside(self, stream: StreamId) -> None:
        log = self.disk.logs.pop(stream, None)
        if log is None:
            return
        branch = StreamId(stream.node_id, stream.name, log.head().hash.hex()[:8])
        log.stream = branch
        self.disk.logs[branch] = log
        self.scheduler.note(f"{self.name} sets {stream} aside")
        self.tier.dropped(stream)
        self.do(self.gossip.dropped(stream, self.scheduler.now_ms))
        self.holds(branch, log)

    def _keep_vote(self, effect: KeepVote) -> None:
        self.disk.promises[effect.node_id] = Promise(effect.epoch, effect.instance)
        self.scheduler.note(f"{self.name} promises {effect.node_id[:3]} epoch {effect.epoch}")
        self.voter.kept(effect)
        self.do([effect.then])
