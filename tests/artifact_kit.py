"""Firmware images of every format, made here from their specifications and not by the code that reads them."""

from __future__ import annotations

import functools
import gzip
import hashlib
import io
import json
import lzma
import operator
import struct
import tarfile
from collections.abc import Callable

from appliance.management.artifact_format import recognize
from appliance.management.artifact_image import ArtifactFormat, Found

PAYLOAD = bytes(range(256)) * 40


def reading(data: bytes) -> Callable[[int, int], bytes]:
    return lambda offset, length: data[offset : offset + length]


def found_in(data: bytes, said: ArtifactFormat | None = None) -> Found:
    return recognize(len(data), reading(data), said)


def esp32(
    *,
    chip: int = 9,
    segments: int = 3,
    has_hash: int = 1,
    version: bytes = b"v5.1-2",
    counter: int = 3,
    described: bool = True,
    magic: int = 0xE9,
) -> bytes:
    head = struct.pack(
        "<BBBBIB3sHBHH4sB", magic, segments, 2, 0x2F, 0x40080000, 0, b"", chip, 0, 0, 0, b"", has_hash
    )
    about = struct.pack(
        "<II8s32s32s16s16s32s", 0xABCD5432, counter, b"", version, b"pump", b"12:00", b"Nov", b"v5.3"
    )
    first = about + bytes(256 - len(about)) + PAYLOAD[:1000] if described else PAYLOAD[:100]
    parts = [first, *(PAYLOAD[: 128 * number] for number in range(2, segments + 1))]
    body = b"".join(struct.pack("<II", 0x3F400020, len(part)) + part for part in parts)
    checksum = functools.reduce(operator.xor, b"".join(parts), 0xEF)
    image = head + body
    image += bytes(15 - len(image) % 16) + bytes([checksum])
    return image + hashlib.sha256(image).digest() if has_hash else image


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack("<HH", kind, len(value)) + value


def area(magic: int, *values: bytes) -> bytes:
    body = b"".join(values)
    return struct.pack("<HH", magic, 4 + len(body)) + body


def mcuboot(
    *,
    version: tuple[int, int, int, int] = (1, 2, 3, 0),
    counter: bytes | None = struct.pack("<I", 5),
    flags: int = 0,
    signed: bool = True,
    header_bytes: int = 0x40,
    protected_said: int | None = None,
    more: tuple[bytes, ...] = (),
    sha256: bytes | None = None,
) -> bytes:
    protected = b"" if counter is None else area(0x6908, tlv(0x50, counter))
    size = len(protected) if protected_said is None else protected_said
    head = struct.pack("<IIHHIIBBHII", 0x96F3B83D, 0, header_bytes, size, len(PAYLOAD), flags, *version, 0)
    hashed = head + bytes(max(0, header_bytes - len(head))) + PAYLOAD + protected
    values = [tlv(0x10, hashlib.sha256(hashed).digest() if sha256 is None else sha256)]
    if signed:
        values.append(tlv(0x24, bytes(64)))
    return hashed + area(0x6907, *values, *more)


DESCRIPTION = """software =
{
    version = "2.1.0"; // the whole
    /* boards */ hardware-compatibility: [ "1.0", "1.2" ]; # and more
    images: ( { filename = "rootfs.img"; version = "9"; } );
}
"""


def member(name: str, data: bytes, magic: bytes = b"070701") -> bytes:
    raw = name.encode() + b"\0"
    numbers = (1, 0o100644, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(raw), 0)
    head = magic + b"".join(b"%08X" % number for number in numbers) + raw
    head += bytes(-len(head) % 4)
    return head + data + bytes(-len(data) % 4)


def swu(
    description: str | bytes = DESCRIPTION,
    *,
    signed: bool = False,
    magic: bytes = b"070701",
    first: str = "sw-description",
) -> bytes:
    text = description.encode() if isinstance(description, str) else description
    parts = [member(first, text, magic)]
    if signed:
        parts.append(member("sw-description.sig", b"\x30" + bytes(63), magic))
    parts += [member("rootfs.img", PAYLOAD, magic), member("TRAILER!!!", b"", magic)]
    return b"".join(parts)


def der(tag: int, content: bytes) -> bytes:
    if len(content) < 0x80:
        return bytes([tag, len(content)]) + content
    length = len(content).to_bytes((len(content).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


RAUC_MANIFEST = (
    b'[bundle]\nformat=verity\n[update]\ncompatible=board-x\nversion="3.4"\n[image.rootfs]\nversion=9\n'
)
SIGNED_DATA = bytes.fromhex("2a864886f70d010702")
DATA = bytes.fromhex("2a864886f70d010701")


def cms(content: bytes | None, *, oid: bytes = SIGNED_DATA) -> bytes:
    held = b"" if content is None else der(0xA0, content)
    inner = der(0x02, b"\3") + der(0x31, b"") + der(0x30, der(0x06, DATA) + held)
    return der(0x30, der(0x06, oid) + der(0xA0, der(0x30, inner)))


def raucb(
    *,
    manifest: bytes | None = RAUC_MANIFEST,
    signature: bytes | None = None,
    magic: bytes = b"hsqs",
    used: int | None = None,
    major: int = 4,
) -> bytes:
    body = bytearray(8192)
    body[:4] = magic
    body[28:30] = struct.pack("<H", major)
    body[40:48] = struct.pack("<Q", len(body) - 100 if used is None else used)
    made = cms(None if manifest is None else der(0x04, manifest)) if signature is None else signature
    return bytes(body) + made + struct.pack(">Q", len(made))


def tar(members: list[tuple[str, bytes]]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in members:
            about = tarfile.TarInfo(name)
            about.size = len(data)
            archive.addfile(about, io.BytesIO(data))
    return out.getvalue()


HEADER_INFO = {
    "payloads": [{"type": "rootfs-image"}],
    "artifact_provides": {"artifact_name": "release-7"},
    "artifact_depends": {"device_type": ["beaglebone", "rpi4"]},
}
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda data: data,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: b"\x28\xb5\x2f\xfd" + data,
}


def mender(
    *,
    packed: str = ".gz",
    info: object = HEADER_INFO,
    header: bytes | None = None,
    version: bytes = b'{"format":"mender","version":3}',
    signed: bool = False,
    members: Callable[[list[tuple[str, bytes]]], list[tuple[str, bytes]]] = lambda all_of_it: all_of_it,
    manifest: Callable[[bytes], bytes] = lambda text: text,
) -> bytes:
    inner = PACKERS[packed](tar([("header-info", json.dumps(info).encode())])) if header is None else header
    named = {"version": version, f"header.tar{packed}": inner}
    text = b"".join(
        b"%s  %s\n" % (hashlib.sha256(data).hexdigest().encode(), name.encode())
        for name, data in named.items()
    )
    found = [("version", version), ("manifest", manifest(text))]
    if signed:
        found.append(("manifest.sig", b"c2ln"))
    found += [(f"header.tar{packed}", inner), ("data/0000.tar.gz", PAYLOAD)]
    return tar(members(found))


IMAGES: dict[ArtifactFormat, Callable[[], bytes]] = {
    "esp32": esp32,
    "mcuboot": mcuboot,
    "swu": swu,
    "raucb": raucb,
    "mender": mender,
    "raw": lambda: PAYLOAD,
}
