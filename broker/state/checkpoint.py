"""The checkpoint file: the broker's state as of one place in the log, so that a start reads only what came after it.

    magic 8 | format u32 | body bytes u64 | CRC-32C of the body u32 | body (msgpack map)

Integers are little endian. The file is replaced as a whole: written beside, fsynced, renamed, its folder fsynced. So it is
either the one before or the new one. It holds nothing that the log did not say first; one that is missing, damaged or
ahead of the log costs a longer start, and what the log no longer keeps.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgpack

from appliance.core.errors import LogDamaged
from storage.log.layout import crc32c

from .retained import RetainedMessage

MAGIC: Final = b"HPBROKER"
FORMAT: Final = 2
FORMAT_WITHOUT_SESSIONS: Final = 1
"""Read, too: what the log no longer holds of the retained messages is only there."""
_HEADER: Final = struct.Struct("<8sIQI")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The state after all records before `next_seq`."""

    next_seq: int
    retained: list[RetainedMessage]
    sessions: list[dict[str, Any]] = field(default_factory=list)
    """Of `session_snapshot`."""
    groups: list[Sequence[Any]] = field(default_factory=list)
    """Of `group_snapshot`."""


def encode_checkpoint(checkpoint: Checkpoint) -> bytes:
    """The file's bytes."""
    body: bytes = msgpack.packb(
        {
            "next_seq": checkpoint.next_seq,
            "retained": checkpoint.retained,
            "sessions": checkpoint.sessions,
            "groups": checkpoint.groups,
        }
    )
    return _HEADER.pack(MAGIC, FORMAT, len(body), crc32c(0, body)) + body


def decode_checkpoint(data: bytes) -> Checkpoint:
    """Read the file's bytes.

    Raises:
        LogDamaged: they are not what `encode_checkpoint` makes.
    """
    try:
        magic, version, size, crc = _HEADER.unpack_from(data)
        body = data[_HEADER.size :]
        if magic != MAGIC or version not in (FORMAT, FORMAT_WITHOUT_SESSIONS):
            raise ValueError("header")
        if size != len(body) or crc != crc32c(0, body):
            raise ValueError("size or checksum")
        fields = msgpack.unpackb(body)
        if version == FORMAT_WITHOUT_SESSIONS:
            fields |= {"sessions": [], "groups": []}
        return Checkpoint(
            next_seq=int(fields["next_seq"]),
            retained=[RetainedMessage(*message) for message in fields["retained"]],
            sessions=fields["sessions"],
            groups=fields["groups"],
        )
    except (struct.error, ValueError, KeyError, TypeError, msgpack.UnpackException) as error:
        raise LogDamaged(
            f"The broker's checkpoint can't be read: {error}.",
            hint="It is made anew from the log; nothing is to be done.",
        ) from error


def read_checkpoint(path: Path) -> Checkpoint | None:
    """The checkpoint; None if there is none yet.

    Raises:
        LogDamaged: it can't be read.
    """
    try:
        return decode_checkpoint(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LogDamaged(
            f"The broker's checkpoint can't be read: {error}.", hint="Look at the disk."
        ) from error


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> int:
    """Replace the file; returns its size, bytes.

    Raises:
        OSError: the disk is full or fails; the file of before is still there.
    """
    data = encode_checkpoint(checkpoint)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".new")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return len(data)
