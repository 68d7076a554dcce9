"""What a machine between nodes wants done, and what it is told when it was.

A machine never touches a link, a file or a clock. Whoever drives it (the replicator's process, a simulation) does what these say, in
order, and hands the results back: `read(effect, …)`, `appended(effect, …)`, `sent(peer, bytes)`. Any of them may fail, late,
or never come back when the process dies: a machine only counts on what it was told.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from replication.messages import Message, Wanted
from replication.scheduling import Priority
from storage.replicas.streams import StreamHead, StreamId

ReadReason = Literal["nothing", "unknown", "expired", "parted", "damaged"]
AppendReason = Literal["gap", "fork", "damaged", "full", "failed", "refused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A place in a stream: everything before `next_seq` lies on the history that ends with `hash`."""

    epoch: int
    next_seq: int
    hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedChunk:
    """A chunk as it is sent (packing.py), and what has to be known of it without unpacking it. Times are wall time, ms."""

    stream: StreamId
    epoch: int
    first_seq: int
    prev_hash: bytes
    next_seq: int
    hash: bytes
    last_at_ms: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """Send a message to a peer. Whoever drives says `sent(peer, size_bytes)` when it left, or was dropped with its link.

    Args:
        size_bytes: What counts towards what is under way to a peer; 0 for small messages, of which nothing need be said.
    """

    peer: str
    message: Message
    priority: Priority
    size_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """Read a chunk of a stream that is held here, own or copy; the answer is `read(this, chunk or NotThere)`.

    Args:
        place: Where the chunk begins; with epoch 0, the oldest that is kept. It must lie on the history that is held: the answer is
            `parted` where it doesn't. Where a later epoch began before it, the chunk is that epoch's first.
        bytes_max: Of frames; a single frame that is larger is one chunk.
        wanted: As in Pull.
    """

    number: int
    stream: StreamId
    place: Place
    bytes_max: int
    wanted: Wanted = "frames"


@dataclass(frozen=True, slots=True, kw_only=True)
class NotThere:
    """No chunk, and why.

    Args:
        hash: With `parted`, what the history that is held has at the place asked for; b"" where no frame ends there.
    """

    reason: ReadReason
    hash: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Append:
    """Verify a chunk and append it to the copy; the answer is `appended(this, head or Refused)`. One at a time for a stream."""

    number: int
    chunk: PackedChunk


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A chunk was not appended, and why; `head` is what the copy has.

    Args:
        reason: gap: it begins elsewhere. fork: another history. damaged: bytes are wrong. full: no room now. failed: the disk.
            refused: by a rule (too large, not wanted).
        fork_place, fork_hash: With `fork`: the place as the copy has it, and the chunk's hash there.
    """

    reason: AppendReason
    head: StreamHead
    fork_place: Place | None = None
    fork_hash: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBlob:
    """Read bytes of a blob; the answer is `blob_read(this, bytes, size)`, or None where it isn't held."""

    number: int
    blob: bytes
    offset: int
    bytes_max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteBlob:
    """Write bytes of a blob at an offset; the answer is `blob_written(this, is_whole)`.

    The digest is verified before the last bytes are said to be written; where it is wrong the blob begins anew.
    """

    number: int
    blob: bytes
    size_bytes: int
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepVote:
    """Make a promise durable, and only then send the answer that comes with it."""

    node_id: str
    epoch: int
    instance: str
    then: Send


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepFork:
    """Keep the evidence of a fork, durably, and the copy's branches: nothing of this stream is removed any more."""

    stream: StreamId
    place: Place
    other_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside:
    """A copy can't be gone on with, since what comes next is kept nowhere: keep it as a branch; the answer is `dropped(stream)`."""

    stream: StreamId


Effect = Send | Read | Append | ReadBlob | WriteBlob | KeepVote | KeepFork | SetAside
