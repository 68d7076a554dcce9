"""Who may write an epoch of a node's streams: claims, voices, and the order of fences. Sans-IO.

A body of a node that can't be sure that it is the newest (its disk was lost, it is an old snapshot, a clone) writes nothing before it
has an epoch that no other body has. It asks the fleet: every node promises an epoch of another node once, to one instance, and
keeps the promise on its disk before it says so. A majority of all other nodes makes the claim good; two majorities share a node, so
one epoch never has two writers. Where no majority can be reached, a person may grant it with a signature, and then a branch
id keeps the two apart should both have written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from replication.effects import Effect, KeepVote, Send
from replication.messages import ClaimAnswer, ClaimEpoch
from replication.randomness import Randomness
from replication.scheduling import Priority

EPOCH_MAX: Final = 2**32 - 1
ASK_INTERVAL_MS: Final = 5_000
"""Who didn't answer is asked again."""
ClaimState = Literal["asking", "claimed"]


class Fence(NamedTuple):
    """Of whatever has one writer at a time: the higher one counts. Two nodes never make the same one."""

    counter: int
    node_id: str

    def above(self, node_id: str) -> Fence:
        """The fence with which a node takes over."""
        return Fence(self.counter + 1, node_id)


class Promise(NamedTuple):
    """An epoch of a node that was promised, and to which body of it."""

    epoch: int
    instance: str


class Voter:
    """Gives this node's voice to claims of others.

    Args:
        promises: What was promised before this process began.
    """

    def __init__(self, promises: Mapping[str, Promise] | None = None) -> None:
        self._promises: dict[str, Promise] = dict(promises or {})
        self._unkept: set[str] = set()

    @property
    def promises(self) -> Mapping[str, Promise]:
        return self._promises

    def forget(self, known: Iterable[str]) -> None:
        """Only promises to nodes that are still of the fleet are kept: there are no more than those."""
        there = set(known)
        self._promises = {node: promise for node, promise in self._promises.items() if node in there}

    def kept(self, vote: KeepVote) -> None:
        """A promise is on the disk: it need not be written again when it is asked for again."""
        if self._promises.get(vote.node_id) == (vote.epoch, vote.instance):
            self._unkept.discard(vote.node_id)

    def asked(self, peer: str, claim: ClaimEpoch, *, held_epoch: int) -> Effect:
        """A peer asks for a voice; its answer, after the promise was made durable where there is one.

        Args:
            held_epoch: The highest epoch of the peer's streams that is held here: it was written, so it is nobody's to claim.
        """
        promise = self._promises.get(peer, Promise(0, ""))
        is_same = promise == (claim.epoch, claim.instance)
        is_free = claim.epoch > max(promise.epoch, held_epoch)
        is_granted = claim.node_id == peer and (is_same or is_free)
        if is_granted and not is_same:
            promise = self._promises[peer] = Promise(claim.epoch, claim.instance)
        answer = ClaimAnswer(
            claim.request, claim.node_id, claim.epoch, is_granted, max(promise.epoch, held_epoch)
        )
        send = Send(peer=peer, message=answer, priority=Priority.CONTROL)
        if not is_granted or (is_same and peer not in self._unkept):
            return send
        self._unkept.add(peer)
        return KeepVote(node_id=peer, epoch=claim.epoch, instance=claim.instance, then=send)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimStatus:
    """How a claim stands.

    Args:
        needed_count: Voices that make it good; 0 where nobody else is of the fleet.
        voters: Who gave theirs.
    """

    state: ClaimState
    epoch: int
    needed_count: int
    voters: frozenset[str]


class Claim:
    """An epoch that this node wants.

    Args:
        known_epoch: The highest that is known of the own streams, here and from what peers hold.
        others: All other nodes that are of the fleet.
    """

    def __init__(
        self,
        node_id: str,
        instance: str,
        *,
        known_epoch: int,
        others: Iterable[str],
        rng: Randomness,
        now_ms: int,
    ) -> None:
        self._node_id = node_id
        self._instance = instance
        self._others = frozenset(others) - {node_id}
        self._rng = rng
        self._connected: dict[str, None] = {}
        self._ask_at_ms = now_ms + ASK_INTERVAL_MS
        self._epoch, self._request = 0, 0
        self._voters: set[str] = set()
        self._begin(known_epoch + 1)

    @property
    def status(self) -> ClaimStatus:
        needed_count = len(self._others) // 2 + 1 if self._others else 0
        state: ClaimState = "claimed" if len(self._voters) >= needed_count else "asking"
        return ClaimStatus(
            state=state, epoch=self._epoch, needed_count=needed_count, voters=frozenset(self._voters)
        )

    def next_at_ms(self) -> int | None:
        """When `tick` is due; None once the claim is good."""
        return self._ask_at_ms if self.status.state == "asking" else None

    def connected(self, peer: str) -> list[Effect]:
        """A node of the fleet can be asked."""
        if peer not in self._others:
            return []
        self._connected[peer] = None
        return self._ask([peer])

    def disconnected(self, peer: str) -> None:
        self._connected.pop(peer, None)

    def answered(self, peer: str, answer: ClaimAnswer) -> list[Effect]:
        """A voice, or word of an epoch that somebody else has."""
        if peer not in self._others or answer.request != self._request or answer.epoch != self._epoch:
            return []
        if self.status.state == "claimed":
            return []
        if answer.is_granted:
            self._voters.add(peer)
            return []
        if answer.promised_epoch < self._epoch or answer.promised_epoch >= EPOCH_MAX:
            return []  # it refuses without saying what stands in the way
        self._begin(answer.promised_epoch + 1)
        return self._ask(self._connected)

    def tick(self, now_ms: int) -> list[Effect]:
        """Asks again who didn't answer."""
        if now_ms < self._ask_at_ms:
            return []
        self._ask_at_ms = now_ms + ASK_INTERVAL_MS
        return self._ask(self._connected)

    def _begin(self, epoch: int) -> None:
        self._epoch = epoch
        self._request = self._rng.randrange(1, 2**32)
        self._voters.clear()

    def _ask(self, peers: Iterable[str]) -> list[Effect]:
        if self.status.state == "claimed":
            return []
        claim = ClaimEpoch(self._request, self._node_id, self._epoch, self._instance)
        return [
            Send(peer=peer, message=claim, priority=Priority.CONTROL)
            for peer in peers
            if peer not in self._voters
        ]
