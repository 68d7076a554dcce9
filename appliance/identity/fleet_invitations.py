"""Invitations into the fleet: what a box that is to come is given by hand, and what is kept of it here.

    token   `hpj_` and base64url of: version (1) · kind (1) · secret (24) · SHA-256 of the authority's certificate (32) · addresses,
            UTF-8, commas between. Shown once.
    file    data_dir/fleet/invitations/ID.json: what the secret proves by and seals with, not the secret itself.

The secret never travels: whoever joins proves to have it, by a MAC over everything that was said on a connection whose other end it has
recognised by the authority's fingerprint. An invitation lets one box in, within a day; the same box may ask once more, for
its answer may get lost. Site secrets are sealed to a key that exists only for that conversation, and under the invitation's.

Source: RFC 5869 (HKDF), RFC 7748 (X25519), NIST SP 800-38D (AES-GCM).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from appliance.core.clock import Clock
from appliance.core.errors import ConfigError, LimitExceeded, NotAuthorized, NotFound, UsageError
from appliance.core.ids import RandomBytes
from appliance.core.limits_replication import (
    INVITATION_COUNT_MAX,
    INVITATION_LIFE_MS,
    INVITATION_SECRET_BYTES,
    INVITATION_TOKEN_LENGTH_MAX,
    NODE_ADDRESS_COUNT_MAX,
    NODE_ADDRESS_LENGTH_MAX,
)
from appliance.identity import files

PREFIX: Final = "hpj_"
VERSION: Final = 1
FOLDER: Final = "invitations"
Kind: TypeAlias = Literal["site", "other"]
"""site: another node of this site, which is given the site's secrets. other: another site, which holds copies and nothing else."""
_KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
_FINGERPRINT_BYTES: Final = 32
_ID_BYTES: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What a token says. Its secret is not in its repr.

    Attributes:
        authority: SHA-256 of the authority's certificate, hexadecimal.
        addresses: Where to join, host:port.
    """

    kind: Kind
    secret: bytes = field(repr=False)
    authority: str
    addresses: tuple[str, ...]

    @property
    def invitation_id(self) -> str:
        return _derive(self.secret, "join-id/1", _ID_BYTES).hex()

    @property
    def proof_key(self) -> bytes:
        return _derive(self.secret, "join-proof/1")

    @property
    def seal_key(self) -> bytes:
        return _derive(self.secret, "join-seal/1")

    def text(self) -> str:
        """As people carry it."""
        body = bytes((VERSION, _KINDS.index(self.kind))) + self.secret + bytes.fromhex(self.authority)
        body += ",".join(self.addresses).encode()
        return PREFIX + base64.urlsafe_b64encode(body).decode().rstrip("=")


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """What is kept of an invitation here. Its keys are not in its repr.

    Attributes:
        used_by: Node id of the box that came by it, "" while nobody has.
        used_key: SHA-256 of that box's request for a certificate: nobody else gets an answer any more.
    """

    invitation_id: str
    kind: Kind
    proof_key: str = field(repr=False)
    seal_key: str = field(repr=False)
    made_at_ms: int
    ends_at_ms: int
    note: str = ""
    used_by: str = ""
    used_key: str = ""


class Invitations:
    """The folder of invitations. Blocks for some ms; used by one process.

    Args:
        fleet_folder: data_dir/fleet.
    """

    def __init__(self, fleet_folder: Path, *, clock: Clock) -> None:
        self._folder = fleet_folder / FOLDER
        self._clock = clock

    def make(
        self,
        kind: Kind,
        authority: str,
        addresses: Sequence[str],
        *,
        note: str = "",
        life_ms: int = INVITATION_LIFE_MS,
        random_bytes: RandomBytes = secrets.token_bytes,
    ) -> tuple[Token, Invitation]:
        """Invite one box.

        Raises:
            LimitExceeded: `invitation_count`. UsageError: `address_missing`. StorageError: it can't be written.
        """
        if not addresses:
            raise UsageError(
                "Nobody could reach this box: it has no address for peers.",
                hint="Set replication.bind, or replication.addresses if it is reached by another way.",
                code="address_missing",
            )
        if len(self.waiting()) >= INVITATION_COUNT_MAX:
            raise LimitExceeded(
                f"{INVITATION_COUNT_MAX} invitations wait already.",
                hint="They end by themselves within a day.",
                code="invitation_count",
            )
        token = Token(
            kind=kind,
            secret=random_bytes(INVITATION_SECRET_BYTES),
            authority=authority,
            addresses=tuple(addresses[:NODE_ADDRESS_COUNT_MAX]),
        )
        now_ms = self._clock.now_ms()
        invitation = Invitation(
            invitation_id=token.invitation_id,
            kind=kind,
            proof_key=token.proof_key.hex(),
            seal_key=token.seal_key.hex(),
            made_at_ms=now_ms,
            ends_at_ms=now_ms + life_ms,
            note=note,
        )
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._write(invitation)
        return token, invitation

    def waiting(self) -> list[Invitation]:
        """Those that somebody may still come by, the oldest first. Those that are over are removed."""
        found = []
        now_ms = self._clock.now_ms()
        for path in sorted(self._folder.glob("*.json")) if self._folder.is_dir() else []:
            invitation = _read(path)
            # A clock that was put back must not make them live on: one from the future is over, too.
            if (
                invitation is None
                or not invitation.made_at_ms - INVITATION_LIFE_MS <= now_ms < invitation.ends_at_ms
            ):
                files.remove(path)
            elif not invitation.used_by:
                found.append(invitation)
        return sorted(found, key=lambda each: (each.made_at_ms, each.invitation_id))

    def find(self, invitation_id: str) -> Invitation:
        """An invitation that is not over.

        Raises:
            NotAuthorized: `invitation_unknown`: there is none, it is over, or was never made here.
        """
        self.waiting()
        found = _read(self._path(invitation_id))
        if found is None:
            raise NotAuthorized(
                "This invitation is not good here: it is over, was called off, or another box made it.",
                hint="Have another one made: homeport peer invite.",
                code="invitation_unknown",
            )
        return found

    def use(self, invitation: Invitation, node_id: str, request: bytes) -> None:
        """Have an invitation be this box's alone, durably, before it gets anything.

        Raises:
            NotAuthorized: `invitation_used`. StorageError: it can't be written.
        """
        used_key = hashlib.sha256(request).hexdigest()
        if invitation.used_by and (invitation.used_by, invitation.used_key) != (node_id, used_key):
            raise NotAuthorized(
                "Another box came by this invitation already.",
                hint="If you don't know which: homeport peer list, and decommission what isn't yours. Then invite again.",
                code="invitation_used",
            )
        self._write(replace(invitation, used_by=node_id, used_key=used_key))

    def call_off(self, invitation_id: str) -> None:
        """Let nobody in by an invitation.

        Raises:
            NotFound: `invitation_unknown`. StorageError: it can't be removed.
        """
        if not files.remove(self._path(invitation_id)):
            raise NotFound(f"There is no invitation {invitation_id}.", code="invitation_unknown")

    def _path(self, invitation_id: str) -> Path:
        # The id comes from outside: its letters can't name another file.
        return self._folder / f"{hashlib.sha256(invitation_id.encode()).hexdigest()}.json"

    def _write(self, invitation: Invitation) -> None:
        files.replace(self._path(invitation.invitation_id), json.dumps(asdict(invitation)).encode())


def read_token(text: str) -> Token:
    """What a token says.

    Raises:
        UsageError: `invitation_invalid`.
    """
    try:
        if len(text) > INVITATION_TOKEN_LENGTH_MAX or not text.startswith(PREFIX):
            raise ValueError("prefix")
        coded = text.removeprefix(PREFIX).encode("ascii")
        body = base64.b64decode(coded + b"=" * (-len(coded) % 4), altchars=b"-_", validate=True)
        version, kind = body[0], body[1]
        secret, rest = body[2 : 2 + INVITATION_SECRET_BYTES], body[2 + INVITATION_SECRET_BYTES :]
        authority, names = rest[:_FINGERPRINT_BYTES], rest[_FINGERPRINT_BYTES:].decode()
        if version != VERSION or len(authority) != _FINGERPRINT_BYTES:
            raise ValueError("version or length")
        addresses = tuple(names.split(","))
        if len(addresses) > NODE_ADDRESS_COUNT_MAX or not all(
            0 < len(each) <= NODE_ADDRESS_LENGTH_MAX and each.isprintable() for each in addresses
        ):
            raise ValueError("addresses")
        return Token(kind=_KINDS[kind], secret=secret, authority=authority.hex(), addresses=addresses)
    except (ValueError, IndexError, binascii.Error) as error:
        raise UsageError(
            "This is no invitation, or not a whole one.",
            hint="Copy all of the line that homeport peer invite printed; it begins with hpj_.",
            code="invitation_invalid",
        ) from error


def proof_of(proof_key: bytes, transcript: bytes) -> bytes:
    """That somebody has an invitation's secret, on this connection alone."""
    return hmac.digest(proof_key, transcript, "sha256")


