"""Where streams come from when a box has lost its own: the one interface of a restore and of a drill.

Peers are such a source (replication/fetching.py). Whatever else holds streams says who has what of a node, and copies one into a log that verifies
each byte (storage/replicas/replica_log.py); so no source has to be trusted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from storage.replicas.replica_log import ReplicaLog
from storage.replicas.streams import StreamHead, StreamId

Progress = Callable[[StreamId, int, int], None]
"""(stream, records held, records there are)."""
Holders = Mapping[StreamId, Mapping[str, StreamHead]]
"""Of one node's streams, by stream and holder, how far each holder has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Records [first_seq, next_seq) of a stream that a source should have and can't give, for a reason in words."""

    stream: StreamId
    first_seq: int
    next_seq: int
    why: str


OnGap = Callable[[Gap], None]


class Source(Protocol):
    """Who has what, and how to get it."""

    async def holders(self, node_id: str) -> Holders:
        """What can be had of a node's streams now."""

    async def copy(
        self,
        stream: StreamId,
        log: ReplicaLog,
        *,
        until: tuple[int, int] | None = None,
        progress: Progress = lambda stream, done, total: None,
        on_gap: OnGap | None = None,
    ) -> StreamHead:
        """Copies a stream; gives how far it is then.

        Args:
            until: Not beyond this place (epoch, next_seq), give or take a chunk; all there is if not given.
            on_gap: Hears of what can't be had though more comes after it, which is copied then; None to end there. A source whose holders keep
                streams whole has no gaps.
        Raises:
            Unavailable: `stream_not_had`: nobody is left that has more, and somebody said that there is.
            StorageError: the disk failed, or is full.
        """
