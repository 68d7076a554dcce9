"""Bytes that flip on a disk, in places that are named: what tests of damage share."""

from __future__ import annotations

from pathlib import Path

from appliance.core.clock import SystemClock
from appliance.core.limits import PAGE_BYTES
from storage.log import OsDisk
from storage.log.frame import HEADER_BYTES, decode_header
from storage.log.head import read_head
from storage.log.scrub import Scrubber
from storage.log.segment_header import COPY_OFFSETS


def newest(directory: Path) -> Path:
    """The file of a stream's newest segment."""
    return max(path for state in ("open", "seg", "damaged") for path in directory.glob(f"*.{state}"))


def flip(path: Path, *offsets: int) -> None:
    """Flips a bit of each of these bytes; negative offsets count from the end."""
    mode = path.stat().st_mode
    path.chmod(0o600)
    with path.open("r+b") as file:
        for offset in offsets:
            file.seek(offset, 0 if offset >= 0 else 2)
            place = file.tell()
            byte = file.read(1)[0]
            file.seek(place)
            file.write(bytes([byte ^ 4]))
    path.chmod(mode)


def flip_header(path: Path, copies: int) -> None:
    """Damages one or both copies of a segment's header."""
    flip(path, *(offset + 40 for offset in COPY_OFFSETS[:copies]))


def frame_offsets(path: Path, end: int | None = None) -> list[int]:
    """Where the frames of a segment begin, in order."""
    data, at, found = path.read_bytes()[:end], PAGE_BYTES, list[int]()
    while at < len(data) and not isinstance(header := decode_header(data[at : at + HEADER_BYTES], None), str):
        found.append(at)
        at += header.frame_bytes
    return found


def flip_frames(path: Path, *numbers: int) -> None:
    """Damages the bodies of some frames."""
    offsets = frame_offsets(path)
    flip(path, *(offsets[number] + HEADER_BYTES + 3 for number in numbers))


def flip_padding(path: Path, number: int) -> None:
    """Damages zeros between the end of a frame and the next one."""
    offsets = frame_offsets(path)
    flip(path, offsets[number + 1] - 1)


def scrub(directory: Path, *, newest: bool = False) -> None:
    """A whole pass over a stream."""
    Scrubber(
        directory, SystemClock(), interval_ms=3_600_000, newest=newest, pause=lambda seconds: None
    ).run_pass()


def whole_bytes(directory: Path) -> dict[str, bytes]:
    """Each segment without its state: all of a sealed one, of others what is before the head or the end."""
    head, found = read_head(OsDisk(), directory), dict[str, bytes]()
    for state in ("open", "seg", "damaged"):
        for path in directory.glob(f"*.{state}"):
            data = path.read_bytes()
            is_active = path.name.startswith(f"{head.epoch:08x}-{head.segment_first_seq:020d}")
            found[path.stem] = data[: head.offset] if is_active and state != "seg" else data.rstrip(b"\0")
    return found
