"""Whose signatures count: a set of keys with a threshold, and how one set follows another. Pure.

    {"keys":[{"name","public"}…],"threshold":2,"type":"artifact-keys","version":3}

A new set has the next version and is signed by as many keys of the old one as its threshold says, so that a stolen key alone, or
whoever signs in here, changes nothing. The first set is whatever an admin of the box says.

Must not know: how signatures are checked, tables.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Annotated, Final, Literal

import msgspec

from appliance.core.errors import Conflict, UsageError
from appliance.core.limits_updates import ARTIFACT_KEY_COUNT_MAX, ARTIFACT_KEY_NAME_LENGTH_MAX
from appliance.management.canonical_json import canonical
from appliance.management.manifest import TEXT_END, decode_canonical

PUBLIC_KEY_BYTES: Final = 32
WEAK: Final = frozenset(
    bytes.fromhex(each)
    for each in (
        "00" * 32,
        "01" + "00" * 31,
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ec" + "ff" * 30 + "7f",
        "ed" + "ff" * 30 + "7f",
        "ee" + "ff" * 30 + "7f",
    )
)
"""Points of small order, without the sign's bit: everybody can sign in the name of such a key (RFC 8032 §5.1.7; libsodium refuses the same)."""

KeyName = Annotated[
    str,
    msgspec.Meta(min_length=1, max_length=ARTIFACT_KEY_NAME_LENGTH_MAX, pattern=r"^[^\x00-\x1f]+" + TEXT_END),
]
Threshold = Annotated[int, msgspec.Meta(ge=1, le=ARTIFACT_KEY_COUNT_MAX)]
UnsignedPolicy = Literal["refuse", "vendor_signed", "allow"]
"""Which artifacts may be rolled out without a manifest that is signed here: none, those with their vendor's own signature, all."""


class PublicKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key that may sign; `public` is the raw Ed25519 key in base64."""

    name: KeyName
    public: Annotated[str, msgspec.Meta(max_length=64)]

    @property
    def key_id(self) -> str:
        """SHA-256 of the raw key, hexadecimal."""
        return hashlib.sha256(self.raw()).hexdigest()

    def raw(self) -> bytes:
        """The key's 32 bytes. Raises UsageError: `artifact_key_invalid`."""
        try:
            data = base64.b64decode(self.public, validate=True)
        except (binascii.Error, ValueError):
            data = b""
        if len(data) != PUBLIC_KEY_BYTES:
            raise UsageError(
                f"“{self.name}” is no public Ed25519 key: {PUBLIC_KEY_BYTES} bytes in base64 are one.",
                hint="Take what `homeport artifact key new` shows or wrote into FILE.pub.",
                code="artifact_key_invalid",
            )
        if data[:-1] + bytes([data[-1] & 0x7F]) in WEAK:
            raise UsageError(
                f"“{self.name}” is a key in whose name everybody can sign.",
                hint="Ask whose it is meant to be; a key that `homeport artifact key new` made is never one.",
                code="artifact_key_invalid",
            )
        return data


class KeySet(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """See the module's docstring. Version 0 is the empty set of a box on which nobody has said whom to trust."""

    version: Annotated[int, msgspec.Meta(ge=0, le=2**53)]
    threshold: Threshold
    keys: Annotated[list[PublicKey], msgspec.Meta(max_length=ARTIFACT_KEY_COUNT_MAX)]
    type: Literal["artifact-keys"] = "artifact-keys"

    def text(self) -> str:
        """The canonical form, which is what is signed."""
        return canonical(msgspec.to_builtins(self))

    def by_id(self) -> dict[str, PublicKey]:
        """The keys by their ids."""
        return {each.key_id: each for each in self.keys}


NOBODY: Final = KeySet(version=0, threshold=1, keys=[])


def parse(text: str) -> KeySet:
    """Read a set, which must be in its canonical form. Raises UsageError: `manifest_invalid`."""
    found: KeySet = decode_canonical(text, KeySet)
    return found


def check_set(wanted: KeySet) -> None:
    """Refuse a set that can't work.

    Raises:
        UsageError: `artifact_keys_unusable`, `artifact_key_invalid`.
    """
    if len(wanted.by_id()) != len(wanted.keys):
        raise _unusable("A key is in it twice, and counts once.", "Leave one of the two out.")
    if len({each.name for each in wanted.keys}) != len(wanted.keys):
        raise _unusable("Two keys have the same name.", "Name each key after its holder.")
    if len(wanted.keys) < wanted.threshold:
        raise _unusable(
            f"{wanted.threshold} signatures would be needed, and there are {len(wanted.keys)} keys.",
            "Lower the threshold, or add keys.",
        )


def check_follows(wanted: KeySet, old: KeySet, good_key_count: int) -> None:
    """Refuse a set that the old one does not vouch for.

    Args:
        good_key_count: Distinct keys of the old set whose signatures of the new one are good.
    Raises:
        Conflict: `artifact_keys_version`, `artifact_keys_unsigned`.
    """
    if wanted.version != old.version + 1:
        raise Conflict(
            f"The set of keys has version {wanted.version}; the next one is {old.version + 1}.",
            hint="Make it from the set that is in force now: homeport artifact key propose.",
            code="artifact_keys_version",
        )
    if old.version and good_key_count < old.threshold:
        raise Conflict(
            f"{old.threshold} of the trusted keys must have signed the new set, and {good_key_count} have.",
            hint="Have the holders of trusted keys sign it: homeport artifact sign FILE --key KEY.",
            code="artifact_keys_unsigned",
        )


def _unusable(message: str, hint: str) -> UsageError:
    return UsageError(message, hint=hint, code="artifact_keys_unusable")
