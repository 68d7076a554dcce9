"""A modelled copy takes a chunk, or refuses it: storage/replicas/replica_log.py, step by step, as replication/disk_work.py tells it."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import replace

from replication.effects import AppendReason, PackedChunk, Place, Refused
from storage.replicas.streams import StreamHead, StreamId

from .frames import ZERO_HASH, Footer, Frame, Piece, frame_hash, unpack
from .log_model import LogModel, Segment


class _Rejected(Exception):  # noqa: N818 - as storage/replicas/acceptance.py
    def __init__(self, reason: AppendReason, fork: tuple[int, bytes, bytes] | None = None) -> None:
        super().__init__(reason)
        self.reason: AppendReason = reason
        self.fork = fork


def append(
    log: LogModel, chunk: PackedChunk, others: Mapping[StreamId, LogModel]
) -> tuple[StreamHead | Refused, LogModel | None]:
    """A copy takes a chunk, durably, or refuses it.

    Args:
        others: All copies of the same holder: a branch gets a name that none has.
    Returns:
        What is held then, and what was replaced, as a stream of its own: the end of an earlier epoch that the writer lost.
    """
    branch: LogModel | None = None
    try:
        piece = unpack(chunk)
        if piece is None:
            raise _Rejected("damaged")
        if not log.segments and piece.segment_first_seq > 1 and piece.begins is None:
            raise _Rejected("refused")
        if piece.frames or piece.begins is not None:
            branch = _append_frames(log, piece, others)
        if piece.footer is not None:
            _seal(log, piece, piece.footer)
    except _Rejected as rejected:
        return _refused(log, rejected), branch
    return log.head(), branch


def full(log: LogModel) -> Refused:
    """What is said of any chunk while the disk is full."""
    return Refused(reason="full", head=log.head())


def _refused(log: LogModel, rejected: _Rejected) -> Refused:
    head = log.head()
    if rejected.fork is None:
        return Refused(reason=rejected.reason, head=head)
    seq, ours, theirs = rejected.fork
    place = Place(epoch=log.end.epoch, next_seq=seq, hash=ours)
    return Refused(reason="fork", head=head, fork_place=place, fork_hash=theirs)


def _append_frames(log: LogModel, piece: Piece, others: Mapping[StreamId, LogModel]) -> LogModel | None:
    newest = log.segments[-1] if log.segments else None
    end = log.end
    if newest and not newest.footer and newest.key == piece.key:
        log.frames += _checked(_rest_of(log, piece, end), end)
        return None
    if newest is None and piece.segment_first_seq > 1:
        # An empty copy may begin with any segment: what comes before is told as not copied.
        end = Place(epoch=0, next_seq=piece.segment_first_seq, hash=piece.begins or ZERO_HASH)
    if newest and piece.epoch <= newest.epoch and piece.segment_first_seq < end.next_seq:
        known = _recent(log, piece.next_seq)
        if known is not None and known != piece.hash:
            raise _Rejected("fork", (piece.next_seq, known, piece.hash))
        return None
    if newest and piece.epoch < newest.epoch:
        raise _Rejected("fork", (piece.next_seq, end.hash, piece.hash))
    if piece.first_seq > end.next_seq:
        raise _Rejected("gap")
    if piece.first_seq > piece.segment_first_seq or piece.begins is None:
        raise _Rejected("refused")
    return _begin_segment(log, piece, piece.begins, end, others)


def _begin_segment(
    log: LogModel, piece: Piece, continues: bytes, end: Place, others: Mapping[StreamId, LogModel]
) -> LogModel | None:
    seq = piece.segment_first_seq
    replaces = seq < end.next_seq
    if replaces and seq < log.segments[0].first_seq:
        raise _Rejected("gap")
    before = (log.hash_before(seq) or ZERO_HASH) if replaces else end.hash
    if continues != before:
        raise _Rejected("fork", (seq, before, continues))
    frames = _checked(piece.frames, Place(epoch=piece.epoch, next_seq=seq, hash=continues))
    branch = _cut(log, seq, others) if replaces else None
    if log.segments and log.segments[-1].first_seq == seq:
        log.segments.pop()  # it is empty, and a later epoch's begins there
    if not log.segments:
        log.recent_seq = seq
    log.segments.append(Segment(piece.epoch, seq, continues, len(log.frames)))
    log.frames += frames
    return branch


def _cut(log: LogModel, seq: int, others: Mapping[StreamId, LogModel]) -> LogModel | None:
    """What the writer lost when it began anew is kept as a history of its own; None: it is already."""
    first = bisect_left(log.frames, seq, key=lambda frame: frame.first_seq)
    at = log.segment_at(seq)
    begin = log.segments[at].at
    branch = LogModel(log.stream)
    branch.segments = [replace(each, at=each.at - begin) for each in log.segments[at:]]
    branch.frames = log.frames[begin:]
    branch.crash()
    name, following = log.frames[first].hash, log.frames[-1].hash
    while True:
        branch.stream = StreamId(log.stream.node_id, log.stream.name, name.hex()[:8])
        other = others.get(branch.stream)
        if other is None or not other.segments:
            break
        keys = {(segment.key, segment.footer is None) for segment in other.segments}
        is_all = all((segment.key, segment.footer is None) in keys for segment in branch.segments)
        if other.end.hash == branch.end.hash and is_all and other is not log:
            branch.frames.clear()
            break
        name, following = following, hashlib.sha256(following).digest()
    del log.frames[first:]
    log.segments = [each for each in log.segments if each.first_seq < seq]
    log.recent_seq = min(log.recent_seq, seq)
    return branch if branch.frames else None


def _rest_of(log: LogModel, piece: Piece, end: Place) -> Sequence[Frame]:
    """What of a piece of the newest segment is not here yet."""
    at, seq, before = 0, piece.first_seq, piece.prev_hash
    if seq > end.next_seq:
        raise _Rejected("gap")
    while seq < end.next_seq and at < len(piece.frames):
        frame = piece.frames[at]
        if frame.first_seq != seq:
            raise _Rejected("damaged")
        at, seq, before = at + 1, frame.next_seq, frame.hash
        known = _recent(log, seq)
        if known is not None and known != before:
            raise _Rejected("fork", (seq, known, before))
    if seq > end.next_seq or (seq == end.next_seq and before != end.hash):
        raise _Rejected("fork", (end.next_seq, end.hash, before))
    return piece.frames[at:]


def _recent(log: LogModel, next_seq: int) -> bytes | None:
    """The hash of a frame that was appended since the copy was opened."""
    at = log.index(next_seq) if next_seq > log.recent_seq else None
    return log.frames[at].hash if at is not None else None


def _checked(frames: Sequence[Frame], start: Place) -> Sequence[Frame]:
    """Frames that go on from a place, each what its hash says."""
    seq, before = start.next_seq, start.hash
    for frame in frames:
        words = (frame.epoch, frame.first_seq, frame.next_seq, frame.prev_hash, frame.at_ms, frame.body)
        is_next = words[:2] == (start.epoch, seq) and frame.prev_hash == before and frame.next_seq > seq
        if not is_next or frame.hash != frame_hash(*words):
            raise _Rejected("damaged")
        seq, before = frame.next_seq, frame.hash
    return frames


def _seal(log: LogModel, piece: Piece, footer: Footer) -> None:
    segment = next((each for each in log.segments if each.key == piece.key), None)
    if segment is None:
        raise _Rejected("gap")
    if segment.footer is not None:
        return
    if segment is log.segments[-1]:
        if (footer.next_seq, footer.hash) != (log.end.next_seq, log.end.hash):
            raise _Rejected("damaged")
    else:
        at = log.index(footer.next_seq)
        if at is None or log.frames[at].epoch != segment.epoch:
            raise _Rejected("failed")  # the frames that it signs are not in that file
        if log.frames[at].hash != footer.hash:
            raise _Rejected("damaged")
    segment.footer = footer
