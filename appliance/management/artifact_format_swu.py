"""Recognises a SWUpdate image: a cpio archive (newc or crc) whose first member is sw-description.

Source: SWUpdate's documentation (“SWUpdate: software management for embedded systems”, sw-description syntax), cpio(5).
"""

from __future__ import annotations

import re
from typing import Final

from appliance.core.limits_updates import (
    ARTIFACT_COMPAT_COUNT_MAX,
    ARTIFACT_DESCRIPTION_BYTES_MAX,
    ARTIFACT_DESCRIPTION_DEPTH_MAX,
    ARTIFACT_MEMBER_COUNT_MAX,
    ARTIFACT_MEMBER_NAME_BYTES_MAX,
)
from appliance.management.artifact_image import Found, Image, NotThis, shown

MAGICS: Final = (b"070701", b"070702")
_HEADER_BYTES: Final = 110
_HEX: Final = re.compile(rb"[0-9A-Fa-f]{104}")
_DESCRIPTION: Final = "sw-description"
_SIGNATURE: Final = "sw-description.sig"
_TRAILER: Final = "TRAILER!!!"
_TOKEN: Final = re.compile(r'"((?:[^"\\]|\\.)*)"|([{}()\[\]])|([=:])|[;,]|([^\s"{}()\[\]=:;,]+)', re.DOTALL)
_SPACE: Final = re.compile(r"\s*")
_PATTERN: Final = "#RE:"
_CLOSES: Final = {"}": "{", ")": "(", "]": "["}


def recognize(image: Image) -> Found:
    """What the image says of itself.

    Raises:
        NotThis: it is no SWUpdate image.
    """
    names: list[str] = []
    version = ""
    compat: tuple[str, ...] = ()
    at = 0
    for _ in range(ARTIFACT_MEMBER_COUNT_MAX):
        name, size, at = _member(image, at, len(names) + 1)
        if not names and name != _DESCRIPTION:
            raise NotThis(f"has “{name}” as its first member, not {_DESCRIPTION}")
        if name == _TRAILER:
            return Found(
                format="swu",
                version=version,
                compat=compat,
                is_vendor_signed=_SIGNATURE in names,
                facts=(("Members", str(len(names))),),
            )
        if not names:
            if size > ARTIFACT_DESCRIPTION_BYTES_MAX:
                raise NotThis(
                    f"has a {_DESCRIPTION} of {size} bytes; {ARTIFACT_DESCRIPTION_BYTES_MAX} may be"
                )
            version, compat = _described(image.at(at, size, what=_DESCRIPTION))
        names.append(name)
        if at + size > image.size_bytes:
            raise NotThis(f"ends before its member “{name}” does")
        at = _aligned(at + size)
    raise NotThis(f"has more than {ARTIFACT_MEMBER_COUNT_MAX} members")


def _member(image: Image, at: int, number: int) -> tuple[str, int, int]:
    """A member's name, its size, and where its content begins."""
    head = image.at(at, _HEADER_BYTES, what=f"the header of member {number}")
    if head[:6] not in MAGICS:
        words = "begins with" if at == 0 else f"has at byte {at}"
        raise NotThis(f"{words} “{shown(head[:6])}”, not with a member of a cpio archive (070701 or 070702)")
    if not _HEX.fullmatch(head[6:]):
        raise NotThis(f"has a header of member {number} that is not made of hexadecimal digits")
    fields = [int(head[start : start + 8], 16) for start in range(6, _HEADER_BYTES, 8)]
    size, name_bytes = fields[6], fields[11]
    if not 2 <= name_bytes <= ARTIFACT_MEMBER_NAME_BYTES_MAX:
        raise NotThis(f"has a member with a name of {name_bytes} bytes")
    name = image.at(at + _HEADER_BYTES, name_bytes, what=f"the name of member {number}")
    return shown(name), size, _aligned(at + _HEADER_BYTES + name_bytes)


def _aligned(at: int) -> int:
    return (at + 3) // 4 * 4


def _described(data: bytes) -> tuple[str, tuple[str, ...]]:
    """Version and hardware of a description, written in libconfig's syntax or in JSON. Raises NotThis."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise NotThis(f"has a {_DESCRIPTION} that is not UTF-8") from error
    reader = _Description(text)
    reader.read()
    if not reader.has_software:
        raise NotThis(f"has a {_DESCRIPTION} without “software”")
    compat = tuple(dict.fromkeys(reader.compat))
    if any(each.startswith(_PATTERN) for each in compat):
        compat = ()
    if len(compat) > ARTIFACT_COMPAT_COUNT_MAX:
        raise NotThis(f"names more than {ARTIFACT_COMPAT_COUNT_MAX} kinds of hardware")
    return shown(reader.version.encode()), tuple(shown(each.encode()) for each in compat)


class _Description:
    """Goes through a description once. What is not needed is not understood, but brackets must match."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.version = ""
        self.compat: list[str] = []
        self.has_software = False

    def read(self) -> None:
        """Find version and hardware. Raises NotThis."""
        opened: list[tuple[str, str]] = []  # the bracket, and the name that it belongs to
        word = name = ""  # the last word, and the one that an = or : made a name of
        for kind, text in self._tokens():
            if kind == "open":
                if len(opened) == ARTIFACT_DESCRIPTION_DEPTH_MAX:
                    raise NotThis(
                        f"has a {_DESCRIPTION} that is nested deeper than {ARTIFACT_DESCRIPTION_DEPTH_MAX} times"
                    )
                opened.append((text, name))
                self.has_software |= name == "software"
                word = name = ""
            elif kind == "close":
                if not opened or opened.pop()[0] != _CLOSES[text]:
                    raise NotThis(f"has a {_DESCRIPTION} whose brackets don't match")
                word = name = ""
            elif kind == "is":
                name = word
            else:
                self._value(name, text, [each for _, each in opened])
                word, name = text, ""
        if opened:
            raise NotThis(f"has a {_DESCRIPTION} whose brackets don't match")

    def _value(self, name: str, text: str, above: list[str]) -> None:
        named = [each for each in above if each]
        if name == "version" and named == ["software"]:
            self.version = text
        if name == "hardware-compatibility" or (named and named[-1] == "hardware-compatibility"):
            self.compat.append(text)

    def _tokens(self) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        at = self._skip(0)
        while at < len(self._text):
            match = _TOKEN.match(self._text, at)
            if match is None:  # a quotation mark without its second
                raise NotThis(f"has a {_DESCRIPTION} with a text that does not end")
            quoted, bracket, assigns, bare = match.groups()
            if bracket:
                found.append(("close" if bracket in _CLOSES else "open", bracket))
            elif assigns:
                found.append(("is", assigns))
            elif quoted is not None or bare is not None:
                found.append(("word", bare if quoted is None else quoted))
            at = self._skip(match.end())
        return found

    def _skip(self, at: int) -> int:
        """Where the next token begins, behind spaces and comments."""
        while True:
            match = _SPACE.match(self._text, at)
            at = match.end() if match else at
            if self._text.startswith(("#", "//"), at):
                end = self._text.find("\n", at)
                at = len(self._text) if end < 0 else end
            elif self._text.startswith("/*", at):
                end = self._text.find("*/", at)
                if end < 0:
                    raise NotThis(f"has a {_DESCRIPTION} with a comment that does not end")
                at = end + 2
            else:
                return at
