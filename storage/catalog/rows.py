"""What the catalog's tables hold, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from appliance.management.access import Access, Kind

DeviceState = Literal["active", "waiting", "rejected", "decommissioned"]
DEVICE_STATES: tuple[DeviceState, ...] = get_args(DeviceState)
Role = Literal["viewer", "operator", "installer", "admin"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device or application that may connect, or asked to."""

    device_id: str
    kind: Kind
    access: Access
    role: str = ""
    state: DeviceState
    name: str
    tags: tuple[str, ...]
    first_contact_at_ms: int | None
    created_at_ms: int
    updated_at_ms: int


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


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A person."""

    user_id: str
    role: Role
    password_hash: str
    disabled: bool
    created_at_ms: int
    credentials_changed_at_ms: int


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
class OutboxRow:
    """One captured change: `row` and `changed` are JSON text."""

    position: int
    table: str
    key: str
    op: Literal["insert", "update", "delete"]
    row: str
    changed: str | None
    hlc: int
    origin: str
