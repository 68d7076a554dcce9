"""This node's voice for epochs of others, with its promises on the disk. For trio."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import structlog
import trio

from appliance.core.errors import StorageError
from replication.effects import Effect, KeepVote
from replication.fences import Promise, Voter
from replication.messages import ClaimEpoch
from storage.fleet.votes_file import Vote, read_votes, write_votes

log = structlog.get_logger(__name__)


class Voting:
    """See the module.

    Args:
        do: Carries out what is to be done.
        held_epoch: The highest epoch of a node's streams that is held here.
    """

    def __init__(
        self,
        data_dir: Path,
        do: Callable[[Iterable[Effect]], None],
        *,
        held_epoch: Callable[[str], int],
        one_writes: trio.CapacityLimiter,
    ) -> None:
        self._data_dir = data_dir
        self._do = do
        self._held_epoch = held_epoch
        self._one_writes = one_writes
        self._voter: Voter | None = None

    async def open(self) -> None:
        """Find what was promised before. Where that can't be read, nobody gets a voice: it would be a promise broken."""
        try:
            votes = await trio.to_thread.run_sync(read_votes, self._data_dir, limiter=self._one_writes)
        except StorageError as error:
            log.error("no claim of an epoch gets a voice here", error=error.message, hint=error.hint)
            return
        self._voter = Voter({node: Promise(vote.epoch, vote.instance) for node, vote in votes.items()})

    def asked(self, peer: str, claim: ClaimEpoch) -> None:
        """A peer claims an epoch."""
        if self._voter is not None:
            self._do([self._voter.asked(peer, claim, held_epoch=self._held_epoch(peer))])

    async def keep(self, effect: KeepVote) -> None:
        """Put a promise on the disk, and then say it."""
        assert self._voter is not None
        votes = {node: Vote(*promise) for node, promise in self._voter.promises.items()}
        try:
            await trio.to_thread.run_sync(write_votes, self._data_dir, votes, limiter=self._one_writes)
        except StorageError as error:
            # Whoever asked gets no answer, and asks again.
            log.error("a promise was not kept on the disk", node=effect.node_id, error=error.message)
            return
        self._voter.kept(effect)
        self._do([effect.then])
