"""Signatures of nodes are checked here (Ed25519, RFC 8032), and nowhere else in this folder: it takes cryptography, which writing and reading don't."""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def is_signed(data: bytes, *, key_id: bytes, signature: bytes) -> bool:
    """Whether a raw public key signed these bytes; False also for what is no key."""
    try:
        Ed25519PublicKey.from_public_bytes(key_id).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True
