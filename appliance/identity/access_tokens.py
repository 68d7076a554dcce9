"""Access tokens: what a signed-in program shows with each request. JSON Web Tokens (RFC 7519), HS256, one hour.

The key is a file of this node, identity/access.key, made at the first start; whoever gets hold of the catalog alone signs nothing.
Its id stands in each token's header, so that tokens of an earlier key are known for what they are.

Guarantees: one algorithm, whatever a token's header says (RFC 8725 §3.1); what is too long is not decoded; issuer, audience and
all claims must be there and of their type.

Must not know: whether the user, the family or the token was ended since; ui/identities.py asks the catalog with each request.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import jwt

from appliance.core.clock import Clock
from appliance.core.errors import NotAuthorized
from appliance.core.ids import RandomBytes
from appliance.core.limits import ACCESS_TOKEN_BYTES_MAX, ACCESS_TOKEN_LIFETIME_MS
from appliance.identity import files

ALGORITHM: Final = "HS256"
AUDIENCE: Final = "homeport-api"
KEY_BYTES: Final = 32
"""RFC 7518 §3.2: as many as the hash has."""
CHANGED_CLAIM: Final = "cca"
"""When the user's credentials last changed, UTC ms, as it was when the token was made."""
_NO_KEY: Final = (
    "Remove it and start again: programs that are signed in then get new access tokens by themselves."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessClaims:
    """What a token says. Times are UTC ms.

    Attributes:
        family_id: Of the sign-in that it belongs to.
        token_id: Its own.
    """

    user_id: str
    family_id: str
    token_id: str
    credentials_changed_at_ms: int
    expires_at_ms: int


class AccessTokens:
    """Makes and checks them.

    Args:
        path: The key's file.
        key: 32 bytes.
        issuer: Of this node: a token of another one is none of ours.
    """

    def __init__(
        self,
        path: Path,
        key: bytes,
        *,
        issuer: str,
        clock: Clock,
        random_bytes: RandomBytes = secrets.token_bytes,
    ) -> None:
        self._path = path
        self._issuer = issuer
        self._clock = clock
        self._random_bytes = random_bytes
        self._take(key)

    @classmethod
    def load_or_create(cls, data_dir: Path, *, node_id: bytes, clock: Clock) -> Self:
        """With the key of data_dir/identity, which is made if it isn't there.

        Raises:
            ConfigError: the file is readable by others (`secret_file_open`) or holds no key (`key_file_invalid`).
            StorageError: it can't be written.
        """
        path = key_path(data_dir)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        content = files.read_secret(path)
        if content is None:
            content = files.create(path, _text_of(secrets.token_bytes(KEY_BYTES)))
        return cls(
            path,
            files.key_of(path, content, KEY_BYTES, hint=_NO_KEY),
            issuer=f"homeport:{node_id.hex()}",
            clock=clock,
        )

    @property
    def key_id(self) -> str:
        """Of the key that signs now: 16 hexadecimal digits, which say nothing of it."""
        return self._key_id

    def issue(
        self, *, user_id: str, family_id: str, credentials_changed_at_ms: int
    ) -> tuple[str, AccessClaims]:
        """A token for an hour, and what it says."""
        now_s = self._clock.now_ms() // 1000
        claims = AccessClaims(
            user_id=user_id,
            family_id=family_id,
            token_id=self._random_bytes(16).hex(),
            credentials_changed_at_ms=credentials_changed_at_ms,
            expires_at_ms=now_s * 1000 + ACCESS_TOKEN_LIFETIME_MS,
        )
        payload = {
            "iss": self._issuer,
            "aud": AUDIENCE,
            "sub": user_id,
            "sid": family_id,
            "jti": claims.token_id,
            "iat": now_s,
            "exp": claims.expires_at_ms // 1000,
            CHANGED_CLAIM: credentials_changed_at_ms,
        }
        return jwt.encode(payload, self._key, algorithm=ALGORITHM, headers={"kid": self._key_id}), claims

    def verify(self, token: str, *, also_expired: bool = False) -> AccessClaims:
        """What a token says, once it is proved to be ours.

        Args:
            also_expired: Take one whose hour is over too, to revoke it.
        Raises:
            NotAuthorized: `access_token_invalid`, `access_token_expired`.
        """
        if len(token) > ACCESS_TOKEN_BYTES_MAX:
            raise _invalid()
        try:
            payload = jwt.decode(
                token,
                self._key,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=self._issuer,
                # The clock is an argument here; PyJWT would ask the machine's.
                options={
                    "require": ["iss", "aud", "sub", "exp"],
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
        except (jwt.InvalidTokenError, UnicodeError) as error:
            raise _invalid() from error
        claims = _claims(payload)
        if not also_expired and self._clock.now_ms() >= claims.expires_at_ms:
            raise NotAuthorized(
                "The access token has expired.",
                hint="Get another one with POST /api/v1/tokens/refresh.",
                code="access_token_expired",
            )
        return claims

    def rotate(self) -> str:
        """Put a new key in the place of the old one, on disk and here: every token made before is void. Returns its id.

        Raises:
            StorageError: it can't be written; then the old one counts.
        """
        key = secrets.token_bytes(KEY_BYTES)
        files.replace(self._path, _text_of(key))
        self._take(key)
        return self._key_id

    def _take(self, key: bytes) -> None:
        assert len(key) == KEY_BYTES
        self._key = key
        self._key_id = hashlib.blake2b(key, digest_size=8, person=b"access-key-id").hexdigest()


def key_path(data_dir: Path) -> Path:
    """Where the key is kept."""
    return data_dir / "identity" / "access.key"


def _claims(payload: dict[str, Any]) -> AccessClaims:
    texts = [payload.get(name) for name in ("sub", "sid", "jti")]
    numbers = [payload.get(name) for name in (CHANGED_CLAIM, "exp")]
    user_id, family_id, token_id = (text if isinstance(text, str) else "" for text in texts)
    changed_at_ms, expires_s = (number if type(number) is int else -1 for number in numbers)
    if not (user_id and family_id and token_id) or changed_at_ms < 0 or expires_s < 0:
        raise _invalid()
    return AccessClaims(
        user_id=user_id,
        family_id=family_id,
        token_id=token_id,
        credentials_changed_at_ms=changed_at_ms,
        expires_at_ms=expires_s * 1000,
    )


def _text_of(key: bytes) -> bytes:
    return key.hex().encode() + b"\n"


def _invalid() -> NotAuthorized:
    return NotAuthorized(
        "The access token can't be used.",
        hint="Get another one with POST /api/v1/tokens/refresh or POST /api/v1/tokens.",
        code="access_token_invalid",
    )
