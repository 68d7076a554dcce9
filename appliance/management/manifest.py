"""The manifest of an artifact: what is signed of it, in one form, and what it must fulfil. Pure.

    {"artifact":{"format","name","sha256","size","version"},"compat":{"hw":[…],"max_version"?,"min_version"?},
     "epoch","expires","not_before","release_counter"}

Its canonical bytes are what keys sign, as they are. Times are UTC ms. `expires` ends what was held back for long; `release_counter` grows
with each manifest of a name; `epoch` is the security floor that devices keep: it says which images are known to be unsafe.

Must not know: keys, tables, today's time.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Annotated, Any, Final, Literal

import msgspec

from appliance.core.errors import Conflict, UsageError
from appliance.core.limits_updates import (
    ARTIFACT_COMPAT_COUNT_MAX,
    ARTIFACT_EPOCH_MAX,
    ARTIFACT_IMAGE_TEXT_LENGTH_MAX,
    ARTIFACT_NAME_LENGTH_MAX,
    ARTIFACT_SIGNATURE_COUNT_MAX,
    MANIFEST_BYTES_MAX,
)
from appliance.management.artifact_image import ArtifactFormat
from appliance.management.canonical_json import canonical

ALGORITHM: Final = "ed25519"
SIGNATURE_BYTES: Final = 64
TEXT_END: Final = r"$(?!\n)"
"""The end of a text for patterns that descriptions of the API carry, too: Python's `$` alone lets a line feed follow."""
NAME_PATTERN: Final = rf"^[A-Za-z0-9][A-Za-z0-9._-]{{0,{ARTIFACT_NAME_LENGTH_MAX - 1}}}{TEXT_END}"
VERSION_PATTERN: Final = rf"^[!-~](?:[ -~]{{0,{ARTIFACT_IMAGE_TEXT_LENGTH_MAX - 2}}}[!-~])?{TEXT_END}"
"""Visible ASCII, with spaces inside: as vendors write versions and name their hardware."""
TIME_MS_MAX: Final = 253_402_300_799_999
"""The end of the year 9999."""

Name = Annotated[str, msgspec.Meta(pattern=NAME_PATTERN)]
Version = Annotated[str, msgspec.Meta(pattern=VERSION_PATTERN)]
Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}" + TEXT_END)]
Epoch = Annotated[int, msgspec.Meta(ge=0, le=ARTIFACT_EPOCH_MAX)]
TimeMs = Annotated[int, msgspec.Meta(ge=0, le=TIME_MS_MAX)]
Counter = Annotated[int, msgspec.Meta(ge=1, le=2**53)]
HardwareList = Annotated[list[Version], msgspec.Meta(max_length=ARTIFACT_COMPAT_COUNT_MAX)]


def check_name(name: str) -> None:
    """Refuse what can't be the name of an artifact.

    Raises:
        UsageError: `name_invalid`.
    """
    if re.fullmatch(NAME_PATTERN, name) is None:
        raise UsageError(
            f"“{name[:80]}” can't be the name of an artifact.",
            hint=f"Take 1 to {ARTIFACT_NAME_LENGTH_MAX} letters, digits, dots, dashes and underscores, a letter or a digit first.",
            code="name_invalid",
        )


class ManifestArtifact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The bytes, and what they are called."""

    name: Name
    version: Version
    size: Annotated[int, msgspec.Meta(ge=1, le=2**53)]
    sha256: Sha256
    format: ArtifactFormat


class ManifestCompat(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """What it fits: kinds of hardware (none for any), and versions that may be there before."""

    hw: HardwareList
    min_version: Version | None = None
    max_version: Version | None = None


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """See the module's docstring."""

    artifact: ManifestArtifact
    compat: ManifestCompat
    epoch: Epoch
    not_before: TimeMs
    expires: TimeMs
    release_counter: Counter

    def text(self) -> str:
        """The canonical form."""
        return canonical(msgspec.to_builtins(self))


