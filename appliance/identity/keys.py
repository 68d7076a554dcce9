"""The keys of this box, in data_dir/identity, and what is derived from them.

    site.key   32 random bytes as hex; the same on all nodes of a site. Never in the catalog; the recovery kit holds it.
    node.key   Ed25519 private key (PKCS 8 PEM); signs what this node wrote.
    node.id    16 random bytes as hex; the node's name in logs and rows.

Each use of the site key has a key of its own (HKDF-SHA256, RFC 5869, with a label), so that a hash made for one
purpose proves nothing for another.
"""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from appliance.core.errors import ConfigError
from appliance.identity import files

SITE_KEY_BYTES = 32
NODE_ID_BYTES = 16
TOKEN_RANDOM_BYTES = 24
TOKEN_PREFIX = "hpd_"  # noqa: S105 - it says what kind of secret follows


class NodeSigner:
    """Signs with the node's Ed25519 key (RFC 8032)."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self._key_id = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    @property
    def key_id(self) -> bytes:
        """The raw public key, 32 bytes."""
        return self._key_id

    def sign(self, data: bytes) -> bytes:
        """Signature of `data`, 64 bytes."""
        return self._key.sign(data)


class SiteKeys:
    """See the module's docstring.

    Args:
        site_key: 32 bytes.
        node_id: 16 bytes.
    """

    def __init__(self, *, site_key: bytes, node_id: bytes, node_key: Ed25519PrivateKey) -> None:
        assert len(site_key) == SITE_KEY_BYTES
        assert len(node_id) == NODE_ID_BYTES
        self._site_key = site_key
        self.node_id = node_id
        self.signer = NodeSigner(node_key)
        self._token_key = self.derive("device-token/1")
        self._session_key = self.derive("browser-session/1")
        self._csrf_key = self.derive("csrf/1")

    @classmethod
    def load_or_create(cls, data_dir: Path) -> Self:
        """Load the keys, making those that aren't there (mode 0600, folder 0700). Two processes may start at once.

        Raises:
            ConfigError: a file is readable by others (`secret_file_open`) or not what it should be (`key_file_invalid`).
            StorageError: it can't be written.
        """
        folder = data_dir / "identity"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        made_key = Ed25519PrivateKey.generate().private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )
        pem = _load(folder / "node.key", made_key)
        try:
            node_key = load_pem_private_key(pem, password=None)
        except ValueError as error:
            raise _invalid(folder / "node.key", "a PEM private key") from error
        if not isinstance(node_key, Ed25519PrivateKey):
            raise _invalid(folder / "node.key", "an Ed25519 key")
        return cls(
            site_key=_load_hex(folder / "site.key", SITE_KEY_BYTES),
            node_id=_load_hex(folder / "node.id", NODE_ID_BYTES),
            node_key=node_key,
        )

    def derive(self, label: str) -> bytes:
        """A key of 32 bytes for one purpose."""
        return HKDF(SHA256(), 32, salt=None, info=b"homeport/" + label.encode()).derive(self._site_key)

    def token_hash(self, token: bytes) -> bytes:
        """The keyed hash of a device's token that the catalog holds: BLAKE2b-256 (RFC 7693 §2.1)."""
        return hashlib.blake2b(token, digest_size=32, key=self._token_key).digest()

    def session_hash(self, cookie: bytes) -> bytes:
        """The keyed hash of a browser's session cookie, 32 bytes."""
        return hashlib.blake2b(cookie, digest_size=32, key=self._session_key).digest()

    def csrf_token(self, session_hash: bytes) -> str:
        """The token that a session's forms carry: 43 characters, the same for the session's whole life."""
        return hashlib.blake2b(session_hash, digest_size=32, key=self._csrf_key).hexdigest()[:43]


def new_token() -> str:
    """A secret for a device: `hpd_` and 32 characters that hold 192 random bits."""
    return TOKEN_PREFIX + secrets.token_urlsafe(TOKEN_RANDOM_BYTES)


def _load(path: Path, made: bytes) -> bytes:
    found = files.read_secret(path)
    return files.create(path, made) if found is None else found


def _load_hex(path: Path, size_bytes: int) -> bytes:
    text = _load(path, secrets.token_bytes(size_bytes).hex().encode() + b"\n")
    try:
        value = bytes.fromhex(text.decode("ascii").strip())
    except ValueError as error:
        raise _invalid(path, f"{2 * size_bytes} hexadecimal digits") from error
    if len(value) != size_bytes:
        raise _invalid(path, f"{2 * size_bytes} hexadecimal digits")
    return value


def _invalid(path: Path, expected: str) -> ConfigError:
    return ConfigError(
        f"{path} does not hold {expected}.",
        hint="Put it back from the recovery kit or a backup; a new one would make every token invalid.",
        code="key_file_invalid",
    )
