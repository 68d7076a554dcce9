"""How far the scrubbing of a stream has come, and what it found: a small file in the stream's directory.

Read by whoever mends or seals again; written by the scrubber (scrub.py).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from appliance.core.limits import MIB
from storage.log.layout import crc32c
from storage.log.names import SCRUB
from storage.log.scan import DamagedRange

STATE_BYTES_MAX: Final = MIB
"""Twice SCRUB_DAMAGE_COUNT_MAX ranges of at most 1 KiB, and room to spare."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrubPass:
    """One reading of everything; times are wall time, `ended_at_ms` 0 while it runs.

    Args:
        epoch, first_seq: Of the segment that was read last; 0 before the first.
        damaged_total: Ranges and blemishes found; `damaged` has the first SCRUB_DAMAGE_COUNT_MAX of them.
        lost_total: Records that are marked lost: a gap, and no damage.
    """

    began_at_ms: int = 0
    ended_at_ms: int = 0
    epoch: int = 0
    first_seq: int = 0
    segment_count: int = 0
    bytes: int = 0
    damaged_total: int = 0
    damaged: tuple[DamagedRange, ...] = ()
    lost_total: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrubState:
    """The pass that runs, and the last one that was finished; json-able."""

    now: ScrubPass = ScrubPass()
    last: ScrubPass = ScrubPass()

    @property
    def damaged_total(self) -> int:
        """Of the finished pass, or of the running one where that has found more."""
        return max(self.now.damaged_total, self.last.damaged_total)


def encode_scrub_state(state: ScrubState) -> bytes:
    """A line with the CRC-32C of the rest, then JSON."""
    body = json.dumps(asdict(state), separators=(",", ":")).encode() + b"\n"
    return b"homeport log scrub 1 %08x\n" % crc32c(0, body) + body


def decode_scrub_state(data: bytes) -> ScrubState | None:
    """What the file says; None when it isn't whole."""
    first, _, body = data.partition(b"\n")
    if first != b"homeport log scrub 1 %08x" % crc32c(0, body):
        return None
    fields = json.loads(body)
    return ScrubState(now=_pass(fields["now"]), last=_pass(fields["last"]))


def _pass(fields: dict[str, Any]) -> ScrubPass:
    return ScrubPass(**{**fields, "damaged": tuple(DamagedRange(**each) for each in fields["damaged"])})


def read_scrub_state(directory: Path) -> ScrubState:
    """How far scrubbing is; a new beginning where that isn't known.

    Raises:
        OSError: the file can't be read.
    """
    try:
        with (directory / SCRUB).open("rb") as file:
            return decode_scrub_state(file.read(STATE_BYTES_MAX)) or ScrubState()
    except FileNotFoundError:
        return ScrubState()
