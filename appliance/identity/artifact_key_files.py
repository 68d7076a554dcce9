"""Keys that sign artifacts: as files anywhere, with a passphrase or without; and the one on the box, sealed by the site's key.

FILE                          PEM (PKCS#8), mode 0600
FILE.pub                      the public half, base64
identity/artifact-key.sealed  the box's own, below data_dir
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from appliance.core.errors import ConfigError, Conflict, NotAuthorized, NotFound, UsageError
from appliance.core.limits_updates import ARTIFACT_KEY_FILE_BYTES_MAX
from appliance.identity import files
from appliance.identity.keys import SiteKeys
from appliance.management.artifact_keys import PUBLIC_KEY_BYTES, PublicKey

SEALED: Final = Path("identity") / "artifact-key.sealed"
"""Below data_dir."""
_LABEL: Final = "artifact-signing-key/1"
PUBLIC_SUFFIX: Final = ".pub"


def make_file(path: Path, *, passphrase: bytes) -> Ed25519PrivateKey:
    """Make a key and write it; nothing is written over.

    Args:
        passphrase: b"" for none: then whoever reads the file can sign.
    Raises:
        Conflict: `key_file_exists`. StorageError: it can't be written.
    """
    key = Ed25519PrivateKey.generate()
    protection: KeySerializationEncryption = (
        BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection)
    if path.exists() or files.create(path, pem) != pem:
        raise Conflict(f"{path} is there already.", hint="Name a file that isn't.", code="key_file_exists")
    public = path.with_name(path.name + PUBLIC_SUFFIX)
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    files.replace(public, base64.b64encode(raw) + b"\n", mode=files.PUBLIC)
    return key


def load_file(path: Path, *, passphrase: bytes) -> Ed25519PrivateKey:
    """Load a key.

    Args:
        passphrase: b"" for none.
    Raises:
        NotFound: `key_file_missing`. ConfigError: `secret_file_open`, `key_file_invalid`. NotAuthorized: `passphrase_wrong`,
            `passphrase_needed`.
    """
    pem = files.read_secret(path)
    if pem is None:
        raise NotFound(f"There is no file {path}.", hint="Name the key's file.", code="key_file_missing")
    try:
        key = load_pem_private_key(pem[:ARTIFACT_KEY_FILE_BYTES_MAX], password=passphrase or None)
    except TypeError as error:
        if passphrase:
            raise NotAuthorized(
                f"{path} has no passphrase.", hint="Leave --passphrase out.", code="passphrase_wrong"
            ) from error
        raise NotAuthorized(
            f"{path} has a passphrase.", hint="Give --passphrase and type it.", code="passphrase_needed"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        if passphrase:
            raise NotAuthorized(
                f"{path} can't be opened with that passphrase.",
                hint="Type it again.",
                code="passphrase_wrong",
            ) from error
        raise _invalid(path) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _invalid(path)
    return key


def public_key(text: str, *, name: str) -> PublicKey:
    """A public key as people paste it: PEM, or the raw key in base64.

    Raises:
        UsageError: `artifact_key_invalid`.
    """
    text = text.strip()[:ARTIFACT_KEY_FILE_BYTES_MAX]
    if text.startswith("-----BEGIN"):
        try:
            loaded = load_pem_public_key(text.encode())
        except (ValueError, UnsupportedAlgorithm) as error:
            raise _no_public_key(name) from error
        if not isinstance(loaded, Ed25519PublicKey):
            raise _no_public_key(name)
        raw = loaded.public_bytes(Encoding.Raw, PublicFormat.Raw)
    else:
        try:
            raw = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raw = b""
    if len(raw) != PUBLIC_KEY_BYTES:
        raise _no_public_key(name)
    return PublicKey(name=name, public=base64.b64encode(raw).decode())


def make_on_box(data_dir: Path, keys: SiteKeys) -> Ed25519PrivateKey:
    """Make the box's own key, unless there is one.

    Raises:
        Conflict: `artifact_key_exists`. StorageError: it can't be written.
    """
    if on_box(data_dir, keys) is not None:
        raise Conflict(
            "This box has a signing key already.",
            hint="Use it, or remove it first.",
            code="artifact_key_exists",
        )
    key = Ed25519PrivateKey.generate()
    raw = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    files.create(data_dir / SEALED, keys.seal(_LABEL, raw))
    return key


def on_box(data_dir: Path, keys: SiteKeys) -> Ed25519PrivateKey | None:
    """The box's own key, None without one. Raises ConfigError: `secret_file_open`, `seal_broken`."""
    sealed = files.read_secret(data_dir / SEALED)
    return None if sealed is None else Ed25519PrivateKey.from_private_bytes(keys.unseal(_LABEL, sealed))


def remove_from_box(data_dir: Path) -> bool:
    """Forget the box's own key, for good; gives whether there was one."""
    return files.remove(data_dir / SEALED)


def _invalid(path: Path) -> ConfigError:
    return ConfigError(
        f"{path} does not hold an Ed25519 key.",
        hint="Name a file that `homeport artifact key new` wrote, or another one with an Ed25519 key in PEM.",
        code="key_file_invalid",
    )


def _no_public_key(name: str) -> UsageError:
    return UsageError(
        f"What was given for “{name[:64]}” is no public Ed25519 key.",
        hint="Paste what is in FILE.pub, or a PEM that begins with -----BEGIN PUBLIC KEY-----.",
        code="artifact_key_invalid",
    )
