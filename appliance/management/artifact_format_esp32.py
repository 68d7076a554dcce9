"""Recognises an application image for the ESP32 family: header, segments, checksum, appended hash, application description.

Source: Espressif's “Firmware Image Format” (esptool documentation) and esp_app_desc_t of ESP-IDF.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from appliance.management.artifact_image import Found, Image, InnerDigest, InnerXor, NotThis, shown

MAGIC: Final = 0xE9
_HEADER: Final = Struct("<BBBBIB3sHBHH4sB")
_SEGMENT: Final = Struct("<II")
_SEGMENT_COUNT_MAX: Final = 16
"""ESP_IMAGE_MAX_SEGMENTS."""
_CHIPS: Final = {
    0: "ESP32",
    2: "ESP32-S2",
    5: "ESP32-C3",
    9: "ESP32-S3",
    12: "ESP32-C2",
    13: "ESP32-C6",
    16: "ESP32-H2",
    18: "ESP32-P4",
    20: "ESP32-C61",
    23: "ESP32-C5",
}
_DESCRIPTION: Final = Struct("<II8s32s32s16s16s32s")
_DESCRIPTION_MAGIC: Final = 0xABCD5432
_CHECKSUM_FIRST: Final = 0xEF
_HASH_BYTES: Final = 32
_ALIGN_BYTES: Final = 16


def recognize(image: Image) -> Found:
    """What the image says of itself.

    Raises:
        NotThis: it is none for this family.
    """
    head = image.at(0, _HEADER.size, what="its header")
    magic, count, _, _, _, _, _, chip, _, _, _, _, has_hash = _HEADER.unpack(head)
    if magic != MAGIC:
        raise NotThis(f"begins with 0x{magic:02X}, not with 0x{MAGIC:02X}")
    if not 1 <= count <= _SEGMENT_COUNT_MAX:
        raise NotThis(f"says that it has {count} segments; there are 1 to {_SEGMENT_COUNT_MAX}")
    if chip not in _CHIPS:
        raise NotThis(f"is for a chip of number {chip}, which is none of the ESP32 family")
    if has_hash > 1:
        raise NotThis(f"says {has_hash} where 0 or 1 tells whether a hash follows")
    ranges = []
    end = _HEADER.size
    for number in range(1, count + 1):
        what = f"segment {number} of {count}"
        _, length = _SEGMENT.unpack(image.at(end, _SEGMENT.size, what=f"the header of {what}"))
        end += _SEGMENT.size
        if end + length > image.size_bytes:
            raise NotThis(f"ends before {what} does ({image.size_bytes} bytes, {end + length} are needed)")
        ranges.append((end, length))
        end += length
    end = (end + _ALIGN_BYTES) // _ALIGN_BYTES * _ALIGN_BYTES
    (checksum,) = image.at(end - 1, 1, what="its checksum")
    digest = None
    if has_hash:
        sha256 = image.at(end, _HASH_BYTES, what="its hash")
        digest = InnerDigest(offset=0, length=end, sha256=sha256)
        end += _HASH_BYTES
    version, epoch, facts = _description(image, ranges[0])
    return Found(
        format="esp32",
        version=version,
        epoch=epoch,
        facts=(("Chip", _CHIPS[chip]), *facts),
        is_vendor_signed=image.size_bytes > end,  # a signature's sector follows, padded to its start
        digest=digest,
        xor=InnerXor(ranges=tuple(ranges), first=_CHECKSUM_FIRST, result=checksum),
    )


def _description(image: Image, first: tuple[int, int]) -> tuple[str, int | None, tuple[tuple[str, str], ...]]:
    """Version, security counter and facts of the application's description, which begins the first segment."""
    offset, length = first
    if length < _DESCRIPTION.size:
        return "", None, ()
    data = image.at(offset, _DESCRIPTION.size, what="its description")
    magic, counter, _, version, project, _, _, idf = _DESCRIPTION.unpack(data)
    if magic != _DESCRIPTION_MAGIC:
        return "", None, ()
    facts = (("Project", shown(project)), ("Made with", shown(idf)))
    return shown(version), counter or None, tuple((name, value) for name, value in facts if value)
