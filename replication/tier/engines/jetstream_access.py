"""How the tier signs in at NATS servers: user and password, a token, an nkey, or a creds file (a JWT with its nkey).

An nkey is an Ed25519 key in a text of its own: base32 of a prefix, 32 bytes and a CRC-16. The server says a nonce, and gets it signed;
the seed never leaves this process, and no secret is in a repr.

Source: NATS ADR-14 (JWT and creds files), github.com/nats-io/nkeys.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.core.errors import ConfigError
from replication.tier.engines.credentials import Credentials, read_secret_file

_SEED: Final = 18 << 3
_USER: Final = 20 << 3
_SEED_BYTES: Final = 2 + 32 + 2
_CREDS: Final = re.compile(
    r"-+BEGIN (NATS USER JWT|USER NKEY SEED)-+\s+(\S+)\s+-+END (?:NATS USER JWT|USER NKEY SEED)-+"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """One user. With nothing given: nobody, for servers that ask nothing."""

    user: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    seed: str = field(default="", repr=False)
    jwt: str = field(default="", repr=False)

    @property
    def is_anybody(self) -> bool:
        """Whether anything was given."""
        return bool(self.user or self.token or self.seed)

    def connect_values(self, nonce: str) -> dict[str, str]:
        """What CONNECT says of who this is.

        Args:
            nonce: What the server wants signed; "" where it says none.
        Raises:
            ConfigError: the seed is none.
        """
        values: dict[str, str] = {}
        if self.user:
            values |= {"user": self.user, "pass": self.password}
        if self.token:
            values["auth_token"] = self.token
        if self.seed:
            key = _key_of(self.seed)
            if self.jwt:
                values["jwt"] = self.jwt
            else:
                values["nkey"] = _public(key)
            values["sig"] = base64.urlsafe_b64encode(key.sign(nonce.encode())).rstrip(b"=").decode()
        return values


def access_of(credentials: Credentials, prefix: str = "") -> Access:
    """Who the credentials are of: `user` and `password`, `token`, `nkey_seed`, or what `creds_file` names. Blocking, shortly.

    Args:
        prefix: Before these names: there may be two users.
    Raises:
        ConfigError: a seed is none, or the creds file can't be used.
    """
    values = {
        name: credentials.get(prefix + name) or "" for name in ("user", "password", "token", "nkey_seed")
    }
    seed, jwt = values.pop("nkey_seed"), ""
    if path := credentials.get(f"{prefix}creds_file"):
        found = dict(_CREDS.findall(read_secret_file(Path(path))))
        jwt, seed = found.get("NATS USER JWT", ""), found.get("USER NKEY SEED", "")
        if not jwt or not seed:
            raise ConfigError(
                f"The creds file {path} lacks the user's JWT or the seed.",
                hint="Make it anew: `nsc generate creds` writes both into one file.",
                code="tier_credentials",
            )
    access = Access(seed=seed, jwt=jwt, **values)
    access.connect_values("")
    return access


def _key_of(seed: str) -> Ed25519PrivateKey:
    try:
        raw = base64.b32decode(seed.strip() + "=" * (-len(seed.strip()) % 8))
    except ValueError:
        raw = b""
    if (
        len(raw) != _SEED_BYTES
        or binascii.crc_hqx(raw[:-2], 0) != int.from_bytes(raw[-2:], "little")
        or raw[0] & 0xF8 != _SEED
        or (raw[0] & 0x07) << 5 | (raw[1] & 0xF8) >> 3 != _USER
    ):
        raise ConfigError(
            "The nkey seed is no user's seed.",
            hint="It begins with SU and has 58 characters: `nk -gen user` makes one.",
            code="tier_credentials",
        )
    return Ed25519PrivateKey.from_private_bytes(raw[2:-2])


def _public(key: Ed25519PrivateKey) -> str:
    raw = bytes((_USER,)) + key.public_key().public_bytes_raw()
    return base64.b32encode(raw + binascii.crc_hqx(raw, 0).to_bytes(2, "little")).rstrip(b"=").decode()
