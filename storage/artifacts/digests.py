"""Reads a file through and says what it is: both digests that clients ask for, and whether it fulfils what an image says of itself."""

from __future__ import annotations

import functools
import hashlib
import operator
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from appliance.core.limits import MIB
from appliance.management.artifact_image import Found

_PIECE_BYTES: Final = 1 * MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Digests:
    """In hexadecimal digits; clients of hawkBit compare the second."""

    sha256: str
    sha1: str


def digests_of(descriptor: int, size_bytes: int) -> Digests:
    """The digests of a file's first bytes. Raises OSError; a file that is shorter gives another digest."""
    sha256, sha1 = hashlib.sha256(), hashlib.sha1(usedforsecurity=False)
    for piece in _pieces(descriptor, 0, size_bytes):
        sha256.update(piece)
        sha1.update(piece)
    return Digests(sha256=sha256.hexdigest(), sha1=sha1.hexdigest())


def inner_problem(descriptor: int, found: Found) -> str:
    """What is wrong with an image by its own checksum or hash, in words; "" for nothing. Raises OSError."""
    if found.digest is not None:
        digest = hashlib.sha256()
        for piece in _pieces(descriptor, found.digest.offset, found.digest.length):
            digest.update(piece)
        if digest.digest() != found.digest.sha256:
            return "its content does not have the hash that it carries itself"
    if found.xor is not None:
        result = found.xor.first
        for offset, length in found.xor.ranges:
            for piece in _pieces(descriptor, offset, length):
                result ^= _xor(piece)
        if result != found.xor.result:
            return "its content does not have the checksum that it carries itself"
    return ""


def _pieces(descriptor: int, offset: int, length: int) -> Iterator[bytes]:
    end = offset + length
    while offset < end and (piece := os.pread(descriptor, min(_PIECE_BYTES, end - offset), offset)):
        yield piece
        offset += len(piece)


def _xor(piece: bytes) -> int:
    """All bytes xored: eight at a time, then the eight of the result."""
    whole = len(piece) // 8 * 8
    words = functools.reduce(operator.xor, memoryview(piece)[:whole].cast("Q"), 0)
    return functools.reduce(operator.xor, words.to_bytes(8, "little") + piece[whole:], 0)