def check_proof(invitation: Invitation, transcript: bytes, proof: bytes) -> None:
    """See that whoever asks has the secret.

    Raises:
        NotAuthorized: `invitation_unproved`.
    """
    if not hmac.compare_digest(proof_of(bytes.fromhex(invitation.proof_key), transcript), proof):
        raise NotAuthorized(
            "Whoever asked to join does not have the invitation's secret.",
            hint="Copy the invitation once more; nothing was given out.",
            code="invitation_unproved",
        )


def seal_to(their_key: bytes, seal_key: bytes, transcript: bytes, secret: bytes) -> tuple[bytes, bytes]:
    """Seal something to a key that exists for one conversation, under an invitation's secret.

    Returns:
        Our own public key of this conversation, and the sealed bytes.
    Raises:
        NotAuthorized: `join_key_invalid`.
    """
    ours = X25519PrivateKey.generate()
    key = _shared(ours, their_key, seal_key, transcript)
    # The key is never used again, so the nonce may be any.
    return ours.public_key().public_bytes_raw(), AESGCM(key).encrypt(bytes(12), secret, transcript)


def unseal_from(
    ours: X25519PrivateKey, their_key: bytes, seal_key: bytes, transcript: bytes, sealed: bytes
) -> bytes:
    """What was sealed to us.

    Raises:
        NotAuthorized: `join_key_invalid`.
    """
    key = _shared(ours, their_key, seal_key, transcript)
    try:
        return AESGCM(key).decrypt(bytes(12), sealed, transcript)
    except (InvalidTag, ValueError) as error:
        raise _bad_key() from error


def _shared(ours: X25519PrivateKey, theirs: bytes, seal_key: bytes, transcript: bytes) -> bytes:
    try:
        shared = ours.exchange(X25519PublicKey.from_public_bytes(theirs))
    except ValueError as error:
        raise _bad_key() from error
    info = b"homeport/join/1" + hashlib.sha256(transcript).digest()
    return HKDF(SHA256(), 32, salt=seal_key, info=info).derive(shared)


def _bad_key() -> NotAuthorized:
    return NotAuthorized(
        "The other side's key for this conversation is none, or the answer was not for us.",
        hint="Try once more; if it stays so, update both boxes.",
        code="join_key_invalid",
    )


def _derive(secret: bytes, label: str, size_bytes: int = 32) -> bytes:
    return HKDF(SHA256(), size_bytes, salt=None, info=b"homeport/" + label.encode()).derive(secret)


def _read(path: Path) -> Invitation | None:
    """An invitation's file; None where there is none, or it isn't one."""
    try:
        data = files.read_secret(path)
        return None if data is None else Invitation(**json.loads(data))
    except (ValueError, TypeError, ConfigError):
        return None
