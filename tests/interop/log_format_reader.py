"""A reader of the log written from docs/LOG_FORMAT.md alone, so that the document is shown to suffice.

It imports nothing of Homeport. Names and steps follow the document; speed is of no concern.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgpack
import zstandard
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

PAGE = 4096
MIB = 1 << 20


def _table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


TABLE = _table()


def crc(seed: int, data: bytes) -> int:
    """Conventions, "Checksums"."""
    register = seed ^ 0xFFFFFFFF
    for byte in data:
        register = register >> 8 ^ TABLE[(register ^ byte) & 0xFF]
    return register ^ 0xFFFFFFFF


def u(data: bytes, offset: int, size: int) -> int:
    return int.from_bytes(data[offset : offset + size], "little")


@dataclass
class Frame:
    epoch: int
    first_seq: int
    record_count: int
    first_ms: int
    last_ms: int
    hash: bytes
    columns: list[Any]


@dataclass
class Log:
    node_id: bytes = b""
    stream: str = ""
    frames: list[Frame] = field(default_factory=list)
    signed_by: set[bytes] = field(default_factory=set)
    next_seq: int = 1
    hash: bytes = b""
    manifest_names: list[str] = field(default_factory=list)


def read_head(data: bytes) -> tuple[int, int, int, int, bytes]:
    """Head: (epoch, next_seq, segment_first_seq, offset, hash)."""
    best: tuple[int, int] | None = None
    for at in (0, 2048):
        if data[at : at + 4] == b"HPHD" and u(data, at + 96, 4) == crc(0, data[at : at + 96]):
            best = max(best or (-1, 0), (u(data, at + 8, 8), at))
    assert best is not None, "no whole slot"
    at = best[1]
    assert u(data, at + 4, 2) == 1
    return (
        u(data, at + 16, 4),
        u(data, at + 24, 8),
        u(data, at + 32, 8),
        u(data, at + 40, 8),
        data[at + 48 : at + 80],
    )


def read_log(directory: Path) -> Log:
    log = Log()
    epoch, log.next_seq, active_first, active_offset, head_hash = read_head((directory / "head").read_bytes())
    pattern = re.compile(r"([0-9a-f]{8})-(\d{20})\.(open|seg|damaged)")
    names = sorted(path.name for path in directory.iterdir() if pattern.fullmatch(path.name))
    firsts = [int(name[9:29]) for name in names]
    for name, after in zip(names, [*firsts[1:], log.next_seq], strict=True):
        data = (directory / name).read_bytes()
        end = len(data)
        if (int(name[:8], 16), int(name[9:29])) == (epoch, active_first):
            end = active_offset
        _read_segment(log, name, data, after, end)
    assert log.hash == head_hash
    _read_manifest(log, (directory / "manifest").read_bytes())
    return log


def _read_segment(log: Log, name: str, data: bytes, after: int, end: int) -> None:
    copy = next(c for c in (data[:512], data[2048:2560]) if u(c, 508, 4) == crc(0, c[:508]))
    assert copy[:8] == b"HPLOGSEG"
    assert u(copy, 8, 2) == 1
    epoch, first_seq, salt = u(copy, 12, 4), u(copy, 16, 8), u(copy, 48, 4)
    assert name.startswith(f"{epoch:08x}-{first_seq:020d}.")
    node_id, stream = copy[32:48], copy[137 : 137 + copy[136]].decode()
    if not log.frames:
        log.node_id, log.stream = node_id, stream
        log.hash = hashlib.sha256(b"homeport log genesis 1\0" + node_id + stream.encode()).digest()
    assert (node_id, stream) == (log.node_id, log.stream)
    assert u(copy, 56, 8) == first_seq - 1
    assert copy[64:96] == log.hash
    if name.endswith(".seg"):
        end = _check_footer(log, data, epoch, first_seq)
    at, seq = PAGE, first_seq
    while at < end and seq < after:
        frame, size = _read_frame(data, at, salt, log.hash)
        assert (frame.epoch, frame.first_seq) == (epoch, seq)
        log.frames.append(frame)
        log.hash = frame.hash
        seq += frame.record_count
        at += size
    assert seq == after


def _read_frame(data: bytes, at: int, salt: int, previous: bytes) -> tuple[Frame, int]:
    header = data[at : at + 96]
    assert header[:6] in (b"HPFR\x01\x00", b"HPFR\x01\x01")
    assert u(header, 92, 4) == crc(salt, header[:92])
    stored, raw = u(header, 12, 4), u(header, 16, 4)
    body = data[at + 96 : at + 96 + stored]
    frame_hash = hashlib.sha256(header[:92] + body).digest()
    trailer = data[at + 96 + stored : at + 136 + stored]
    assert trailer == frame_hash + struct.pack("<II", crc(salt, header + body + frame_hash), stored)
    assert header[48:80] == previous
    if header[5] & 1:
        body = zstandard.ZstdDecompressor().decompress(body, max_output_size=raw)
    assert len(body) == raw
    size = -(-(136 + stored) // PAGE) * PAGE
    assert not any(data[at + 136 + stored : at + size])
    columns = msgpack.unpackb(body, strict_map_key=False)
    frame = Frame(
        u(header, 8, 4),
        u(header, 24, 8),
        u(header, 20, 4),
        u(header, 32, 8),
        u(header, 40, 8),
        frame_hash,
        columns,
    )
    return frame, size


def _check_footer(log: Log, data: bytes, epoch: int, first_seq: int) -> int:
    assert data[-8:] == b"HPLOGFIN"
    footer = data[-u(data, len(data) - 16, 4) :]
    assert footer[:8] == b"HPLOGEND"
    assert u(footer, len(footer) - 12, 4) == crc(0, footer[:-12])
    assert (u(footer, 8, 2), u(footer, 10, 2), u(footer, 12, 4), u(footer, 16, 8)) == (1, 1, epoch, first_seq)
    end = u(footer, 56, 8)
    assert end == len(data) - len(footer)
    leaf_count, index_count, key_bytes, signature_bytes = (
        u(footer, 132, 4),
        u(footer, 168, 4),
        u(footer, 172, 2),
        u(footer, 174, 2),
    )
    leaves = [hashlib.sha256(data[n : min(n + MIB, end)]).digest() for n in range(0, end, MIB)]
    assert footer[176 : 176 + 32 * leaf_count] == b"".join(leaves)
    assert footer[136:168] == hashlib.sha256(b"homeport log root 1\0" + b"".join(leaves)).digest()
    index_at = 176 + 32 * leaf_count
    for n in range(index_count):
        seq, offset, _ = struct.unpack_from("<QQQ", footer, index_at + 24 * n)
        assert data[offset : offset + 4] == b"HPFR"
        assert u(data, offset + 24, 8) == seq
    key_at = index_at + 24 * index_count
    signature_at = key_at + key_bytes
    key_id = footer[key_at:signature_at]
    signature = footer[signature_at : signature_at + signature_bytes]
    Ed25519PublicKey.from_public_bytes(key_id).verify(
        signature, b"homeport log seal 1\0" + footer[:signature_at]
    )
    log.signed_by.add(key_id)
    return end


def _read_manifest(log: Log, data: bytes) -> None:
    first_line, _, rest = data.partition(b"\n")
    assert first_line == b"homeport log manifest 1 %08x" % crc(0, rest)
    log.manifest_names = [f"{s['epoch']:08x}-{s['first_seq']:020d}.seg" for s in json.loads(rest)]
