"""Keys of the hub for what a device should be and do; no device's id has a “/” in it."""

from __future__ import annotations


def twin_key(device_id: str) -> str:
    """Of all its twins."""
    return f"{device_id}/twin"


def commands_key(device_id: str) -> str:
    """Of all its commands."""
    return f"{device_id}/commands"
