"""Checking a whole log, byte for byte, also while its writer runs. Changes nothing."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from appliance.core.errors import LogDamaged, NotFound
from storage.log.disk import Disk, OsDisk
from storage.log.dropped import Dropped, DroppedRange, read_dropped
from storage.log.head import HEAD_FILE_BYTES, NOTHING_YET, Head, read_slot
from storage.log.layout import genesis_hash
from storage.log.names import DROPPED, HEAD, SegmentName, live_segments, segments_in_order
from storage.log.scan import DamagedRange
from storage.log.segment_verify import SegmentEnd, SegmentVerdict, verify_segment

LISTING_ATTEMPTS_MAX: Final = 10
"""A file may be sealed, and so renamed, between listing and opening; each attempt lists anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What `verify` found; json-able by dataclasses.asdict.

    Args:
        ok: Nothing is damaged, missing or unproved. A torn tail is no damage: nobody was promised it.
        first_seq, next_seq: Records [first_seq, next_seq) are, or should be, there.
        signed_by: Hexadecimal public keys whose signatures were found.
        damaged: Ranges and blemishes, each with the operator's next step; a range that is empty
            (first_seq == next_seq) loses no record.
        dropped: What was removed from the beginning, and by which rule: the log begins after it.
        notes: What is worth knowing and not wrong.
    """

    ok: bool
    directory: str
    stream: str
    node_id: str
    epoch: int
    first_seq: int
    next_seq: int
    frame_count: int
    record_count: int
    bytes: int
    signed_by: tuple[str, ...]
    segments: tuple[SegmentVerdict, ...]
    damaged: tuple[DamagedRange, ...]
    dropped: tuple[DroppedRange, ...]
    notes: tuple[str, ...]


def verify(
    directory: Path, *, trusted_keys: Collection[bytes] | None = None, disk: Disk | None = None
) -> VerifyReport:
    """Reads everything in a stream's directory: chain, checksums, hashes, signatures, density, head.

    Args:
        trusted_keys: Raw Ed25519 public keys; None accepts any key whose signature holds.
    Raises:
        NotFound: there is no log in that directory.
    """
    disk = disk or OsDisk()
    damaged: list[DamagedRange] = []
    head = _head(disk, directory, damaged)
    ends: dict[tuple[int, int], SegmentEnd] = {}
    names = _list(disk, directory)
    if not names and head is NOTHING_YET:
        raise NotFound(
            f"There is no log in {directory}.",
            hint="Give the directory of one stream, as in data/log/telemetry.",
        )
    for _ in range(LISTING_ATTEMPTS_MAX):
        try:
            _verify_all(disk, directory, names, head, ends)
            break
        except FileNotFoundError:
            names = _list(disk, directory)
    else:
        damaged.append(_missing(names, head, "a segment's file vanishes again and again"))
    found = [ends[name.key] for name in names if name.key in ends]
    damaged.extend(item for end in found for item in end.verdict.damaged)
    damaged.extend(links(found))
    dropped = _dropped(disk, directory, damaged)
    damaged.extend(_begins(found, dropped))
    damaged.extend(_owners(found))
    damaged.extend(_head_fits(found, head))
    damaged.extend(_untrusted(found, trusted_keys))
    first = next((end.header for end in found if end.header is not None), None)
    verdicts = tuple(end.verdict for end in found)
    notes = [
        f"{v.name} ends with {v.tail_bytes} bytes that are no whole frame: a torn tail, cut at the next start."
        for v in verdicts
        if v.tail_bytes
    ]
    notes += [
        f"Records {each.first_seq} to {each.next_seq - 1} were removed by the rule {each.rule!r}."
        for each in dropped.ranges
    ]
    notes += [
        f"Records {each.first_seq} to {each.next_seq - 1} in {each.segment} are marked lost: nobody has them."
        for verdict in verdicts
        for each in verdict.lost
    ]
    return VerifyReport(
        ok=not damaged,
        directory=str(directory),
        stream=first.stream if first else "",
        node_id=first.node_id.hex() if first else "",
        epoch=verdicts[-1].epoch if verdicts else head.epoch,
        first_seq=verdicts[0].first_seq if verdicts else head.next_seq,
        next_seq=max([head.next_seq, *(v.next_seq for v in verdicts)]),
        frame_count=sum(v.frame_count for v in verdicts),
        record_count=sum(v.record_count for v in verdicts),
        bytes=sum(v.bytes for v in verdicts),
        signed_by=tuple(sorted({v.signed_by for v in verdicts if v.signed_by})),
        segments=verdicts,
        damaged=tuple(damaged),
        dropped=dropped.ranges,
        notes=tuple(notes),
    )


def _list(disk: Disk, directory: Path) -> list[SegmentName]:
    try:
        return live_segments(segments_in_order(disk.names(directory)))
    except FileNotFoundError:
        return []


def _verify_all(
    disk: Disk, directory: Path, names: list[SegmentName], head: Head, ends: dict[tuple[int, int], SegmentEnd]
) -> None:
    for at, name in enumerate(names):
        if name.key in ends:
            continue
        active = name.key == (head.epoch, head.segment_first_seq)
        last = at + 1 == len(names)
        ends[name.key] = verify_segment(
            disk,
            directory,
            name,
            end_offset=head.offset if active and last else None,
            end_seq=None if last else names[at + 1].first_seq,
        )


def _head(disk: Disk, directory: Path, damaged: list[DamagedRange]) -> Head:
    try:
        descriptor = disk.open(directory / HEAD)
    except FileNotFoundError:
        return NOTHING_YET
    try:
        if disk.size(descriptor) < HEAD_FILE_BYTES:
            raise LogDamaged("The head file is too short.", hint="Start the writer, which makes it anew.")
        mapped = disk.map_shared(descriptor, HEAD_FILE_BYTES, write=False)
        try:
            return read_slot(mapped, directory / HEAD).head
        finally:
            mapped.close()
    except LogDamaged as error:
        damaged.append(DamagedRange(HEAD, 0, 0, 0, HEAD_FILE_BYTES, error.message, error.hint))
        return NOTHING_YET
    finally:
        disk.close(descriptor)


def _dropped(disk: Disk, directory: Path, damaged: list[DamagedRange]) -> Dropped:
    """What was removed; asked after the segments were listed, so that it is never older than the list."""
    try:
        return read_dropped(disk, directory)
    except LogDamaged as error:
        damaged.append(DamagedRange(DROPPED, 0, 0, 0, 0, error.message, error.hint))
        return Dropped()


def _begins(ends: list[SegmentEnd], dropped: Dropped) -> list[DamagedRange]:
    """Whether what is missing from the beginning was removed by a rule. What it says is gone may still be there."""
    if not ends or ends[0].verdict.first_seq < dropped.next_seq:
        return []
    first = ends[0]
    first_seq = first.verdict.first_seq
    if first_seq > dropped.next_seq:
        reason = "the segments with these records are gone, and no rule removed them"
        hint = "Restore the files from a holder of a copy."
        return [DamagedRange(first.verdict.name, dropped.next_seq, first_seq, 0, 0, reason, hint)]
    if (
        dropped.last_hash
        and first.header is not None
        and first.header.continues_hash.hex() != dropped.last_hash
    ):
        reason = "it does not continue what was removed before it: the hashes differ"
        return [_blemish(first, reason, "Compare the segment with a holder of a copy.")]
    return []


def links(ends: list[SegmentEnd]) -> list[DamagedRange]:
    """Whether each segment continues the one before, and the first one of a stream its beginning."""
    problems = []
    for before, after in pairwise(ends):
        header, position = after.header, before.position
        if header is None or position.next_seq != header.first_seq or not position.hash:
            continue  # reported with the segment that ends too early, or whose header is lost
        if position.hash != header.continues_hash:
            reason = f"it does not continue {before.verdict.name}: the hashes differ"
            problems.append(_blemish(after, reason, "Compare both segments with a holder of a copy."))
    first = ends[0].header if ends else None
    if (
        first is not None
        and first.first_seq == 1
        and first.continues_hash != genesis_hash(first.node_id, first.stream)
    ):
        problems.append(
            _blemish(ends[0], "it does not begin as this stream does", "Compare it with a holder of a copy.")
        )
    return problems


def _owners(ends: list[SegmentEnd]) -> list[DamagedRange]:
    headers = [(end, end.header) for end in ends if end.header is not None]
    if not headers:
        return []
    owner = (headers[0][1].node_id, headers[0][1].stream)
    return [
        _blemish(end, "it belongs to another node or stream", "Move the file out of this directory.")
        for end, header in headers
        if (header.node_id, header.stream) != owner
    ]


def _head_fits(ends: list[SegmentEnd], head: Head) -> list[DamagedRange]:
    """Whether the published head is one that the segments have."""
    if head is NOTHING_YET:
        return []
    if not ends:
        return [_missing([], head, "the head file says that there are records, and there is no segment")]
    last = ends[-1]
    if last.verdict.next_seq < head.next_seq:
        return [
            DamagedRange(
                last.verdict.name,
                last.verdict.next_seq,
                head.next_seq,
                last.position.offset,
                head.offset,
                "the head file says that these were on disk, and they are not there",
                "The disk lost acknowledged data: fetch the range from a holder of a copy.",
            )
        ]
    if last.position.next_seq == head.next_seq and last.position.hash and last.position.hash != head.hash:
        return [
            _blemish(
                last, "the head file has another hash for the last frame", "Compare with a holder of a copy."
            )
        ]
    return []


def _untrusted(ends: list[SegmentEnd], trusted_keys: Collection[bytes] | None) -> list[DamagedRange]:
    if trusted_keys is None:
        return []
    trusted = {key.hex() for key in trusted_keys}
    return [
        _blemish(
            end,
            f"it is signed by {end.verdict.signed_by}, which is not trusted",
            "Ask who sealed this segment.",
        )
        for end in ends
        if end.verdict.signed_by and end.verdict.signed_by not in trusted
    ]


def _blemish(end: SegmentEnd, reason: str, hint: str) -> DamagedRange:
    verdict = end.verdict
    return DamagedRange(verdict.name, verdict.first_seq, verdict.first_seq, 0, 0, reason, hint)


def _missing(names: list[SegmentName], head: Head, reason: str) -> DamagedRange:
    first = names[0].first_seq if names else 1
    hint = "Restore the files from a holder of a copy."
    return DamagedRange(str(names[0]) if names else "", first, head.next_seq, 0, 0, reason, hint)
