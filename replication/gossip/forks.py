"""Two histories under one (stream, epoch, sequence): kept as evidence, told to everybody, both histories copied. Pure.

What a fork means: two bodies of one node wrote one epoch (a clone, an old snapshot that came back). The epoch is frozen where they
part: nothing after that place is the stream's for certain before its writer claimed a new epoch. A holder goes on copying both, each
under a name of its own, because what either wrote is to be lost by nobody.
"""

from __future__ import annotations

from appliance.core.limits_replication import FORK_COUNT_MAX
from replication.effects import KeepFork, Place
from replication.gossip.state import ZERO_HASH, Core
from replication.messages import ForkProof
from replication.scheduling import Priority
from storage.replicas.streams import StreamId


class Forks:
    """What is known of forks, of any stream: the earliest place of each (stream, epoch)."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._proofs: dict[tuple[StreamId, int], ForkProof] = {}
        self._branches: dict[StreamId, Place] = {}
        self.forgotten_count = 0

    @property
    def proofs(self) -> tuple[ForkProof, ...]:
        return tuple(self._proofs.values())

    def known_before(self, proof: ForkProof) -> None:
        """Evidence that was kept before this process started."""
        self._proofs.setdefault((proof.stream, proof.epoch), proof)

    def frozen_at(self, stream: StreamId) -> tuple[int, int] | None:
        """The last epoch of a stream that is frozen, and the first place known to be contested in it; None: no fork."""
        places = [
            (epoch, proof.next_seq) for (forked, epoch), proof in self._proofs.items() if forked == stream
        ]
        return max(places, default=None)

    def branch_place(self, branch: StreamId) -> Place | None:
        """A place on the history that a branch is a copy of: it is begun with the segment in which that place lies."""
        return self._branches.get(branch)

    def move_branch(self, branch: StreamId, place: Place) -> None:
        """A branch is to begin with an earlier segment: the one that holds the frame which ends here."""
        self._branches[branch] = place

    def found(
        self,
        stream: StreamId,
        place: Place,
        other_hash: bytes,
        other_holder: str,
        seen: Place | None = None,
    ) -> StreamId | None:
        """Another node has another history than is held here.

        Args:
            seen: A place on the other's history, for where no frame of it ends at the one that was compared.
            place: As it is held here; a hash of b"" where no frame ends there here.
            other_hash: What the other node has there; b"" where no frame ends there.
        Returns:
            What the other's history is called here; None where the evidence is of no use (both have the same).
        """
        ours, theirs = place.hash or ZERO_HASH, other_hash or ZERO_HASH
        if ours == theirs or stream.branch:
            return None
        mine, other = (ours, self._core.node_id), (theirs, other_holder)
        (one, holder), (two, other_of) = sorted((mine, other))
        self._learn(ForkProof(stream, place.epoch, place.next_seq, one, two, holder, other_of), "")
        at = Place(epoch=place.epoch, next_seq=place.next_seq, hash=theirs)
        if theirs == ZERO_HASH and seen is not None:
            at = seen
        branch = StreamId(stream.node_id, stream.name, at.hash.hex()[:8])
        self._branches.setdefault(branch, at)
        return branch

    def told(self, proof: ForkProof, peer: str) -> None:
        """A peer passed on evidence."""
        if (
            proof.hash != proof.other_hash
            and not proof.stream.branch
            and proof.stream.node_id in self._core.fleet
        ):
            self._learn(proof, peer)

    def greet(self, peer: str) -> None:
        """A peer has connected: it hears of all forks."""
        for proof in self._proofs.values():
            self._core.send(peer, proof, Priority.CONTROL)

    def _learn(self, proof: ForkProof, source: str) -> None:
        key = (proof.stream, proof.epoch)
        known = self._proofs.get(key)
        if known is not None and known.next_seq <= proof.next_seq:
            return
        if known is None and len(self._proofs) >= FORK_COUNT_MAX:
            self.forgotten_count += 1
            return
        self._proofs[key] = proof
        place = Place(epoch=proof.epoch, next_seq=proof.next_seq, hash=proof.hash)
        self._core.out.append(KeepFork(stream=proof.stream, place=place, other_hash=proof.other_hash))
        for peer in self._core.peers:
            if peer != source:
                self._core.send(peer, proof, Priority.CONTROL)
