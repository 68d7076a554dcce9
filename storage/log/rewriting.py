"""Making a sealed segment's file anew beside the old one, and sealing again what was mended.

A sealed file is read-only and never written over: another one is made under the name `mended`, fsynced and renamed over it, so at no
moment is there one that is half of each. What isn't sealed is mended in place (storage/replicas/mending.py): only bytes that are damaged
anyway are written over.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from storage.log.disk import Disk, write_all
from storage.log.footer import Footer
from storage.log.lost import lost_of
from storage.log.manifest import SegmentSummary, summary_of
from storage.log.names import SegmentName
from storage.log.scan import DamagedRange
from storage.log.scrub_state import read_scrub_state
from storage.log.seal import read_footer, sealing_of
from storage.log.signer import Signer
from storage.log.window import WINDOW_BYTES

MENDED: Final = "mended"
"""The file that is being made; one at a time in a stream's directory."""


def write_anew(disk: Disk, directory: Path, name: SegmentName, parts: Iterable[bytes], size: int) -> None:
    """Puts a file of these bytes in a sealed segment's place, durably.

    Args:
        size: Of all parts together, bytes.
    Raises:
        OSError: a step failed, or there is no room; the segment is as it was.
    """
    path = directory / MENDED
    with suppress(FileNotFoundError):
        disk.unlink(path)  # of a crash: it may be read-only already
    writing = disk.open(path, create=True)
    try:
        disk.allocate(writing, size)
        offset = 0
        for part in parts:
            offset += write_all(disk, writing, [part], offset)
        assert offset == size, f"{offset} bytes were written of {size}"
        disk.fsync(writing)
        disk.make_read_only(writing)
        disk.rename(path, directory / str(name))
        disk.fsync_directory(directory)
    except OSError:
        with suppress(FileNotFoundError):
            disk.unlink(path)
        raise
    finally:
        disk.close(writing)


def bytes_of(disk: Disk, descriptor: int, start: int, end: int) -> Iterable[bytes]:
    """Bytes [start, end) of a file, a window at a time.

    Raises:
        OSError: they can't be read.
    """
    for offset in range(start, end, WINDOW_BYTES):
        yield disk.pread(descriptor, min(WINDOW_BYTES, end - offset), offset)


def write_footer_anew(
    disk: Disk, directory: Path, name: SegmentName, descriptor: int, footer: Footer, data: bytes
) -> None:
    """Puts a footer behind the frames of a sealed segment whose own one is damaged.

    Args:
        descriptor: Of the file as it is.
        footer, data: The same.
    Raises:
        OSError: as `write_anew`.
    """
    frames = bytes_of(disk, descriptor, 0, footer.frames_end)
    write_anew(disk, directory, name, [*frames, data], footer.frames_end + len(data))


def has_to_be_sealed(disk: Disk, directory: Path, name: SegmentName, set_aside: SegmentName | None) -> bool:
    """Whether a segment that isn't written to any more is to be sealed at a start: for the first time, or again.

    That is one that isn't yet; one that was set aside as damaged, in case that it was mended since; and a sealed one of which a scrub found that its
    footer is damaged, and which no holder of a copy had. What is damaged still is only read, and stays as it is.

    Args:
        set_aside: The one in which damage was found just now.
    Raises:
        OSError: the directory can't be read.
    """
    if name.state != "seg":
        return set_aside is None or name.key != set_aside.key
    state = read_scrub_state(directory)
    if str(name) not in {each.segment for each in (*state.last.damaged, *state.now.damaged)}:
        return False
    descriptor = disk.open(directory / str(name))
    try:
        return read_footer(disk, descriptor) is None
    finally:
        disk.close(descriptor)


def seal_again(
    disk: Disk, directory: Path, name: SegmentName, end_seq: int, end_hash: bytes, signer: Signer, now_ms: int
) -> SegmentSummary | list[DamagedRange]:
    """Signs a sealed segment whose footer is damaged, if all of its frames are whole; as `seal_segment`.

    Raises:
        OSError: a step failed; the segment is as it was.
    """
    descriptor = disk.open(directory / str(name))
    try:
        lost = lost_of(directory)
        found = sealing_of(disk, descriptor, name, end_seq, end_hash, signer, now_ms, lost)
        if isinstance(found, list):
            return found
        footer, data = found
        write_footer_anew(disk, directory, name, descriptor, footer, data)
    finally:
        disk.close(descriptor)
    return summary_of(footer, footer.frames_end + len(data))
