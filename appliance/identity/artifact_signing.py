"""Signatures of manifests and sets of keys: made, and looked at one by one. Ed25519 (RFC 8032) over the canonical bytes.

What counts is the number of distinct trusted keys with a good signature; the same key twice is one.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from appliance.core.errors import Conflict
from appliance.management.artifact_keys import PublicKey
from appliance.management.manifest import Signature

SignatureState = Literal["good", "bad", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """A signature that was looked at.

    Attributes:
        name: Of its key, "" for one that is unknown.
        state: `unknown`: no key of that id counts here, so there is nothing to check it with.
    """

    key_id: str
    name: str
    state: SignatureState


def sign(key: Ed25519PrivateKey, text: str) -> Signature:
    """A key's signature of a document in canonical form."""
    public = public_of(key, name="signer")
    return Signature(keyid=public.key_id, sig=base64.b64encode(key.sign(text.encode())).decode())


def public_of(key: Ed25519PrivateKey, *, name: str) -> PublicKey:
    """A key's public half."""
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return PublicKey(name=name, public=base64.b64encode(raw).decode())


def look(text: str, signatures: Sequence[Signature], keys: Mapping[str, PublicKey]) -> tuple[Looked, ...]:
    """What each signature of a document is worth.

    Args:
        text: In canonical form.
        keys: That count, by their ids.
    """
    return tuple(_look(text.encode(), each, keys.get(each.keyid)) for each in signatures)


def good_keys(looked: Sequence[Looked]) -> frozenset[str]:
    """Ids of the distinct keys with a good signature."""
    return frozenset(each.key_id for each in looked if each.state == "good")


def check_added(looked: Sequence[Looked]) -> None:
    """Refuse signatures of which one is bad or of nobody known, naming it: who sends one believes that it counts.

    Raises:
        Conflict: `signature_bad`, `signature_key_unknown`, `signature_missing`.
    """
    if not looked:
        raise Conflict(
            "There is no signature.",
            hint="Have the manifest signed: homeport artifact sign.",
            code="signature_missing",
        )
    for each in looked:
        if each.state == "bad":
            raise Conflict(
                f"The signature of key “{each.name}” ({each.key_id[:12]}…) is wrong: it is of other bytes, or was made by another key.",
                hint="Sign this very manifest with that key.",
                code="signature_bad",
            )
        if each.state == "unknown":
            raise Conflict(
                f"The signature is by a key that does not count here ({each.key_id[:12]}…).",
                hint="Sign with a trusted key, or have that key made one: homeport artifact key.",
                code="signature_key_unknown",
            )


def _look(data: bytes, signature: Signature, key: PublicKey | None) -> Looked:
    if key is None:
        return Looked(key_id=signature.keyid, name="", state="unknown")
    raw = signature.raw()
    state: SignatureState = "bad"
    if raw is not None:
        try:
            Ed25519PublicKey.from_public_bytes(key.raw()).verify(raw, data)
            state = "good"
        except (InvalidSignature, ValueError):
            state = "bad"
    return Looked(key_id=signature.keyid, name=key.name, state=state)
