"""What is shipped of modelled streams: chunks that go through the real envelope, cut by the real LocalPieces, and copies that are restored from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from appliance.core.errors import CursorExpired
from appliance.core.limits import PAGE_BYTES
from replication.effects import Refused
from storage.replicas.errors import Fork, OtherHistory, Refusal, ReplicaRefused
from storage.replicas.streams import SEQUENCE_MAX, Chunk, SealedEnd, StreamHead, StreamId

from .frames import HASH_BYTES, Footer, Frame, Piece, pack
from .log_appending import append
from .log_model import LogModel
from .log_reading import piece_from

_encode = msgspec.msgpack.Encoder().encode
_frames: Final = msgspec.msgpack.Decoder(tuple[Frame, ...])
_footer: Final = msgspec.msgpack.Decoder(Footer)


def chunk_of(stream: StreamId, piece: Piece) -> Chunk:
    """A piece as the tier's code knows it."""
    return Chunk(
        stream,
        piece.epoch,
        piece.segment_first_seq,
        piece.begins.ljust(PAGE_BYTES, b"\0") if piece.begins is not None else None,
        piece.first_seq,
        piece.prev_hash,
        piece.next_seq,
        piece.hash,
        max(0, piece.last_at_ms),
        _encode(piece.frames),
        _encode(piece.footer) if piece.footer is not None else None,
    )


def piece_of(chunk: Chunk) -> Piece:
    """Back again.

    Raises:
        msgspec.DecodeError: it is none.
    """
    return Piece(
        chunk.epoch,
        chunk.segment_first_seq,
        chunk.header_page[:HASH_BYTES] if chunk.header_page is not None else None,
        chunk.first_seq,
        chunk.prev_hash,
        chunk.next_seq,
        chunk.hash,
        chunk.last_at_ms,
        _frames.decode(chunk.frames) if chunk.frames else (),
        _footer.decode(chunk.footer) if chunk.footer is not None else None,
    )


def part_of(chunk: Chunk, first_seq: int, prev_hash: bytes, upto_seq: int) -> Chunk | None:
    """As storage/replicas/chunk_part.py, of modelled frames."""
    piece = piece_of(chunk)
    frames = piece.frames
    begin = next(
        (at for at, each in enumerate(frames) if (each.first_seq, each.prev_hash) == (first_seq, prev_hash)),
        None,
    )
    end = next((at for at, each in enumerate(frames) if each.first_seq >= upto_seq), len(frames))
    if begin is None or begin >= end:
        return None
    last = frames[end - 1]
    part = Piece(
        piece.epoch,
        piece.segment_first_seq,
        piece.begins if begin == 0 else None,
        first_seq,
        prev_hash,
        last.next_seq,
        last.hash,
        last.at_ms,
        frames[begin:end],
        piece.footer if end == len(frames) else None,
    )
    found = chunk_of(chunk.stream, part)
    return msgspec.structs.replace(found, end_before=chunk.end_before if begin == 0 else None)


class ModelSource:
    """A stream on a modelled disk, read as ChunkSource reads files.

    Args:
        logs: The disk's.
    """

    def __init__(self, logs: Mapping[StreamId, LogModel], stream: StreamId) -> None:
        self._logs, self._stream = logs, stream

    @property
    def _log(self) -> LogModel:
        return self._logs.get(self._stream) or LogModel(self._stream)

    def head(self) -> StreamHead:
        return self._log.head()

    def after(
        self, epoch: int, next_seq: int, frame_hash: bytes, *, bytes_max: int, upto_seq: int = SEQUENCE_MAX
    ) -> Chunk | None:
        log = self._log
        if not log.segments:
            return None
        later = next((segment for segment in log.segments if segment.epoch > epoch), None)
        if epoch and later is not None and later.first_seq < next_seq:
            place = (later.epoch, later.first_seq, later.continues)
            raise OtherHistory("A later epoch began before that.", place=place, fork=None)
        found = piece_from(log, epoch, next_seq, frame_hash, bytes_max, upto_seq)
        if isinstance(found, Piece):
            return chunk_of(self._stream, found)
        if found.reason == "nothing":
            return None
        if found.reason == "expired":
            first_seq = log.segments[0].first_seq
            raise CursorExpired("It is no longer kept.", next_seq=first_seq, hint="Begin later.")
        segment = log.segments[log.segment_at(max(log.segments[0].first_seq, next_seq - 1))]
        raise OtherHistory(
            "Another history is here.",
            place=(segment.epoch, segment.first_seq, segment.continues),
            fork=Fork(self._stream, segment.epoch, next_seq, found.hash, frame_hash, segment.first_seq),
        )

    def begin(self, seq: int = 0, *, bytes_max: int) -> Chunk | None:
        log = self._log
        if not log.segments:
            return None
        segment = log.segments[log.segment_at(max(seq, log.segments[0].first_seq))]
        return self.after(0, segment.first_seq, segment.continues, bytes_max=bytes_max)

    def begins_after(self, epoch: int) -> int | None:
        return next((each.first_seq for each in self._log.segments if each.epoch > epoch), None)

    def end_before(self, seq: int, frame_hash: bytes) -> SealedEnd | None:
        for segment in self._log.segments:
            footer = segment.footer
            if footer is not None and (footer.next_seq, footer.hash) == (seq, frame_hash):
                return SealedEnd(segment.epoch, segment.first_seq, _encode(footer))
        return None

    def close(self) -> None:
        """Nothing is open."""


class ModelCopy:
    """A copy to which a restore appends, as ReplicaLog takes and refuses it."""

    def __init__(self, stream: StreamId) -> None:
        self.log = LogModel(stream)

    @property
    def is_empty(self) -> bool:
        return not self.log.segments

    def head(self) -> StreamHead:
        return self.log.head()

    def begin(self, chunk: Chunk) -> StreamHead:
        return self.append(chunk)

    def pass_over(self, chunk: Chunk) -> StreamHead:
        """A modelled log is whole: a restore in a simulation ends at a gap."""
        raise ReplicaRefused(Refusal.GAP, f"Before {chunk.first_seq} is a gap.", head=self.head())

    def append(self, chunk: Chunk) -> StreamHead:
        outcome, _ = append(self.log, pack(chunk.stream, piece_of(chunk)), {})
        if isinstance(outcome, Refused):
            reason = (
                Refusal(outcome.reason) if outcome.reason in ("gap", "fork", "damaged") else Refusal.NO_HEADER
            )
            raise ReplicaRefused(reason, f"It does not fit ({outcome.reason}).", head=outcome.head)
        return outcome
