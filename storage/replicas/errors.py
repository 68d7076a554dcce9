"""Why a piece of a stream is not appended, or not given: by name, since peers act on it."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import ClassVar

from appliance.core.errors import StorageError
from storage.replicas.streams import StreamHead, StreamId


class Refusal(enum.StrEnum):
    """What was wrong with a chunk, or with the place that was asked for."""

    GAP = "gap"
    """It begins after what is held: what lies between is needed first."""
    FORK = "fork"
    """It continues another history: the same sequence stands for other records."""
    DAMAGED = "damaged"
    """Its bytes are not what the stream's writer wrote."""
    WRONG_STREAM = "wrong_stream"
    TOO_LARGE = "too_large"
    NO_HEADER = "no_header"
    """It belongs to a segment whose first page was not sent."""
    NOT_SEALED = "not_sealed"
    """Its footer is not one that the stream's writer signed for these bytes."""
    NOT_EMPTY = "not_empty"
    """A copy that has records already can't begin somewhere else."""


@dataclass(frozen=True, slots=True)
class Fork:
    """Two histories of one stream: up to `seq` the one has frames that end with `ours`, the other with `theirs`.

    Args:
        epoch: Of what is held.
        seq: The sequence after the two frames.
        segment_first_seq: Of the segment, as held, in which they part at the latest: from its beginning on a branch is copied.
    """

    stream: StreamId
    epoch: int
    seq: int
    ours: bytes
    theirs: bytes
    segment_first_seq: int


class ReplicaRefused(StorageError):  # noqa: N818 - as in the error tree
    """A chunk was not appended, and nothing was written.

    Args:
        reason: By name.
        head: How far the stream is held.
        fork: The evidence, where that is the reason.
    """

    default_code: ClassVar[str] = "replica_refused"

    def __init__(self, reason: Refusal, message: str, *, head: StreamHead, fork: Fork | None = None) -> None:
        super().__init__(
            message,
            hint="Nothing was written; it is asked for again from where the copy ends.",
            code=f"replica_{reason}",
        )
        self.reason = reason
        self.head = head
        self.fork = fork


class OtherHistory(StorageError):  # noqa: N818
    """A place was asked for that this holder's stream never had: the asker's history is another one.

    Args:
        place: (epoch, sequence, hash) of the newest place below that leads on from here: whoever has it may ask again from there.
        fork: What is here (`ours`) and what was asked for (`theirs`); None where a later epoch replaced the asker's.
    """

    default_code: ClassVar[str] = "replica_other_history"

    def __init__(self, message: str, *, place: tuple[int, int, bytes], fork: Fork | None) -> None:
        super().__init__(message, hint="Both histories are kept; see the page Sites.")
        self.place = place
        self.fork = fork
