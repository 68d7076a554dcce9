"""What a device checks before it lets an image into a slot: signatures, hardware, versions, epoch, dates, counter. Pure.

The order is that of the contract. Whatever is wrong here is refused for good: the same artifact offered again is refused again.
The image's digest stands in the signed manifest, so a signature over the manifest is one over the image.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class Refusal(Enum):
    """Why an image is refused, as `err` of the report."""

    BAD_DOCUMENT = "bad_document"
    WRONG_DIGEST = "wrong_digest"
    """The only one that another download may mend."""
    BAD_SIGNATURE = "bad_signature"
    WRONG_MANIFEST = "wrong_manifest"
    """Signed, but for another artifact than the job says."""
    INCOMPATIBLE = "incompatible"
    EPOCH = "epoch"
    NOT_YET_VALID = "not_yet_valid"
    EXPIRED = "expired"
    COUNTER_REUSED = "counter_reused"
    """Two different images under one release counter: somebody has made a second one with a stolen key."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A refusal with a sentence for the report's `err_msg`."""

    why: Refusal
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Whom a device believes, as it left the factory.

    Args:
        keys: Ed25519 public keys, 32 bytes each, by key id.
        threshold: Signatures by so many different keys are wanted; 0 takes unsigned images too.
    """

    keys: Mapping[str, bytes] = field(default_factory=dict)
    threshold: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """The device at the time of the check.

    Args:
        hardware: Its `hw`.
        version: What runs.
        epoch_floor: Highest epoch that was ever confirmed on it.
        counters: By artifact name, the highest release counter seen and the digest that had it.
        wall_ms: By its own clock.
    """

    hardware: str
    version: str
    epoch_floor: int
    counters: Mapping[str, tuple[int, str]]
    wall_ms: int


def canonical(value: Any) -> bytes:
    """Canonical JSON: keys sorted, no space, UTF-8. What is signed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def verify(document: Mapping[str, Any], trust: Trust, device: Checked) -> Refused | None:
    """Why this image must not run here; None when it may.

    Args:
        document: The job document of fw.install.
    """
    artifact = document["artifact"]
    manifest = _manifest(document)
    if manifest is not None and not isinstance(manifest, dict):
        return Refused(Refusal.BAD_DOCUMENT, "the manifest is no JSON object")
    good = signers(document, manifest, trust)
    if good < trust.threshold:
        return Refused(
            Refusal.BAD_SIGNATURE, f"{good} good signatures by trusted keys, {trust.threshold} are needed"
        )
    if manifest is not None and (manifest.get("artifact") or {}).get("sha256") != artifact["sha256"]:
        return Refused(Refusal.WRONG_MANIFEST, "the manifest is for another image")
    facts = facts_of(document)
    return _compatible(facts, device) or _timely(
        facts, str(artifact.get("name", "")), artifact["sha256"], device
    )


def facts_of(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is signed, where anything is; the document itself otherwise."""
    manifest = _manifest(document)
    return manifest if isinstance(manifest, dict) else document


def _manifest(document: Mapping[str, Any]) -> Any:
    """The manifest, which may come as the very text that was signed; "" for text that isn't JSON."""
    manifest = document.get("manifest")
    if not isinstance(manifest, str):
        return manifest
    try:
        return json.loads(manifest)
    except ValueError:
        return ""


def signers(document: Mapping[str, Any], manifest: Any, trust: Trust) -> int:
    """How many different trusted keys have signed the manifest."""
    message = canonical(manifest)
    good: set[bytes] = set()
    for entry in document.get("sig") or ():
        key = trust.keys.get(str(entry.get("keyid"))) if isinstance(entry, dict) else None
        if key is None or entry.get("alg") != "ed25519":
            continue
        try:
            Ed25519PublicKey.from_public_bytes(key).verify(
                base64.b64decode(entry["sig"], validate=True), message
            )
        except (InvalidSignature, binascii.Error, ValueError, TypeError, KeyError):
            continue
        good.add(key)
    return len(good)


def version_key(version: str) -> tuple[tuple[int, int, str], ...]:
    """Sorts versions: numbers as numbers, and 1.0.0-rc1 before 1.0.0."""
    pieces = re.findall(r"\d+|[A-Za-z]+", version.split("+")[0])
    key = tuple((1, int(each), "") if each.isdigit() else (0, 0, each) for each in pieces)
    return (*key, (1, -1, ""))


def _compatible(facts: Mapping[str, Any], device: Checked) -> Refused | None:
    compat = facts.get("compat") or {}
    hardware = compat.get("hw") or []
    if hardware and device.hardware not in hardware:
        return Refused(
            Refusal.INCOMPATIBLE, f"made for {', '.join(map(str, hardware))}, this is {device.hardware}"
        )
    low, high = compat.get("min_version"), compat.get("max_version")
    own = version_key(device.version)
    if (low and own < version_key(low)) or (high and own > version_key(high)):
        return Refused(
            Refusal.INCOMPATIBLE, f"installs over {low or 'any'} to {high or 'any'}, {device.version} runs"
        )
    epoch = int(facts.get("epoch") or 0)
    if epoch < device.epoch_floor:
        return Refused(Refusal.EPOCH, f"epoch {epoch} is below this device's {device.epoch_floor}")
    return None


def _timely(facts: Mapping[str, Any], name: str, sha256: str, device: Checked) -> Refused | None:
    not_before, expires = facts.get("not_before"), facts.get("expires")
    if not_before is not None and device.wall_ms < not_before:
        return Refused(Refusal.NOT_YET_VALID, f"valid from {not_before}, it is {device.wall_ms} here")
    if expires is not None and device.wall_ms >= expires:
        return Refused(Refusal.EXPIRED, f"expired at {expires}, it is {device.wall_ms} here")
    counter, seen = facts.get("release_counter"), device.counters.get(name)
    if counter is not None and seen is not None and counter == seen[0] and sha256 != seen[1]:
        return Refused(Refusal.COUNTER_REUSED, f"release {counter} of {name} was another image here")
    return None
