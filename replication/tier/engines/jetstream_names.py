"""How pieces and objects are called in a JetStream stream. Pure.

    PREFIX.s.NODE.NAME.BRANCH.EPOCH           the pieces of an epoch, one message each, in the order of their sequences
    PREFIX.m.NODE.NAME.BRANCH.EPOCH           those that took the place of lost ones, in any order: a message can't be put between two others
    PREFIX.o.LEVEL.LEVEL…                     an object

One subject for an epoch and not one for each piece, since a server keeps every subject in memory: a node's pieces of a year are millions. A branch
that is none is `-`. What a piece is called (`PieceName`) stands in a header, so that a listing moves no pieces.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from replication.tier.pieces import PieceName
from storage.replicas.streams import StreamId

HEADER: Final = "Homeport-Piece"
NO_BRANCH: Final = "-"
DOT: Final = "~"
"""For the dot of an object's key, which would begin a level; a key has none of it."""
PREFIX: Final = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_NUMBER_MAX: Final = 2**63 - 1


def pieces_subject(prefix: str, stream: StreamId, epoch: int) -> str:
    """Where the pieces of an epoch are."""
    return f"{prefix}.s.{_epoch(stream, epoch)}"


def mended_subject(prefix: str, stream: StreamId, epoch: int) -> str:
    """Where the pieces of an epoch are that took the place of lost ones."""
    return f"{prefix}.m.{_epoch(stream, epoch)}"


def epoch_of(prefix: str, subject: str) -> tuple[StreamId, int] | None:
    """Of which stream and epoch a subject's pieces are; None of another's subject."""
    words = subject.removeprefix(prefix + ".").split(".")
    if len(words) != 5 or words[0] not in ("s", "m") or not words[4].isdecimal():
        return None
    try:
        return msgspec.convert((words[1], words[2], words[3].removeprefix(NO_BRANCH)), StreamId), int(
            words[4]
        )
    except msgspec.ValidationError:
        return None


def object_subject(prefix: str, key: str) -> str:
    """Where an object is."""
    return f"{prefix}.o." + key.replace(".", DOT).replace("/", ".")


def key_of(prefix: str, subject: str) -> str:
    """The key of an object by its subject."""
    return subject.removeprefix(f"{prefix}.o.").replace(".", "/").replace(DOT, ".")


def header_of(name: PieceName) -> str:
    """A piece's name but for stream and epoch, which the subject says."""
    return " ".join(
        (
            str(name.first_seq),
            name.prev_hash.hex(),
            str(name.next_seq),
            name.hash.hex(),
            str(name.size_bytes),
            str(name.last_at_ms),
        )
    )


def name_of(stream: StreamId, epoch: int, headers: Mapping[str, str]) -> PieceName | None:
    """The name of a piece by the headers of its message; None where somebody else put something there."""
    words = headers.get(HEADER.lower(), "").split(" ")
    try:
        first, before, following, last, size, at = words
        numbers = [int(word) for word in (first, following, size, at)]
        hashes = [bytes.fromhex(word) for word in (before, last)]
    except ValueError:
        return None
    if not all(0 <= number <= _NUMBER_MAX for number in numbers):
        return None
    return PieceName(
        stream=stream,
        epoch=epoch,
        first_seq=numbers[0],
        prev_hash=hashes[0],
        next_seq=numbers[1],
        hash=hashes[1],
        size_bytes=numbers[2],
        last_at_ms=numbers[3],
    )


def _epoch(stream: StreamId, epoch: int) -> str:
    return f"{stream.node_id}.{stream.name}.{stream.branch or NO_BRANCH}.{epoch}"
