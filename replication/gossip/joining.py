"""Where a branch begins: with the segment in which two histories of a stream part, not with the one in which that was noticed. Pure.

What tells of a fork names some place after it. A branch that began there would lack what its writer wrote between, of which nobody
else would ask for it, and a holder's word that it has the branch would make its writer believe that all of it is safe. So the first
chunk of a branch is looked at before it is appended: the frame that it goes on from must lie on the history that is held under
the stream's own name. If it doesn't, the segment before is asked for, and so on: one chunk for each segment since the fork.
"""

from __future__ import annotations

from appliance.core.limits_replication import READ_COUNT_MAX
from replication.effects import NotThere, PackedChunk, Place, Read
from replication.gossip.forks import Forks
from replication.gossip.state import Core
from storage.replicas.streams import StreamId


class Joiner:
    """First chunks of branches, while it is looked up whether what they go on from is held."""

    def __init__(self, core: Core, forks: Forks) -> None:
        self._core = core
        self._forks = forks
        self._reads: dict[int, tuple[PackedChunk, str, int]] = {}

    def look_up(self, chunk: PackedChunk, peer: str, request: int) -> bool:
        """Begin to find out whether a branch may begin with a chunk; False where too much is being looked up."""
        if len(self._reads) >= READ_COUNT_MAX:
            return False
        number = self._core.number()
        self._reads[number] = (chunk, peer, request)
        place = Place(epoch=chunk.epoch, next_seq=chunk.first_seq, hash=chunk.prev_hash)
        self._core.out.append(Read(number=number, stream=_whole(chunk.stream), place=place, bytes_max=1))
        return True

    def is_reading(self, number: int) -> bool:
        return number in self._reads

    def read(self, effect: Read, outcome: PackedChunk | NotThere) -> tuple[PackedChunk, str, int, bool]:
        """What was found out.

        Returns:
            The chunk, who sent it, for which request, and whether the branch begins with it.
        """
        chunk, peer, request = self._reads.pop(effect.number)
        return chunk, peer, request, self._is_joint(effect.stream, chunk, outcome)

    def go_back(self, chunk: PackedChunk) -> bool:
        """Have the branch begin one segment earlier; False where a peer leads nowhere."""
        before = self._forks.branch_place(chunk.stream)
        if before is None or chunk.first_seq >= before.next_seq:
            return False
        place = Place(epoch=chunk.epoch, next_seq=chunk.first_seq, hash=chunk.prev_hash)
        self._forks.move_branch(chunk.stream, place)
        return True

    def _is_joint(self, whole: StreamId, chunk: PackedChunk, outcome: PackedChunk | NotThere) -> bool:
        held = self._core.held.get(whole)
        if chunk.first_seq == 1 or held is None or not held.head.epoch:
            return True
        if isinstance(outcome, PackedChunk):
            return (outcome.first_seq, outcome.prev_hash) == (chunk.first_seq, chunk.prev_hash)
        if outcome.reason == "nothing":
            return (held.head.next_seq, held.head.hash) == (chunk.first_seq, chunk.prev_hash)
        return outcome.reason in (
            "expired",
            "unknown",
        )  # what is older isn't held: it can't be followed further back


def _whole(branch: StreamId) -> StreamId:
    return StreamId(branch.node_id, branch.name)
