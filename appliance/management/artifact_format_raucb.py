"""Recognises a RAUC bundle: a squashfs, then its signature (CMS), then the signature's size in the last 8 bytes.

Source: RAUC's reference (“Bundle formats”), squashfs 4.0's superblock, RFC 5652 §5, X.690 §8.1.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from appliance.core.limits_updates import ARTIFACT_SIGNATURE_BYTES_MAX
from appliance.management.artifact_image import Found, Image, NotThis, shown

MAGIC: Final = b"hsqs"
_SUPERBLOCK_BYTES: Final = 96
_BYTES_USED: Final = Struct("<Q")
_BYTES_USED_AT: Final = 40
_MAJOR: Final = Struct("<H")
_MAJOR_AT: Final = 28
_SIZE: Final = Struct(">Q")
_SEQUENCE, _SET, _INTEGER, _OCTETS, _OCTETS_OF_PARTS, _OID, _EXPLICIT = (
    0x30,
    0x31,
    0x02,
    0x04,
    0x24,
    0x06,
    0xA0,
)
_SIGNED_DATA: Final = bytes.fromhex("2a864886f70d010702")


def recognize(image: Image) -> Found:
    """What the bundle says of itself.

    Raises:
        NotThis: it is no RAUC bundle.
    """
    head = image.at(0, _SUPERBLOCK_BYTES, what="its superblock")
    if head[:4] != MAGIC:
        raise NotThis(f"begins with 0x{head[:4].hex()}, not with a squashfs (0x{MAGIC.hex()})")
    (major,) = _MAJOR.unpack_from(head, _MAJOR_AT)
    if major != 4:
        raise NotThis(f"has a squashfs of version {major}; RAUC uses version 4")
    (used,) = _BYTES_USED.unpack_from(head, _BYTES_USED_AT)
    (size,) = _SIZE.unpack(image.at(image.size_bytes - _SIZE.size, _SIZE.size, what="its signature's size"))
    start = image.size_bytes - _SIZE.size - size
    if not 1 <= size <= ARTIFACT_SIGNATURE_BYTES_MAX:
        raise NotThis("has no signature at its end: it is a bare squashfs, or was cut off")
    if not _SUPERBLOCK_BYTES <= used <= start:
        raise NotThis(
            f"says that its squashfs has {used} bytes, and {max(0, start)} are there before the signature"
        )
    manifest = _manifest(image.at(start, size, what="its signature"))
    values = _update_section(manifest)
    compatible = values.get("compatible", "")
    return Found(
        format="raucb",
        version=values.get("version", ""),
        compat=(compatible,) if compatible else (),
        is_vendor_signed=True,
        facts=(("Bundle format", "with its manifest in the signature" if manifest else "plain"),),
    )


def _manifest(cms: bytes) -> bytes:
    """The manifest that the signature holds; b"" for one that holds none (the bundle's format is plain). Raises NotThis."""
    kind, content, end = _element(cms, 0)
    if kind != _SEQUENCE or end != len(cms):
        raise NotThis("has a signature that is no CMS structure")
    kind, oid, at = _element(content, 0)
    if kind != _OID or oid != _SIGNED_DATA:
        raise NotThis("has a signature that is no CMS signature")
    kind, explicit, _ = _element(content, at)
    kind, signed, _ = _element(explicit, 0)
    if kind != _SEQUENCE:
        raise NotThis("has a CMS signature without content")
    at = 0
    for expected in (_INTEGER, _SET):
        kind, _, at = _element(signed, at)
        if kind != expected:
            raise NotThis("has a CMS signature that can't be read")
    kind, encapsulated, _ = _element(signed, at)
    kind, _, at = _element(encapsulated, 0)
    if kind != _OID:
        raise NotThis("has a CMS signature that does not say of what")
    if at == len(encapsulated):
        return b""
    kind, explicit, _ = _element(encapsulated, at)
    kind, data, _ = _element(explicit, 0)
    if kind == _OCTETS:
        return data
    if kind != _OCTETS_OF_PARTS:
        raise NotThis("has a CMS signature over something else than bytes")
    parts, at = [], 0
    while at < len(data):
        kind, part, at = _element(data, at)
        parts.append(part)
    return b"".join(parts)


def _element(data: bytes, at: int) -> tuple[int, bytes, int]:
    """Tag, content and end of the element at a place, of definite length. Raises NotThis."""
    if at + 2 > len(data):
        raise NotThis("has a signature that ends too early")
    tag, length = data[at], data[at + 1]
    at += 2
    if length > 0x84 or length == 0x80:
        raise NotThis("has a signature with lengths that can't be read")
    if length & 0x80:
        count = length & 0x7F
        if at + count > len(data):
            raise NotThis("has a signature that ends too early")
        length = int.from_bytes(data[at : at + count], "big")
        at += count
    if at + length > len(data):
        raise NotThis("has a signature that ends too early")
    return tag, data[at : at + length], at + length


def _update_section(manifest: bytes) -> dict[str, str]:
    """The keys of the section [update]."""
    values: dict[str, str] = {}
    section = ""
    for line in manifest.splitlines():
        line = line.strip()
        if line.startswith(b"["):
            section = line.decode("latin-1")
        elif section == "[update]" and b"=" in line:
            key, _, value = line.partition(b"=")
            values.setdefault(shown(key.strip()), shown(value.strip().strip(b'"')))
    return values