class Signature(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key's signature of a document's canonical bytes; `sig` in base64."""

    keyid: Sha256
    sig: Annotated[str, msgspec.Meta(max_length=128)]
    alg: Literal["ed25519"] = ALGORITHM

    def raw(self) -> bytes | None:
        """The signature's 64 bytes, None where it is none."""
        try:
            data = base64.b64decode(self.sig, validate=True)
        except (binascii.Error, ValueError):
            return None
        return data if len(data) == SIGNATURE_BYTES else None


Signatures = Annotated[list[Signature], msgspec.Meta(max_length=ARTIFACT_SIGNATURE_COUNT_MAX)]


class Signed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A document with its signatures, as it travels between machines: the text is the very bytes that are signed."""

    document: str
    signatures: Signatures = []


def parse(text: str) -> Manifest:
    """Read a manifest, which must be in its canonical form.

    Raises:
        UsageError: `manifest_invalid`.
    """
    found: Manifest = _decoded(text, Manifest)
    if found.expires <= found.not_before:
        raise _invalid("it expires before it begins", "Make it anew with an end after its beginning.")
    return found


def parse_signed(data: bytes) -> Signed:
    """Read a file with a document and its signatures. Raises UsageError: `manifest_invalid`."""
    if len(data) > 2 * MANIFEST_BYTES_MAX:
        raise _invalid("it is too long", "Choose the file that `homeport artifact sign` wrote.")
    try:
        return msgspec.json.decode(data, type=Signed)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _invalid(str(error), "Choose the file that `homeport artifact sign` wrote.") from error


def decode_canonical(text: str, kind: Any) -> Any:
    """A struct of a document in canonical form. Raises UsageError: `manifest_invalid`."""
    return _decoded(text, kind)


def _decoded(text: str, kind: Any) -> Any:
    if len(text) > MANIFEST_BYTES_MAX:
        raise _invalid("it is too long", f"It has {MANIFEST_BYTES_MAX} characters at most.")
    try:
        found = msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        raise _invalid(str(error), "Have Homeport make it: homeport artifact sign.") from error
    if canonical(msgspec.to_builtins(found)) != text:
        raise _invalid(
            "it is not in its canonical form", "Write it without spaces and with its keys in order."
        )
    return found


def check_describes(manifest: Manifest, wanted: Manifest) -> None:
    """Refuse a manifest of something else.

    Args:
        wanted: A manifest of what is there; times and counter may be others.
    Raises:
        Conflict: `manifest_differs`, saying in what.
    """
    pairs = [
        (f"artifact.{name}", getattr(manifest.artifact, name), getattr(wanted.artifact, name))
        for name in ManifestArtifact.__struct_fields__
    ]
    pairs += [
        (f"compat.{name}", getattr(manifest.compat, name), getattr(wanted.compat, name))
        for name in ManifestCompat.__struct_fields__
    ]
    pairs.append(("epoch", manifest.epoch, wanted.epoch))
    differing = [(name, theirs, ours) for name, theirs, ours in pairs if theirs != ours]
    if differing:
        name, theirs, ours = differing[0]
        raise Conflict(
            f"The manifest is of something else: its {name} is {theirs}, and here it is {ours}.",
            hint="Sign the manifest of this artifact, or add the artifact that the manifest is of.",
            code="manifest_differs",
        )


def check_counter(manifest: Manifest, highest: int) -> None:
    """Refuse a manifest that is older than one that was accepted for the same name.

    Args:
        highest: Release counter of the newest one, 0 for none.
    Raises:
        Conflict: `release_counter_low`.
    """
    if manifest.release_counter <= highest:
        raise Conflict(
            f"The release counter is {manifest.release_counter}, and “{manifest.artifact.name}” is at {highest}.",
            hint=f"Sign a manifest with {highest + 1} or more: an older one may have been held back by somebody.",
            code="release_counter_low",
        )


def check_epoch(name: str, epoch: int, floor: int, *, is_rollback_image: bool) -> None:
    """Refuse an image of an older security epoch, unless it is said to be one to go back to.

    Args:
        floor: The highest epoch of this name.
    Raises:
        Conflict: `artifact_epoch_low`.
    """
    if epoch < floor and not is_rollback_image:
        raise Conflict(
            f"Security epoch {epoch} is older than {floor}, which “{name}” has reached.",
            hint="Use a newer image. If it is meant to go back to, say that it is a rollback image; devices with a higher floor refuse it.",
            code="artifact_epoch_low",
        )


def check_time(manifest: Manifest, now_ms: int) -> None:
    """Refuse a manifest outside its time.

    Raises:
        Conflict: `manifest_expired`, `manifest_not_yet`.
    """
    check_not_expired(manifest, now_ms)
    if now_ms < manifest.not_before:
        raise Conflict(
            f"The manifest of {manifest.artifact.name} {manifest.artifact.version} is not valid yet.",
            hint="Wait until it is; look at this box's clock if it should be.",
            code="manifest_not_yet",
        )


def check_not_expired(manifest: Manifest, now_ms: int) -> None:
    """Refuse a manifest whose time is over. Raises Conflict: `manifest_expired`."""
    if now_ms >= manifest.expires:
        raise Conflict(
            f"The manifest of {manifest.artifact.name} {manifest.artifact.version} has expired.",
            hint="Sign it anew with a later end, if the image is still good.",
            code="manifest_expired",
        )


def _invalid(why: str, hint: str) -> UsageError:
    return UsageError(f"The document can't be used: {why[:200]}.", hint=hint, code="manifest_invalid")
