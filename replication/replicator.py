"""Copying between nodes, at work: the machines, the links and the disk of one node put together. For trio.

Theory of operation: everything that decides is in the machines, which this feeds with what happened (messages, links, own commits, what
was read and stored, time) and whose effects it carries out. The disk is used by two threads, one that reads and one that
appends, so neither waits for the other; how much is under way is bounded by the machines. Own commits are seen by the
log's head file, which is mapped, so looking costs no call of the kernel. No other process need be alive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol, TypeVar, TypeVarTuple

import structlog
import trio

from appliance.core.clock import Clock
from appliance.core.errors import StorageError
from appliance.management.fleet import NodeEntry, Roster
from replication.blob_work import BlobRoom, BlobWork
from replication.blobs import Blobs
from replication.disk_work import Reading, Writing
from replication.effects import (
    Append,
    Effect,
    KeepFork,
    KeepVote,
    Place,
    Read,
    ReadBlob,
    Send,
    SetAside,
    WriteBlob,
)
from replication.gossip.fleet_view import Domain, FleetView, PeerInfo
from replication.gossip.machine import Gossip
from replication.house import House
from replication.membership.events import Became, MembershipEffect
from replication.membership.membership import Membership
from replication.membership.messages import MembershipMessage
from replication.mender import Mender
from replication.messages import (
    BlobMessage,
    BlobPart,
    ClaimEpoch,
    ForkProof,
    GossipMessage,
    LeafMessage,
    decode_message,
    encode_message,
)
from replication.own_logs import OwnLogs
from replication.randomness import Randomness
from replication.safe_keeper import SafeKeeper
from replication.scheduling import Priority
from replication.tier.feeding import TierFeed
from replication.voting import Voting
from storage.replicas.room import ReplicaRoom
from storage.replicas.streams import STREAM_NAMES, StreamHead, StreamId

LOOK_INTERVAL_S: Final = 0.01
"""Own commits go out this much later at most; a look is 5 µs."""
IDLE_LOOK_INTERVAL_S: Final = 0.1
"""While no peer is connected, or nothing was committed for a second: ten timers a second cost nothing that can be measured."""
AWAKE_LOOK_COUNT: Final = 100
Args = TypeVarTuple("Args")
Result = TypeVar("Result")
log = structlog.get_logger(__name__)


class Carrier(Protocol):
    """What links do for us (replication/link/links.py)."""

    def peers(self) -> list[str]: ...

    def send(
        self, peer: str, data: bytes, priority: Priority, on_left: Callable[[], None] | None = None
    ) -> bool: ...


class Replicator:
    """See the module. Hand it to the links as their listener before they run.

    Args:
        own: The directories of this node's own streams; they need not exist yet.
        room: All copies.
        blobs: Images and archived days, which boxes of one site give each other; None for none.
        data_dir: Where the fleet's folder is; promises of epochs are kept there.
        random: All randomness.
        saved: What was known to be safe when this was last kept (storage/fleet/safe_file.py).
        tier: Ships to the cloud's regions; None for none.
    """

    def __init__(
        self,
        node_id: str,
        links: Carrier,
        *,
        own: Mapping[str, Path],
        room: ReplicaRoom,
        data_dir: Path,
        blobs: BlobRoom | None = None,
        clock: Clock,
        random: Randomness,
        safe_at: Domain = "node",
        scrub_interval_ms: int = 0,
        saved: bytes | None = None,
        tier: TierFeed | None = None,
    ) -> None:
        self.node_id = node_id
        self._links = links
        self._clock = clock
        self._own = {StreamId(node_id, name): directory for name, directory in own.items()}  # type: ignore[arg-type]
        now_ms = clock.mono_ms()
        self._safe = SafeKeeper(node_id, data_dir, saved, clock=clock)
        self.gossip = Gossip(node_id, random, now_ms, safe_at=safe_at, book=self._safe.book)
        self.membership = Membership(node_id, random, now_ms)
        self.blobs = Blobs(random, now_ms, part_bytes=self.gossip.part_bytes)
        self.fleet = FleetView(node_id)
        self._members: set[str] = set()
        self._mates: frozenset[str] = frozenset()
        self.room = room
        self._writing = Writing(room)
        self._reading = Reading(self.directory)
        self._one_reads, self._one_writes = trio.CapacityLimiter(1), trio.CapacityLimiter(1)
        self.blob_work: BlobWork | None = None
        if blobs is not None:
            limiters = {"one_reads": self._one_reads, "one_writes": self._one_writes}
            self.blob_work = BlobWork(blobs, self.blobs, self._do, clock=clock, **limiters)
        self._voting = Voting(data_dir, self._do, held_epoch=self._held_epoch, one_writes=self._one_writes)
        self._own_logs = OwnLogs(self._own, self._reading, clock, self._one_reads, self._safe.away_ms)
        self.tier = tier or TierFeed()
        self.mender = Mender(
            links, self._own, room, clock=clock, scrub_interval_ms=scrub_interval_ms, regions=self.tier.frames
        )
        self.tier.attach(node_id, self.gossip, self._tick, self.directory, clock)
        self._nursery: trio.Nursery | None = None
        self._woken = trio.Event()
        self.house = House(room, self._write, self._own_logs.sizes, self._holds)
        self._forks_at_ms: dict[tuple[StreamId, int], int] = {}

    # --- As the links' listener -------------------------------------------------------------------------------

    def link_up(self, peer: str) -> None:
        now_ms = self._clock.mono_ms()
        self._do(self.membership.link_up(peer, now_ms))
        self._do(self.gossip.connected(peer, now_ms))
        if peer in self._mates:
            self._do(self.blobs.connected(peer, now_ms))

    def link_down(self, peer: str) -> None:
        now_ms = self._clock.mono_ms()
        self._do(self.membership.link_down(peer, now_ms))
        self._do(self.gossip.disconnected(peer, now_ms))
        self._do(self.blobs.disconnected(peer, now_ms))

    def message(self, peer: str, data: bytes) -> None:
        """Raises RemoteProtocolError for what can't be understood."""
        message, now_ms = decode_message(data), self._clock.mono_ms()
        if isinstance(message, MembershipMessage):
            self._do(self.membership.receive(peer, message, now_ms))
            return
        self._do(self.membership.heard(peer, now_ms))
        if isinstance(message, GossipMessage):
            self._do(self.gossip.receive(peer, message, now_ms))
        elif isinstance(message, BlobMessage):
            self._do(self.blobs.receive(peer, message, now_ms))
        elif isinstance(message, ClaimEpoch):
            self._voting.asked(peer, message)
        elif isinstance(message, LeafMessage):
            self.mender.receive(peer, message)

    # --- Life -------------------------------------------------------------------------------------------------

    def set_roster(self, roster: Roster) -> None:
        """Who there is; at the start and whenever the roster has changed."""
        self.take_fleet([peer_info(entry) for entry in roster.admitted()])

    def take_fleet(self, nodes: Sequence[PeerInfo]) -> None:
        """All nodes that aren't decommissioned, this one among them."""
        now_ms, self.fleet = self._clock.mono_ms(), FleetView(self.node_id, nodes)
        there = {info.node_id for info in nodes} - {self.node_id}
        for node_id in there - self._members:
            self.membership.admit(node_id, now_ms)
        for node_id in self._members - there:
            self.membership.forget(node_id, now_ms)
        self._members = there
        site = next((info.site_id for info in nodes if info.node_id == self.node_id), None)
        mates = frozenset(info.node_id for info in nodes if info.site_id == site) - {self.node_id}
        for peer in self._links.peers():
            if peer in mates - self._mates:
                self._do(self.blobs.connected(peer, now_ms))
        self._mates = mates
        self.tier.set_site(mates)
        self._do(self.gossip.set_fleet([*nodes, *self.tier.infos], now_ms))

    def forks_found(self) -> list[tuple[ForkProof, int]]:
        """Forks that are known, and when this node learned of each (wall time, ms)."""
        return [
            (proof, self._forks_at_ms.get((proof.stream, proof.epoch), 0))
            for proof in self.gossip.forks.proofs
        ]

    def _unsafe_from(self) -> dict[str, int]:
        """By own stream, the first sequence that isn't safe; nothing where there is nobody on whom a copy would be."""
        if not self.gossip.is_somebody_apart():
            return {}
        return {stream.name: self.gossip.safe_seq(stream) for stream in self._own}

    @property
    def problem(self) -> str:
        """Why copying as a whole stands still; "" where it doesn't."""
        if self.gossip.ahead:
            stream, (holder, _) = next(iter(self.gossip.ahead.items()))
            return f"Node {holder} has more of this box's own stream {stream.name} than this box: its disk was lost, or is an old one."
        return self.house.error

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Copies until cancelled; started once it knows what is held.

        Raises:
            OSError: the folder of copies can't be read.
        """
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                await self._find_copies()
                await self._voting.open()
                nursery.start_soon(self._keep_time)
                nursery.start_soon(self._watch_own)
                nursery.start_soon(self.house.run)
                nursery.start_soon(self.mender.run)
                nursery.start_soon(self._safe.run, self._one_writes, self._unsafe_from)
                nursery.start_soon(self.tier.run)
                if self.blob_work is not None:
                    nursery.start_soon(self.blob_work.run)
                task_status.started()
        finally:
            self._nursery = None
            self._reading.close()
            self.room.close()
            self._own_logs.close()

    async def _find_copies(self) -> None:
        for stream in await self._write(self.room.streams):
            if stream in self._own or (stream.node_id == self.node_id and not stream.branch):
                continue
            try:
                head = await self._write(self.house.head_of_copy, stream)
                evidence = await self._write(self.room.forks, stream)
            except (StorageError, OSError) as error:
                # It is opened again with the first piece that comes for it.
                log.error("a copy can't be opened", stream=str(stream), error=str(error))
                continue
            for fork in evidence:
                proof = ForkProof(
                    stream, fork.epoch, fork.next_seq, fork.hash, fork.other_hash, self.node_id, self.node_id
                )
                self.gossip.forks.known_before(proof)
                self._forks_at_ms[(stream, fork.epoch)] = fork.found_at_ms
            if head.epoch:
                self._holds(stream, head)

    def _holds(self, stream: StreamId, head: StreamHead, *, age_ms: int = 0) -> None:
        self._do(self.gossip.holds(stream, head, self._clock.mono_ms(), age_ms=age_ms))
        self.tier.holds(stream, head)

    async def _keep_time(self) -> None:
        while True:
            now_ms = self._clock.mono_ms()
            machines = (self.gossip, self.membership, self.blobs)
            times = [at_ms for machine in machines if (at_ms := machine.next_at_ms()) is not None]
            soonest_ms = min(times, default=None)
            if soonest_ms is not None and soonest_ms <= now_ms:
                for machine in machines:
                    self._do(machine.tick(now_ms))
                await trio.lowlevel.checkpoint()
                continue
            self._woken = trio.Event()
            wait_s = float("inf") if soonest_ms is None else (soonest_ms - now_ms) / 1000
            with trio.move_on_after(wait_s):
                await self._woken.wait()

    async def _watch_own(self) -> None:
        pauses = 0
        while True:
            is_busy = False
            async for grown in self._own_logs.look():
                is_busy = True
                self._holds(grown.stream, grown.head, age_ms=grown.age_ms)
            pauses = 0 if is_busy else pauses + 1
            is_awake = self._links.peers() and pauses < AWAKE_LOOK_COUNT
            await trio.sleep(LOOK_INTERVAL_S if is_awake else IDLE_LOOK_INTERVAL_S)

    # --- Effects ----------------------------------------------------------------------------------------------

    def _do(self, effects: Iterable[Effect | MembershipEffect]) -> None:
        for effect in effects:
            match effect:
                case Send():
                    self._send(effect)
                case Became():
                    log.info("a node is seen otherwise", node=effect.node, condition=effect.condition.name)
                case _:
                    if self._nursery is not None:
                        self._nursery.start_soon(self._work, effect)
        self._woken.set()

    def _tick(self) -> None:
        self._do(self.gossip.tick(self._clock.mono_ms()))

    def _send(self, effect: Send) -> None:
        def left() -> None:
            if effect.size_bytes:
                machine = self.blobs if isinstance(effect.message, BlobPart) else self.gossip
                self._do(machine.sent(effect.peer, effect.size_bytes, self._clock.mono_ms()))

        if not self._links.send(effect.peer, encode_message(effect.message), effect.priority, left):
            left()

    async def _work(self, effect: Effect) -> None:
        match effect:
            case Read():
                outcome = await self._read(self._reading.read, effect)
                self._do(self.gossip.read(effect, outcome, self._clock.mono_ms()))
            case Append():
                stored = await self._write(self._writing.append, effect)
                self._do(self.gossip.appended(effect, stored, self._clock.mono_ms()))
                for branch, head in self._writing.take_branches():
                    self._holds(branch, head)
                if isinstance(stored, StreamHead):
                    self.tier.holds(effect.chunk.stream, stored)
            case ReadBlob() if self.blob_work is not None:
                await self.blob_work.read(effect)
            case WriteBlob() if self.blob_work is not None:
                await self.blob_work.write(effect)
            case KeepFork():
                await self._keep_fork(effect)
            case SetAside():
                await self._set_aside(effect)
            case KeepVote():
                await self._voting.keep(effect)
            case _:
                raise AssertionError(f"nobody carries out {type(effect).__name__}")

    async def _keep_fork(self, effect: KeepFork) -> None:
        place: Place = effect.place
        self._forks_at_ms.setdefault((effect.stream, place.epoch), self._clock.now_ms())
        log.error(
            "a stream has two histories",
            stream=str(effect.stream),
            epoch=place.epoch,
            before_seq=place.next_seq,
            hint="Two boxes write as one node, or an old copy of it came back: see the page Sites.",
        )
        try:
            await self._write(self._writing.keep_fork, effect, self._clock.now_ms())
        except (StorageError, OSError) as error:
            log.error("evidence of a fork was not kept", stream=str(effect.stream), error=str(error))

    async def _set_aside(self, effect: SetAside) -> None:
        try:
            branch = await self._write(self.room.set_aside, effect.stream)
        except (StorageError, OSError) as error:
            log.error("a copy was not set aside", stream=str(effect.stream), error=str(error))
            return
        await self._read(self._reading.forget, effect.stream)
        self.tier.dropped(effect.stream)
        log.warning("a copy begins anew: what comes next is kept nowhere", stream=str(effect.stream))
        self._do(self.gossip.dropped(effect.stream, self._clock.mono_ms()))
        if branch is not None:
            self._holds(branch, await self._write(self.house.head_of_copy, branch))

    async def _read(self, work: Callable[[*Args], Result], *args: *Args) -> Result:
        return await trio.to_thread.run_sync(work, *args, limiter=self._one_reads)

    async def _write(self, work: Callable[[*Args], Result], *args: *Args) -> Result:
        return await trio.to_thread.run_sync(work, *args, limiter=self._one_writes)

    def _held_epoch(self, node_id: str) -> int:
        """The highest epoch of a node's streams that is held here."""
        heads = (self.gossip.head(StreamId(node_id, name)) for name in STREAM_NAMES)
        return max(head.epoch for head in heads)

    def directory(self, stream: StreamId) -> Path:
        """Where a stream is that is held here."""
        return self._own.get(stream) or self.room.directory(stream)


def peer_info(entry: NodeEntry) -> PeerInfo:
    """A node of the roster, as far as copies go."""
    is_cloud = entry.role == "cloud"
    return PeerInfo(node_id=entry.node_id, site_id=entry.site_id, region=entry.region, is_cloud=is_cloud)
