"""Sealing a segment of a copy with the footer that the stream's writer signed: nothing is signed here, all is checked."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from appliance.core.limits import PAGE_BYTES
from storage.log.disk import Disk, write_all
from storage.log.footer import Footer, decode_footer, encode_footer
from storage.log.layout import round_to_page
from storage.log.manifest import read_manifest, summary_of, write_manifest
from storage.log.names import SegmentName
from storage.log.scan import Position
from storage.log.seal import leaf_hashes, read_footer
from storage.log.segment_verify import is_signature_valid
from storage.replicas.gaps import lost_leaves
from storage.replicas.places import place_in_file


def check_footer(data: bytes, name: SegmentName, keys: Collection[bytes] | None) -> Footer | str:
    """The footer in these bytes, if somebody who may signed it for this segment; else what is wrong with it.

    Args:
        keys: Raw Ed25519 public keys of the stream's writer; None takes any.
    """
    footer = decode_footer(data)
    if footer is None or encode_footer(footer) != data:
        return "the footer is not whole"
    if (footer.epoch, footer.first_seq) != name.key:
        return "the footer is that of another segment"
    if not PAGE_BYTES <= footer.frames_end == round_to_page(footer.frames_end):
        return "the footer's end of frames is no page"
    if not all(PAGE_BYTES <= entry.offset < footer.frames_end for entry in footer.index):
        return "the footer's index leads out of the segment"
    if keys is not None and footer.key_id not in keys:
        return f"the footer is signed with key {footer.key_id.hex()}, which is not the writer's"
    if not is_signature_valid(footer):
        return "the footer's signature is not valid"
    return footer


def pinned_keys(disk: Disk, directory: Path, live: Sequence[SegmentName], at: int) -> frozenset[bytes] | None:
    """Whose footer a segment may have: the key that signed the first sealed segment of its epoch.

    None, for any, where none is sealed yet, and for the last segment of an epoch that was followed by another: the writer of that one sealed
    it, perhaps on a new box with a new key, and the later segment's header proves where it ends.

    Raises:
        OSError: a segment can't be read.
    """
    epoch = live[at].epoch
    if at + 1 < len(live) and live[at + 1].epoch > epoch:
        return None
    for name in live:
        if name.epoch == epoch and name.state == "seg":
            descriptor = disk.open(directory / str(name))
            try:
                footer = read_footer(disk, descriptor)
            finally:
                disk.close(descriptor)
            if footer is not None and is_signature_valid(footer):
                return frozenset({footer.key_id})
    return None


def seal_copy(
    disk: Disk,
    directory: Path,
    name: SegmentName,
    descriptor: int,
    data: bytes,
    footer: Footer,
    end: Position,
) -> str:
    """Writes the footer behind the frames and renames the file; gives what doesn't fit, and then nothing was written.

    Args:
        descriptor: Of the unsealed file, for writing.
        data, footer: The same, checked.
        end: Where the segment's frames end, as they were copied; they may go on beyond the footer's end, where a later epoch
            replaces them.
    Raises:
        OSError: a step failed; the segment is still unsealed, and this may be done again.
    """
    if (footer.frames_end, footer.last_seq + 1, footer.last_hash) != (end.offset, end.next_seq, end.hash):
        return "the footer ends somewhere else than the frames that were copied"
    now = leaf_hashes(disk, descriptor, footer.frames_end)
    others = {number for number, leaf in enumerate(footer.leaves) if now[number : number + 1] != (leaf,)}
    if len(now) != len(footer.leaves) or (
        others and others - lost_leaves(disk, directory, name, descriptor, footer.frames_end)
    ):
        return "the footer's hashes are not those of the bytes that were copied"
    write_all(disk, descriptor, [data], footer.frames_end)
    disk.truncate(descriptor, footer.frames_end + len(data))
    disk.fsync(descriptor)
    disk.make_read_only(descriptor)
    sealed = SegmentName(name.epoch, name.first_seq, "seg")
    disk.rename(directory / str(name), directory / str(sealed))
    disk.fsync_directory(directory)
    known = {each.name: each for each in read_manifest(disk, directory) or ()}
    known[sealed] = summary_of(footer, footer.frames_end + len(data))
    there = set(disk.names(directory))
    write_manifest(disk, directory, [known[each] for each in sorted(known) if str(each) in there])
    return ""


def seal_older(disk: Disk, directory: Path, name: SegmentName, data: bytes, footer: Footer) -> str:
    """As `seal_copy`, for a segment to which nothing is appended any more.

    Raises:
        LogDamaged: its end isn't there. OSError: the disk failed.
    """
    end = place_in_file(disk, directory, name, footer.last_seq + 1)
    descriptor = disk.open(directory / str(name), write=True)
    try:
        return seal_copy(disk, directory, name, descriptor, data, footer, end)
    finally:
        disk.close(descriptor)
