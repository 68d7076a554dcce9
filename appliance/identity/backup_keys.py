"""The keys of backups: only the recovery kit opens one, and the box can go on making them without it.

    identity/backups/REPOSITORY.key   a repository's own key, so that the next backup into it needs no kit

A repository has a random key, sealed to the public half of the recovery kit (backup_public_key.py) by HPKE (RFC 9180, base mode: X25519, HKDF-SHA256,
ChaCha20-Poly1305). HPKE doesn't say who sealed it, so the header has a tag that only the site's key makes: a repository
that somebody made with the public key alone is refused at the restore.

Must not know: what is in a repository.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import secrets
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from appliance.core.errors import NotAuthorized, NotFound, UsageError
from appliance.core.ids import RandomBytes
from appliance.identity import files
from appliance.identity.backup_public_key import PUBLIC_KEY, private_key
from appliance.identity.recovery_kit import PENDING, RecoveryKit
from storage.backup.header import Header
from storage.backup.sealing import KEY_BYTES

REPOSITORY_KEYS: Final = Path("identity") / "backups"
_SUITE: Final = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
_INFO: Final = b"homeport backup repository 1/"
_HEADER_LABEL: Final = b"homeport/backup-header/1"
_PUBLIC_KEY_BYTES: Final = 32


def recipient(data_dir: Path) -> bytes:
    """The public key that backups of this box are encrypted to.

    Raises:
        UsageError: `recovery_kit_unconfirmed`: nobody may have the kit, and so nobody could open them;
            `backup_key_missing`: the kit was confirmed before there were backups.
        ConfigError: `key_file_invalid`.
    """
    if (data_dir / PENDING).exists():
        raise UsageError(
            "A backup can only be opened with the recovery kit, and nobody has said that it is kept.",
            hint="Save it from the page Recovery kit or with `homeport recovery-kit show`, and confirm that.",
            code="recovery_kit_unconfirmed",
        )
    content = files.read_secret(data_dir / PUBLIC_KEY)
    if content is None:
        raise UsageError(
            "This box was set up before it could make backups: it lacks the public half of the recovery kit.",
            hint="Fetch the kit once and run `homeport recovery-kit backup-key FILE`.",
            code="backup_key_missing",
        )
    return files.key_of(
        data_dir / PUBLIC_KEY,
        content,
        _PUBLIC_KEY_BYTES,
        hint="Make it again with `homeport recovery-kit backup-key FILE`.",
    )


def new_repository(
    data_dir: Path,
    *,
    site_key: bytes,
    node_id: bytes,
    now_ms: int,
    random_bytes: RandomBytes = secrets.token_bytes,
) -> Header:
    """The header of a new repository; the box keeps its key from now on.

    Args:
        site_key: For the tag, as `SiteKeys.derive("backup-header/1")` gives it.
    Raises:
        As `recipient`; StorageError: the key can't be kept.
    """
    public = recipient(data_dir)
    key, repository_id = random_bytes(KEY_BYTES), random_bytes(16).hex()
    sealed = _SUITE.encrypt(key, X25519PublicKey.from_public_bytes(public), _INFO + repository_id.encode())
    made = Header(
        repository_id=repository_id,
        node_id=node_id.hex(),
        recipient=public.hex(),
        sealed_key=sealed.hex(),
        made_at_ms=now_ms,
    )
    made = dataclasses.replace(made, tag=_tag(site_key, made))
    folder = data_dir / REPOSITORY_KEYS
    folder.mkdir(mode=0o700, exist_ok=True)
    files.create(folder / f"{repository_id}.key", key.hex().encode() + b"\n")
    return made


def repository_key(data_dir: Path, header: Header, *, site_key: bytes) -> bytes:
    """The key of a repository that this box made or was restored from.

    Raises:
        NotFound: `backup_of_another_box`. NotAuthorized: `backup_header_forged`. ConfigError: `key_file_invalid`.
    """
    path = data_dir / REPOSITORY_KEYS / f"{header.repository_id}.key"
    content = files.read_secret(path)
    if content is None:
        raise NotFound(
            "These backups were made by another box, or by this one before it was set up anew.",
            hint="Choose an empty folder for this box's own; to look into these, give the recovery kit.",
            code="backup_of_another_box",
        )
    _check_tag(site_key, header)
    return files.key_of(path, content, KEY_BYTES, hint="Remove it and use a new folder.")


def key_from_kit(header: Header, kit: RecoveryKit) -> bytes:
    """The key of a repository, opened with the recovery kit.

    Raises:
        NotAuthorized: `recovery_kit_of_another_site`, `backup_header_forged`.
    """
    private = private_key(kit.root_secret)
    if not hmac.compare_digest(private.public_key().public_bytes_raw().hex(), header.recipient):
        raise NotAuthorized(
            "These backups were not made for this recovery kit.",
            hint=f"Look for the kit of node {header.node_id}, or for another disk.",
            code="recovery_kit_of_another_site",
        )
    _check_tag(header_key(kit.site_key), header)
    try:
        key = _SUITE.decrypt(bytes.fromhex(header.sealed_key), private, _INFO + header.repository_id.encode())
    except (InvalidTag, ValueError) as error:
        raise _forged() from error
    if len(key) != KEY_BYTES:
        raise _forged()
    return key


def header_key(site_key: bytes) -> bytes:
    """The key of a header's tag, of the site key itself; `SiteKeys.derive("backup-header/1")` is the same."""
    return HKDF(SHA256(), 32, salt=None, info=_HEADER_LABEL).derive(site_key)


def _tag(key: bytes, header: Header) -> str:
    return hmac.new(key, header.tagged_bytes(), hashlib.sha256).hexdigest()


def _check_tag(key: bytes, header: Header) -> None:
    if not hmac.compare_digest(_tag(key, header), header.tag):
        raise _forged()


def _forged() -> NotAuthorized:
    return NotAuthorized(
        "The header of these backups was not made by this site, or was changed.",
        hint="Don't use this disk; take another one with backups.",
        code="backup_header_forged",
    )
