"""The keys of this box, in data_dir/identity, and what is derived from them.

    site.key   32 random bytes as hex; the same on all nodes of a site. Never in the catalog; the recovery kit holds it.
    node.key   Ed25519 private key (PKCS 8 PEM); signs what this node wrote.
    node.id    16 random bytes as hex; the node's name in logs and rows.

Each use of the site key has a key of its own (HKDF-SHA256, RFC 5869, with a label), so that a hash made for one
purpose proves nothing for another.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from pathlib import Path
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from appliance.core.errors import ConfigError, NotFound
from appliance.identity import files

SITE_KEY_BYTES = 32
NODE_ID_BYTES = 16
SEAL_NONCE_BYTES = 12
"""Random nonces are safe for 2^32 secrets under one key (NIST SP 800-38D §8.3); a site seals some thousand."""
TOKEN_RANDOM_BYTES = 24
TOKEN_PREFIX = "hpd_"  # noqa: S105 - it says what kind of secret follows
CLAIM_PREFIX = "hpc_"
_LOST: Final = "Put it back from the recovery kit or a backup; a new one would make every token invalid."


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
        self._claim_key = self.derive("claim-token/1")
        self._enrolment_key = self.derive("enrolment-key/1")
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

    @classmethod
    def load_existing(cls, data_dir: Path) -> Self:
        """Load the keys of a box that has started once.

        Raises:
            NotFound: it has not. ConfigError: as `load_or_create`.
        """
        if not (data_dir / "identity" / "site.key").exists():
            raise NotFound(
                f"There are no keys in {data_dir / 'identity'}.",
                hint="Start Homeport once, or name the right --config.",
                code="keys_missing",
            )
        return cls.load_or_create(data_dir)

    def is_site_key(self, offered: bytes) -> bool:
        """Whether somebody has this site's key, in constant time."""
        return hmac.compare_digest(self._site_key, offered)

    def derive(self, label: str) -> bytes:
        """A key of 32 bytes for one purpose."""
        return HKDF(SHA256(), 32, salt=None, info=b"homeport/" + label.encode()).derive(self._site_key)

    def seal(self, label: str, secret: bytes) -> bytes:
        """Encrypt a secret that the catalog is to hold: AES-256-GCM under a key for this label (NIST SP 800-38D).

        Args:
            label: What it is and whose, such as totp/anna: unsealing it as anything else fails.
        Returns:
            A nonce of 12 random bytes and the ciphertext with its tag: 28 bytes more than the secret.
        """
        nonce = secrets.token_bytes(SEAL_NONCE_BYTES)
        return nonce + AESGCM(self.derive("seal/1")).encrypt(nonce, secret, label.encode())

    def unseal(self, label: str, sealed: bytes) -> bytes:
        """The secret that `seal` took.

        Raises:
            ConfigError: `seal_broken`: it was sealed by another site key or for something else, or was changed.
        """
        nonce, data = sealed[:SEAL_NONCE_BYTES], sealed[SEAL_NONCE_BYTES:]
        try:
            return AESGCM(self.derive("seal/1")).decrypt(nonce, data, label.encode())
        except (InvalidTag, ValueError) as error:
            raise ConfigError(
                f"What the catalog holds of {label} was not sealed by this site's key.",
                hint="Put identity/site.key of the same backup or recovery kit beside the catalog.",
                code="seal_broken",
            ) from error

    def token_hash(self, token: bytes) -> bytes:
        """The keyed hash of a device's token that the catalog holds: BLAKE2b-256 (RFC 7693 §2.1)."""
        return hashlib.blake2b(token, digest_size=32, key=self._token_key).digest()

    def claim_hash(self, token: bytes) -> bytes:
        """The keyed hash of a claim's token, 32 bytes."""
        return hashlib.blake2b(token, digest_size=32, key=self._claim_key).digest()

    def enrolment_key_hash(self, kind: str, key: bytes) -> bytes:
        """The keyed hash of what a device is known by when it enrols once more, 32 bytes.

        Args:
            kind: What `key` is, such as public-key: the same bytes as another kind are another key.
        """
        data = kind.encode() + b"/" + key
        return hashlib.blake2b(data, digest_size=32, key=self._enrolment_key).digest()

    def session_hash(self, cookie: bytes) -> bytes:
        """The keyed hash of a browser's session cookie, 32 bytes."""
        return hashlib.blake2b(cookie, digest_size=32, key=self._session_key).digest()

    def csrf_token(self, session_hash: bytes) -> str:
        """The token that a session's forms carry: 43 characters, the same for the session's whole life."""
        return hashlib.blake2b(session_hash, digest_size=32, key=self._csrf_key).hexdigest()[:43]


def new_claim_token() -> str:
    """A secret that lets devices come in: `hpc_` and 32 characters that hold 192 random bits."""
    return CLAIM_PREFIX + secrets.token_urlsafe(TOKEN_RANDOM_BYTES)


def new_token() -> str:
    """A secret for a device: `hpd_` and 32 characters that hold 192 random bits."""
    return TOKEN_PREFIX + secrets.token_urlsafe(TOKEN_RANDOM_BYTES)


def _load(path: Path, made: bytes) -> bytes:
    found = files.read_secret(path)
    return files.create(path, made) if found is None else found


def _load_hex(path: Path, size_bytes: int) -> bytes:
    text = _load(path, secrets.token_bytes(size_bytes).hex().encode() + b"\n")
    return files.key_of(path, text, size_bytes, hint=_LOST)


def _invalid(path: Path, expected: str) -> ConfigError:
    return ConfigError(
        f"{path} does not hold {expected}.",
        hint=_LOST,
        code="key_file_invalid",
    )
