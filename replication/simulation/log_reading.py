"""Pieces of a modelled stream for whoever asks: storage/replicas/chunk_source.py, as replication/disk_work.py asks it."""

from __future__ import annotations

from bisect import bisect_left

from replication.effects import NotThere, PackedChunk, Place
from replication.messages import Wanted
from storage.replicas.streams import SEQUENCE_MAX

from .frames import ZERO_HASH, Frame, Piece, pack
from .log_model import LogModel


def read(log: LogModel, place: Place, bytes_max: int, wanted: Wanted = "frames") -> PackedChunk | NotThere:
    """What a `Read` asks for: frames of one segment from a place on, as many as fit, at least one."""
    found: Piece | NotThere
    if wanted == "footer":
        found = _footer_after(log, place.next_seq)
    elif not log.segments:
        found = NotThere(reason="nothing")
    elif wanted == "segment" or not place.epoch:
        seq = max(log.segments[0].first_seq, place.next_seq - 1 if wanted == "segment" else 0)
        segment = log.segments[log.segment_at(seq)]
        found = _after(log, 0, segment.first_seq, segment.continues, bytes_max)
    else:
        found = _after(log, place.epoch, place.next_seq, place.hash, bytes_max)
    return found if isinstance(found, NotThere) else pack(log.stream, found)


def _after(log: LogModel, epoch: int, next_seq: int, after_hash: bytes, bytes_max: int) -> Piece | NotThere:
    if epoch and log.segments[-1].epoch > epoch:
        later = next(segment for segment in log.segments if segment.epoch > epoch)
        if later.first_seq < next_seq:
            return _after(log, later.epoch - 1, later.first_seq, later.continues, bytes_max)
    return piece_from(log, epoch, next_seq, after_hash, bytes_max)


def piece_from(
    log: LogModel, epoch: int, next_seq: int, after_hash: bytes, bytes_max: int, upto_seq: int = SEQUENCE_MAX
) -> Piece | NotThere:
    """What follows a place that no later epoch replaced; frames that begin at `upto_seq` or later are left out."""
    end = log.end
    if next_seq > end.next_seq:
        return NotThere(reason="nothing")
    number = log.segment_at(next_seq)
    if number < 0:
        return NotThere(reason="expired")
    segment = log.segments[number]
    if next_seq == end.next_seq and (segment.epoch <= epoch or segment.first_seq != next_seq):
        is_same = after_hash == end.hash
        return NotThere(reason="nothing") if is_same else NotThere(reason="parted", hash=end.hash)
    ours = log.hash_before(next_seq)
    if ours != after_hash:
        return NotThere(reason="parted", hash=ours or ZERO_HASH)
    return _piece(log, number, next_seq, after_hash, bytes_max, upto_seq)


def _piece(log: LogModel, number: int, seq: int, before: bytes, bytes_max: int, upto_seq: int) -> Piece:
    segment = log.segments[number]
    bound = log.segments[number + 1].at if number + 1 < len(log.segments) else len(log.frames)
    at = bisect_left(log.frames, seq, key=lambda frame: frame.first_seq)
    taken: list[Frame] = []
    size_bytes = 0
    for frame in log.frames[at:bound]:
        size_bytes += frame.size_bytes
        if frame.first_seq >= upto_seq or (taken and size_bytes > bytes_max):
            break
        taken.append(frame)
    next_seq, end_hash = (taken[-1].next_seq, taken[-1].hash) if taken else (seq, before)
    footer = segment.footer
    return Piece(
        epoch=segment.epoch,
        segment_first_seq=segment.first_seq,
        begins=segment.continues if seq == segment.first_seq else None,
        first_seq=seq,
        prev_hash=before,
        next_seq=next_seq,
        hash=end_hash,
        last_at_ms=taken[-1].at_ms if taken else 0,
        frames=tuple(taken),
        footer=footer if footer is not None and footer.next_seq == next_seq else None,
    )


def _footer_after(log: LogModel, sealed_seq: int) -> Piece | NotThere:
    for segment in log.segments:
        footer = segment.footer
        if segment.first_seq >= sealed_seq and footer is not None:
            end = (footer.next_seq, footer.hash)
            return Piece(*segment.key, None, *end, *end, footer.last_at_ms, (), footer)
    return NotThere(reason="nothing")
