"""What the mender asks, and of whom: peers by links, and the cloud's regions."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Final, Protocol

from replication.scheduling import Priority
from storage.log.lost import LostRange, is_lost_signed
from storage.replicas.rotten import RottenFrames
from storage.replicas.streams import Chunk, StreamId


class Unsure(Enum):
    """A peer did not say whether it has something."""

    UNSURE = "unsure"


UNSURE: Final = Unsure.UNSURE


class Sender(Protocol):
    """What links do for this (replication/link/links.py)."""

    def peers(self) -> list[str]: ...

    def send(
        self, peer: str, data: bytes, priority: Priority, on_left: Callable[[], None] | None = None
    ) -> bool: ...


class Regions(Protocol):
    """The cloud's regions: the frames of one segment that go on from a place and begin before a sequence; None where none has them."""

    async def __call__(
        self, stream: StreamId, epoch: int, next_seq: int, frame_hash: bytes, upto_seq: int
    ) -> Chunk | None: ...


async def nothing_of_regions(
    stream: StreamId, epoch: int, next_seq: int, frame_hash: bytes, upto_seq: int
) -> Chunk | None:
    """Of a node that ships to none."""
    return None


def is_gap(lost: LostRange, stream: StreamId, part: RottenFrames) -> bool:
    """Whether a statement is about just these frames, and somebody signed it."""
    is_its = (lost.node_id, lost.stream) == (stream.node_id, stream.name)
    fits = lost.fills(part.epoch, part.first_seq, part.next_seq, part.prev_hash, part.end_hash)
    return is_its and fits and is_lost_signed(lost)
