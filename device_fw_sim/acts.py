"""What the update agent, the twin and the commands want of the device around them. Values only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Publish below `dm/{device}/`.

    Args:
        qos: 1, or 0 for what is asked again anyway.
    """

    topic: str
    payload: bytes
    qos: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """Restart properly: goodbye, then the bootloader."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusChanged:
    """Say anew what runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetInterval:
    """Take readings at another pace."""

    interval_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetch:
    """Get bytes over HTTPS, from `offset` to the end."""

    url: str
    offset: int


Act = Request | Restart | StatusChanged | SetInterval | Fetch
