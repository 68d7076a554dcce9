"""The key that backups are encrypted to: X25519, made of the recovery kit's root secret.

    identity/backup.pub   the public half, hexadecimal. The private half exists only while a kit is given.

It is written when the kit is confirmed, while the box still has what it is made of.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from appliance.identity import files

PUBLIC_KEY: Final = Path("identity") / "backup.pub"
"""Below data_dir."""


def private_key(root_secret: bytes) -> X25519PrivateKey:
    """The key that opens backups, of the 32 bytes that the recovery kit holds."""
    return X25519PrivateKey.from_private_bytes(
        HKDF(SHA256(), 32, salt=None, info=b"homeport/backup-key/1").derive(root_secret)
    )


def write_public_key(data_dir: Path, root_secret: bytes) -> bool:
    """Keep the public half; whether it was missing or another one.

    Raises:
        ConfigError, StorageError: the file can't be read or written.
    """
    made = private_key(root_secret).public_key().public_bytes_raw().hex().encode() + b"\n"
    if files.read_secret(data_dir / PUBLIC_KEY) == made:
        return False
    files.replace(data_dir / PUBLIC_KEY, made)
    return True
