"""Names of pieces and objects as paths, which sort as their pieces do. Pure.

streams/NODE/NAME[.fork-XXXXXXXX]/EPOCH/FIRST    epoch in 10 digits, first sequence in 20
objects/KEY
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from replication.tier.engine import OBJECT_KEY_LENGTH_MAX
from storage.replicas.streams import StreamId

STREAMS: Final = "streams"
OBJECTS: Final = "objects"
EPOCH_DIGITS: Final = 10
SEQ_DIGITS: Final = 20
_KEY: Final = re.compile(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*\Z")
_FORK: Final = ".fork-"


def check_key(key: str) -> None:
    """Hold a caller to what keys of objects are; a key made from outside is checked before it comes here."""
    assert len(key) <= OBJECT_KEY_LENGTH_MAX, key
    assert _KEY.match(key), key
    assert not {".", ".."} & set(key.split("/")), key


def epoch_path(stream: StreamId, epoch: int) -> str:
    """Where the pieces of an epoch are, without a slash at the end."""
    return f"{STREAMS}/{stream}/{epoch:0{EPOCH_DIGITS}d}"


def piece_path(stream: StreamId, epoch: int, first_seq: int) -> str:
    """Where a piece is."""
    return f"{epoch_path(stream, epoch)}/{first_seq:0{SEQ_DIGITS}d}"


def place_before(stream: StreamId, epoch: int, first_seq: int) -> str:
    """What sorts after all pieces that begin before a sequence, and before one that begins with it. No piece has that name."""
    return (
        f"{piece_path(stream, epoch, first_seq - 1)}z" if first_seq > 0 else f"{epoch_path(stream, epoch)}/-"
    )


def seq_of(path: str) -> int | None:
    """With which sequence the piece at a path begins; None where the path is no piece's."""
    digits = path.rpartition("/")[2]
    return int(digits) if len(digits) == SEQ_DIGITS and digits.isascii() and digits.isdigit() else None


def epoch_of(digits: str) -> int | None:
    """The epoch that a folder is of; None where it is none."""
    return int(digits) if len(digits) == EPOCH_DIGITS and digits.isascii() and digits.isdigit() else None


def stream_of(node_id: str, name: str) -> StreamId | None:
    """The stream whose folders these are; None where they are none's."""
    name, _, branch = name.partition(_FORK)
    try:
        return msgspec.convert((node_id, name, branch), StreamId)
    except msgspec.ValidationError:
        return None
