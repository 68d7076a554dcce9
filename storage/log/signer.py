"""Who signs a sealed segment: a Protocol, so that this room holds no key."""

from __future__ import annotations

from typing import Protocol


class Signer(Protocol):
    """Signs with the node's Ed25519 key."""

    @property
    def key_id(self) -> bytes:
        """The raw Ed25519 public key, 32 bytes: it is stored beside each signature."""

    def sign(self, data: bytes) -> bytes:
        """The Ed25519 signature of `data`, 64 bytes (RFC 8032, no context)."""
