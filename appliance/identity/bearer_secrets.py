"""Secrets that people's programs carry, and the keyed hashes that the catalog holds of them.

A refresh token begins with `hpr_`, an API token with `hpa_`; 32 characters follow, which hold 192 random bits. As with devices'
tokens (keys.py) no slow hash is needed, and a copy of the catalog alone proves nothing.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Final

from appliance.identity.keys import TOKEN_RANDOM_BYTES, SiteKeys

REFRESH_PREFIX: Final = "hpr_"
API_PREFIX: Final = "hpa_"
SECRET_LENGTH: Final = len(API_PREFIX) + TOKEN_RANDOM_BYTES * 4 // 3
"""Of either kind, in characters; anything else isn't hashed."""


class BearerSecrets:
    """See the module's docstring."""

    def __init__(self, keys: SiteKeys) -> None:
        self._refresh_key = keys.derive("refresh-token/1")
        self._api_key = keys.derive("api-token/1")
        self._id_key = keys.derive("session-id/1")
        self._name_key = keys.derive("unknown-user/1")

    def refresh_hash(self, token: str) -> bytes:
        """The keyed hash of a refresh token, 32 bytes."""
        return _hash(token, self._refresh_key)

    def api_hash(self, token: str) -> bytes:
        """The keyed hash of an API token, 32 bytes."""
        return _hash(token, self._api_key)

    def session_id(self, session_hash: bytes) -> str:
        """A browser session's public name: 32 hexadecimal digits, from which nobody gets to its cookie or that one's hash."""
        return hashlib.blake2b(session_hash, digest_size=16, key=self._id_key).hexdigest()

    def name_hash(self, user_id: str) -> str:
        """What is kept in place of a user name that nobody has: it may be a password typed into the wrong field."""
        return hashlib.blake2b(
            user_id.encode("utf-8", "surrogatepass"), digest_size=16, key=self._name_key
        ).hexdigest()


def new_refresh_token() -> str:
    """A secret for a signed-in program, used once."""
    return REFRESH_PREFIX + secrets.token_urlsafe(TOKEN_RANDOM_BYTES)


def new_api_token() -> str:
    """A secret for a program of its own."""
    return API_PREFIX + secrets.token_urlsafe(TOKEN_RANDOM_BYTES)


def new_id() -> str:
    """A public name for a family or an API token: 16 hexadecimal digits that were not given before."""
    return secrets.token_hex(8)


def _hash(token: str, key: bytes) -> bytes:
    return hashlib.blake2b(token.encode("utf-8", "surrogatepass"), digest_size=32, key=key).digest()
