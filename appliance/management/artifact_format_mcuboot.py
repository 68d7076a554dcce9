"""Recognises an image for the boot loader MCUboot: its header, and the tagged values behind it.

Source: MCUboot's design document (“Image format”), bootutil/image.h.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from appliance.core.limits_updates import ARTIFACT_TLV_COUNT_MAX
from appliance.management.artifact_image import Found, Image, InnerDigest, NotThis

MAGIC: Final = 0x96F3B83D
_HEADER: Final = Struct("<IIHHIIBBHII")
_AREA: Final = Struct("<HH")
_TLV: Final = Struct("<HH")
_AREA_MAGIC: Final = 0x6907
_PROTECTED_MAGIC: Final = 0x6908
_ENCRYPTED_FLAGS: Final = 0x04 | 0x08
_SHA256, _COUNTER = 0x10, 0x50
_SIGNATURES: Final = {
    0x20: "RSA-2048",
    0x21: "ECDSA P-224",
    0x22: "ECDSA",
    0x23: "RSA-3072",
    0x24: "Ed25519",
}


def recognize(image: Image) -> Found:
    """What the image says of itself.

    Raises:
        NotThis: it is none for MCUboot.
    """
    head = image.at(0, _HEADER.size, what="its header")
    magic, _, header_bytes, protected_bytes, body_bytes, flags, major, minor, revision, build, _ = (
        _HEADER.unpack(head)
    )
    if magic != MAGIC:
        raise NotThis(f"begins with 0x{magic:08x}, not with 0x{MAGIC:08x}")
    if header_bytes < _HEADER.size:
        raise NotThis(f"says that its header has {header_bytes} bytes; it has {_HEADER.size} or more")
    if not body_bytes:
        raise NotThis("has nothing between its header and its tagged values")
    end = header_bytes + body_bytes
    values: dict[int, bytes] = {}
    kinds: set[int] = set()
    if protected_bytes:
        size = _area(image, end, _PROTECTED_MAGIC, "its protected values", values, kinds)
        if size != protected_bytes:
            raise NotThis(f"has {size} bytes of protected values, and its header says {protected_bytes}")
        end += size
    hashed_bytes = end
    _area(image, end, _AREA_MAGIC, "its tagged values", values, kinds)
    if _SHA256 in kinds and len(values.get(_SHA256, b"")) != 32:
        raise NotThis("has a hash that is not of 32 bytes")
    counter = values.get(_COUNTER, b"")
    if _COUNTER in kinds and len(counter) != 4:
        raise NotThis("has a security counter that is not of 4 bytes")
    is_encrypted = bool(flags & _ENCRYPTED_FLAGS)
    signed = [word for kind, word in _SIGNATURES.items() if kind in kinds]
    facts = [("Signed with", ", ".join(signed))] if signed else []
    if is_encrypted:
        facts.append(("Encrypted", "yes"))
    digest = None
    if _SHA256 in values and not is_encrypted:  # of an encrypted one the hash is of what it holds
        digest = InnerDigest(offset=0, length=hashed_bytes, sha256=values[_SHA256])
    return Found(
        format="mcuboot",
        version=f"{major}.{minor}.{revision}" + (f"+{build}" if build else ""),
        epoch=int.from_bytes(counter, "little") if counter else None,
        is_vendor_signed=bool(signed),
        facts=tuple(facts),
        digest=digest,
    )


def _area(image: Image, offset: int, magic: int, what: str, values: dict[int, bytes], kinds: set[int]) -> int:
    """Read an area of tagged values; gives its size. The values of the hash and the counter are kept, of all others their kind."""
    found, size = _AREA.unpack(image.at(offset, _AREA.size, what=what))
    if found != magic:
        raise NotThis(f"has 0x{found:04x} where 0x{magic:04x} begins {what}")
    if size < _AREA.size or offset + size > image.size_bytes:
        raise NotThis(f"says that {what} have {size} bytes, which are not there")
    at, end = offset + _AREA.size, offset + size
    for _ in range(ARTIFACT_TLV_COUNT_MAX):
        if at == end:
            return int(size)
        if end - at < _TLV.size:
            raise NotThis(f"has {end - at} bytes too many in {what}")
        kind, length = _TLV.unpack(image.at(at, _TLV.size, what=what))
        at += _TLV.size
        if at + length > end:
            raise NotThis(f"has a value of {length} bytes that goes beyond {what}")
        kinds.add(kind)
        if kind in (_SHA256, _COUNTER):
            values[kind] = image.at(at, length, what=what) if length <= 32 else b""
        at += length
    raise NotThis(f"has more than {ARTIFACT_TLV_COUNT_MAX} values in {what}")
