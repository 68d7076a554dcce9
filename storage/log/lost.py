"""The `lost` file: records that nobody has any more, as somebody who may said and signed, so that whoever reads goes on behind them.

A statement names the range by its place in the chain: the hash of the frame before it, and the one that the first frame behind it names. So it
counts for one history, wherever it is kept, and says nothing about any other record. It goes along with the stream to every holder
(storage/replicas/gaps.py); what it is signed with is the key of the node at which it was said.
Source: docs/LOG_FORMAT.md "Lost".
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from appliance.core.errors import LimitExceeded, LogDamaged
from appliance.core.limits import MIB
from storage.log.disk import Disk
from storage.log.layout import FORMAT_VERSION, HASH_BYTES, crc32c
from storage.log.manifest import replace_file
from storage.log.names import LOST, LOST_NEW
from storage.log.scan import DamagedRange
from storage.log.signer import Signer

LOST_CODE: Final = "log_lost"
LOST_COUNT_MAX: Final = 256
"""Ranges of one stream: more are a disk to be replaced, and a box to be restored from its peers."""
LOST_BYTES_MAX: Final = MIB
"""256 statements of at most 2 KiB, and room to spare."""
WORDS_LENGTH_MAX: Final = 200
_FIRST_LINE: Final = re.compile(rb"homeport log lost (\d+) ([0-9a-f]{8})\n")
_DOMAIN: Final = b"homeport log lost 1\0"

Hash = Annotated[bytes, Meta(min_length=HASH_BYTES, max_length=HASH_BYTES)]
Whole = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Words = Annotated[str, Meta(max_length=WORDS_LENGTH_MAX)]


class LostRange(msgspec.Struct, frozen=True, array_like=True):
    """The statement that records [first_seq, next_seq) of an epoch of a stream are lost.

    Args:
        node_id, stream: Whose they were: the writer's, 32 hexadecimal digits.
        prev_hash: Of the frame before them.
        end_hash: What the frame behind them names as the one before it.
        by, reason: Who said so, and why, for people.
        at_ms: When, wall time.
        key_id, signature: Ed25519, raw; of the node at which it was said.
    """

    node_id: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z", max_length=32)]
    stream: Annotated[str, Meta(max_length=64)]
    epoch: Whole
    first_seq: Whole
    next_seq: Whole
    prev_hash: Hash
    end_hash: Hash
    by: Words
    reason: Words
    at_ms: Whole
    key_id: Annotated[bytes, Meta(max_length=32)] = b""
    signature: Annotated[bytes, Meta(max_length=64)] = b""

    def fills(self, epoch: int, first_seq: int, next_seq: int, prev_hash: bytes, end_hash: bytes) -> bool:
        """Whether it is about just this gap of a history."""
        mine = (self.epoch, self.first_seq, self.next_seq, self.prev_hash, self.end_hash)
        return mine == (epoch, first_seq, next_seq, prev_hash, end_hash)

    def has(self, damaged: DamagedRange, epoch: int) -> bool:
        """Whether all of a damaged range's records are among these."""
        is_within = self.first_seq <= damaged.first_seq < damaged.next_seq <= self.next_seq
        return self.epoch == epoch and is_within


def sign_lost(lost: LostRange, signer: Signer) -> LostRange:
    """The statement, signed."""
    unsigned = msgspec.structs.replace(lost, key_id=signer.key_id, signature=b"")
    return msgspec.structs.replace(unsigned, signature=signer.sign(_signed(unsigned)))


def is_lost_signed(lost: LostRange) -> bool:
    """Whether the key that a statement names signed it."""
    # Not at the top: who only names logs, as the supervisor does, has no cryptography in memory.
    from storage.log.signatures import is_signed

    return is_signed(_signed(lost), key_id=lost.key_id, signature=lost.signature)


