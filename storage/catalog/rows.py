"""What the catalog's tables hold, as frozen values."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Literal, get_args

from appliance.management.access import Access, Kind
from appliance.management.permissions import Role, Scope

DeviceState = Literal["active", "waiting", "rejected", "decommissioned"]
DEVICE_STATES: tuple[DeviceState, ...] = get_args(DeviceState)


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device or application that may connect, or asked to.

    Attributes:
        groups: Ids of the groups that it is in; scopes of people are made of these.
        serial: The hardware's own number, as printed on it.
        replaced_at_ms: When other hardware last took over this id.
        version: Of the row: another after every change of it, for If-Match.
    """

    device_id: str
    kind: Kind
    access: Access
    role: str = ""
    state: DeviceState
    name: str
    tags: tuple[str, ...]
    groups: tuple[str, ...] = ()
    serial: str = ""
    first_contact_at_ms: int | None
    created_at_ms: int
    updated_at_ms: int
    replaced_at_ms: int | None = None
    version: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicePage:
    """Devices in the order of their ids; `next_cursor` is where the next page begins, None at the end."""

    devices: tuple[Device, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceToken:
    """A token's hash (32 bytes, keyed) and until when it is valid (UTC ms, None for always)."""

    device_id: str
    token_hash: bytes
    created_at_ms: int
    expires_at_ms: int | None

    @property
    def token_id(self) -> str:
        """Names the token to people: 16 hex digits, from which neither the token nor its hash can be found."""
        return hashlib.sha256(self.token_hash).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A group of devices.

    Attributes:
        device_count: Devices that name it, in whatever state.
        version: As a device's.
    """

    group_id: str
    name: str
    description: str
    created_at_ms: int
    updated_at_ms: int
    device_count: int = 0
    version: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class TagCount:
    """A tag, and how many devices have it."""

    tag: str
    device_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A person.

    Attributes:
        scope: The groups of devices that they are limited to; None for the whole site.
        totp_sealed: The second factor's secret, sealed; None for no second factor.
    """

    user_id: str
    role: Role
    password_hash: str
    disabled: bool
    created_at_ms: int
    credentials_changed_at_ms: int
    display_name: str = ""
    scope: Scope = None
    totp_sealed: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BrowserSession:
    """A signed-in browser; the cookie's keyed hash is its key (32 bytes)."""

    session_hash: bytes
    user_id: str
    created_at_ms: int
    last_used_at_ms: int
    expires_at_ms: int
    address: str
    agent: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFamily:
    """A program that signed in for a person: its access tokens and the chain of its refresh tokens.

    Attributes:
        revoked_tokens: Ids of its access tokens that were ended one by one.
    """

    family_id: str
    user_id: str
    created_at_ms: int
    last_used_at_ms: int
    expires_at_ms: int
    address: str
    agent: str
    revoked_at_ms: int | None
    revoked_because: str | None
    revoked_tokens: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiToken:
    """A token of a program, made by a person for it; `last_used_at_ms` and `last_address` are of this node."""

    token_id: str
    token_hash: str
    user_id: str
    name: str
    role: Role
    scope: Scope
    created_at_ms: int
    expires_at_ms: int
    revoked_at_ms: int | None
    last_used_at_ms: int | None
    last_address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxRow:
    """One captured change: `row`, `changed` and `seen` are JSON text (appliance/management/row_change.py says what they mean).

    Attributes:
        hlc: Of the transaction. clock: Of the change, where it is another: it has to be later than what it replaces.
        seen: Register to {node id: clock}.
    """

    position: int
    table: str
    key: str
    op: Literal["insert", "update", "delete"]
    row: str
    changed: str | None
    hlc: int
    origin: str
    clock: int | None = None
    generation: int = 1
    seen: str | None = None
    by: str = ""


IssuedBy = Literal["est", "mqtt", "api", "cli"]
"""The way on which a certificate was asked for."""
RevokedBecause = Literal[
    "unspecified",
    "keyCompromise",
    "affiliationChanged",
    "superseded",
    "cessationOfOperation",
    "privilegeWithdrawn",
]
"""RFC 5280 §5.3.1; without those that are of authorities, or that can be taken back."""
REVOKED_BECAUSE: tuple[RevokedBecause, ...] = get_args(RevokedBecause)
CertificateState = Literal["valid", "ended", "revoked"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A device's certificate; the certificate itself is not kept. Times are UTC ms.

    Attributes:
        serial: Hexadecimal, lower case, no leading zero.
        fingerprint: SHA-256 of the DER form, 64 hexadecimal digits.
        key_hash: SHA-256 of its public key, 64 hexadecimal digits.
        issuer_key_id: Of the issuing authority, hexadecimal.
    """

    serial: str
    device_id: str
    fingerprint: str
    key_hash: str
    issuer_key_id: str
    issued_by: IssuedBy
    not_before_at_ms: int
    not_after_at_ms: int
    issued_at_ms: int
    revoked_at_ms: int | None
    revoked_because: RevokedBecause | None

    def counts(self, now_ms: int) -> bool:
        """Whether it is good: not revoked, not ended."""
        return self.revoked_at_ms is None and self.not_after_at_ms > now_ms

    def state(self, now_ms: int) -> CertificateState:
        """In a word; revoked counts before ended."""
        if self.revoked_at_ms is not None:
            return "revoked"
        return "valid" if self.not_after_at_ms > now_ms else "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificatePage:
    """Certificates in the order in which they end; `next_cursor` is where the next page begins, None at the end."""

    certificates: tuple[Certificate, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateCounts:
    """Certificates that have not ended, and active devices whose last one needs looking at.

    Attributes:
        first_ends_at_ms: When the first valid one ends, None without any.
        devices_ending, devices_ended: Devices whose last certificate ends soon, or ended within 30 days.
    """

    valid: int
    revoked: int
    first_ends_at_ms: int | None
    devices_ending: int
    devices_ended: int
