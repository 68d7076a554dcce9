"""Recognises a Mender artifact: a tar with version, manifest, header.tar and data, in that order.

Source: Mender's artifact format, versions 2 and 3 (mender-artifact, Documentation/artifact-format-v3.md), POSIX.1-2017 “ustar”.
"""

from __future__ import annotations

import hashlib
import lzma
import re
import zlib
from typing import Any, Final

import msgspec

from appliance.core.limits_updates import (
    ARTIFACT_COMPAT_COUNT_MAX,
    ARTIFACT_DESCRIPTION_BYTES_MAX,
    ARTIFACT_LZMA_BYTES_MAX,
    ARTIFACT_MEMBER_COUNT_MAX,
)
from appliance.management.artifact_image import Found, Image, InnerDigest, NotThis, shown

_BLOCK: Final = 512
_MAGIC: Final = b"ustar"
_MAGIC_AT: Final = 257
_CHECKSUM: Final = slice(148, 156)
_SIZE: Final = slice(124, 136)
_OCTAL: Final = re.compile(rb" *[0-7]{1,11}[ \0]*")
_HEADERS: Final = ("header.tar", "header.tar.gz", "header.tar.xz", "header.tar.zst")
_MANIFEST_LINE: Final = re.compile(rb"([0-9a-f]{64})  (\S{1,255})")
_VERSIONS: Final = (2, 3)


class _Version(msgspec.Struct, frozen=True):
    format: str
    version: int


class _Depends(msgspec.Struct, frozen=True):
    device_type: list[str] = []


class _Provides(msgspec.Struct, frozen=True):
    artifact_name: str = ""


class _HeaderInfo(msgspec.Struct, frozen=True):
    """Of version 3; version 2 has the first two on top."""

    artifact_name: str = ""
    device_types_compatible: list[str] = []
    artifact_provides: _Provides = _Provides()
    artifact_depends: _Depends = _Depends()


def recognize(image: Image) -> Found:
    """What the artifact says of itself.

    Raises:
        NotThis: it is no Mender artifact.
    """
    name, size, at = _member(image.at, image.size_bytes, 0)
    if name != "version":
        raise NotThis(f"has “{name}” as its first member, not version")
    version_text = _small(image, at, size, "version")
    version = _decoded(version_text, _Version, "version")
    if version.format != "mender" or version.version not in _VERSIONS:
        raise NotThis(
            f"says that it is of format “{version.format[:40]}” and version {version.version}; mender 2 and 3 are known"
        )
    name, size, at = _member(image.at, image.size_bytes, _next(at, size))
    if name != "manifest":
        raise NotThis(f"has “{name}” as its second member, not manifest")
    digests = _digests(_small(image, at, size, "manifest"))
    if digests.get("version") != hashlib.sha256(version_text).digest():
        raise NotThis("has a version that its manifest does not vouch for")
    is_signed = False
    for _ in range(ARTIFACT_MEMBER_COUNT_MAX):
        name, size, at = _member(image.at, image.size_bytes, _next(at, size))
        is_signed |= name == "manifest.sig"
        if name in _HEADERS:
            break
    else:
        raise NotThis("has no header.tar")
    if name not in digests:
        raise NotThis(f"has a {name} that its manifest does not vouch for")
    data_name, _, _ = _member(image.at, image.size_bytes, _next(at, size))
    if not data_name.startswith("data/"):
        raise NotThis(f"has “{data_name}” behind its header, not data")
    info = _header_info(name, image.at(at, min(size, ARTIFACT_DESCRIPTION_BYTES_MAX), what=name))
    compat = info.artifact_depends.device_type or info.device_types_compatible
    if len(compat) > ARTIFACT_COMPAT_COUNT_MAX:
        raise NotThis(f"names more than {ARTIFACT_COMPAT_COUNT_MAX} kinds of hardware")
    return Found(
        format="mender",
        version=shown((info.artifact_provides.artifact_name or info.artifact_name).encode()),
        compat=tuple(dict.fromkeys(shown(each.encode()) for each in compat)),
        is_vendor_signed=is_signed,
        facts=(("Mender's format", str(version.version)),),
        digest=InnerDigest(offset=at, length=size, sha256=digests[name]),
    )


def _member(read: Any, size_bytes: int, at: int) -> tuple[str, int, int]:
    """A member's name, its size, and where its content begins. Raises NotThis."""
    head = read(at, _BLOCK, what="a member's header")
    if head[_MAGIC_AT : _MAGIC_AT + len(_MAGIC)] != _MAGIC:
        raise NotThis(("is" if at == 0 else f"has at byte {at}") + " no member of a tar archive")
    checksum, size = (_octal(head[each]) for each in (_CHECKSUM, _SIZE))
    if checksum != sum(head) - sum(head[_CHECKSUM]) + 8 * ord(" "):
        raise NotThis(f"has a member's header at byte {at} whose checksum is wrong")
    if at + _BLOCK + size > size_bytes:
        raise NotThis(f"ends before “{shown(head[:100])}” does")
    return shown(head[:100]), size, at + _BLOCK


def _octal(field: bytes) -> int:
    if not _OCTAL.fullmatch(field):
        raise NotThis("has a member's header with a number that can't be read")
    return int(field.strip(b" \0"), 8)


def _next(at: int, size: int) -> int:
    return (at + size + _BLOCK - 1) // _BLOCK * _BLOCK


def _small(image: Image, at: int, size: int, name: str) -> bytes:
    if size > ARTIFACT_DESCRIPTION_BYTES_MAX:
        raise NotThis(f"has a {name} of {size} bytes; {ARTIFACT_DESCRIPTION_BYTES_MAX} may be")
    return image.at(at, size, what=name)


def _decoded(data: bytes, kind: Any, name: str) -> Any:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotThis(f"has a {name} that can't be read") from error


def _digests(manifest: bytes) -> dict[str, bytes]:
    """The SHA-256 of members by their names. Raises NotThis."""
    found: dict[str, bytes] = {}
    for line in manifest.splitlines():
        match = _MANIFEST_LINE.fullmatch(line)
        if match is None:
            raise NotThis("has a manifest that can't be read")
        found[match[2].decode("latin-1")] = bytes.fromhex(match[1].decode())
    return found


def _header_info(name: str, packed: bytes) -> _HeaderInfo:
    """What header-info says, which is the header's first member; nothing where it is packed in a way that isn't looked into."""
    try:
        if name.endswith(".gz"):
            data = zlib.decompressobj(wbits=31).decompress(packed, ARTIFACT_DESCRIPTION_BYTES_MAX)
        elif name.endswith(".xz"):
            unpacker = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=ARTIFACT_LZMA_BYTES_MAX)
            data = unpacker.decompress(packed, ARTIFACT_DESCRIPTION_BYTES_MAX)
        elif name.endswith(".zst"):
            return _HeaderInfo()
        else:
            data = packed
    except (zlib.error, lzma.LZMAError) as error:
        raise NotThis(f"has a {name} that can't be unpacked") from error
    inner = Image(len(data), lambda offset, length: data[offset : offset + length])
    member, size, at = _member(inner.at, len(data), 0)
    if member != "header-info":
        raise NotThis(f"has “{member}” first in its header, not header-info")
    found: _HeaderInfo = _decoded(inner.at(at, size, what="header-info"), _HeaderInfo, "header-info")
    return found