def read_lost(directory: Path) -> tuple[LostRange, ...]:
    """What of a stream is said to be lost, in order; nothing where there is no such file.

    Raises:
        LogDamaged: the file is not whole.
        OSError: it can't be read.
    """
    try:
        with (directory / LOST).open("rb") as file:
            data = file.read(LOST_BYTES_MAX)
    except FileNotFoundError:
        return ()
    found = decode_lost(data)
    if found is None:
        raise LogDamaged(
            f"The list of lost records, {directory / LOST}, is damaged.",
            hint="Move it away, and mark the ranges again: nothing of the log is lost by it.",
        )
    return found


def lost_of(directory: Path) -> tuple[LostRange, ...]:
    """As `read_lost`; nothing where the list is damaged: its ranges are damage again, which is told, and can be marked again.

    Raises:
        OSError: it can't be read.
    """
    try:
        return read_lost(directory)
    except LogDamaged:
        return ()


def encode_lost(ranges: Iterable[LostRange]) -> bytes:
    """One line with version and CRC-32C of the rest, then a JSON array."""
    body = msgspec.json.encode(list(ranges)) + b"\n"
    return b"homeport log lost %d %08x\n" % (FORMAT_VERSION, crc32c(0, body)) + body


def decode_lost(data: bytes) -> tuple[LostRange, ...] | None:
    """What the file says; None when it isn't whole."""
    match = _FIRST_LINE.match(data)
    if match is None or int(match[1]) != FORMAT_VERSION:
        return None
    body = data[match.end() :]
    if crc32c(0, body) != int(match[2], 16):
        return None
    try:
        return tuple(msgspec.json.decode(body, type=list[LostRange]))
    except msgspec.DecodeError:
        return None


def keep_lost(disk: Disk, directory: Path, lost: LostRange) -> None:
    """Adds a statement to a stream's; durable when this returns. One that is there changes nothing.

    Raises:
        LimitExceeded: `lost_count`. LogDamaged: what was said before can't be read. OSError: the disk failed.
    """
    known = read_lost(directory)
    if any(lost.fills(e.epoch, e.first_seq, e.next_seq, e.prev_hash, e.end_hash) for e in known):
        return
    if len(known) >= LOST_COUNT_MAX:
        raise LimitExceeded(
            f"{LOST_COUNT_MAX} ranges of {lost.stream} are marked lost already.",
            hint="Replace the disk, and restore this box from its peers: homeport restore --from PEER.",
            code="lost_count",
        )
    ranges = sorted((*known, lost), key=lambda each: (each.epoch, each.first_seq))
    replace_file(disk, directory, LOST, LOST_NEW, encode_lost(ranges))


def told_lost(directory: Path, error: LogDamaged) -> LogDamaged:
    """What reading a damaged range raises: where it is marked lost, that, and by whom."""
    lost = next((e for e in lost_of(directory) if e.first_seq <= error.first_seq < e.next_seq), None)
    if lost is None or error.next_seq <= error.first_seq:
        return error
    return LogDamaged(
        f"Records {error.first_seq} to {error.next_seq - 1} are lost, as {lost.by} marked them: {lost.reason or 'nobody has them'}.",
        first_seq=error.first_seq,
        next_seq=error.next_seq,
        hint="They are a gap from now on; nothing can bring them back.",
        code=LOST_CODE,
    )


def without_lost(
    damaged: Iterable[DamagedRange], ranges: Iterable[LostRange], epoch: int
) -> tuple[list[DamagedRange], list[DamagedRange]]:
    """Damage of a segment, and of it what is marked lost: its records, and blemishes of the bytes that they lay in."""
    found, known = list(damaged), list(ranges)
    gone = [each for each in found if any(lost.has(each, epoch) for lost in known)]
    left = []
    for each in found:
        is_blemish = each.next_seq == each.first_seq
        is_in_gap = any(each.offset < gap.end_offset and gap.offset < each.end_offset for gap in gone)
        if each not in gone and not (is_blemish and is_in_gap):
            left.append(each)
    return left, gone


def _signed(lost: LostRange) -> bytes:
    return _DOMAIN + msgspec.msgpack.encode(msgspec.structs.replace(lost, signature=b""))
