"""Readers of configured texts that mean something: addresses of networks, origins of web pages."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Final, TypeAlias

from appliance.core.settings import BadValueError

PATH_BYTES_MAX: Final = 4000
SOCKET_PATH_BYTES_MAX: Final = 107
"""The kernel's: a Unix socket's path has 108 bytes with its closing zero."""

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
_ORIGIN: Final = re.compile(r"https?://([^\s/:\[\]]+|\[[0-9a-f:.]+\])(:\d{1,5})?")


def network(text: str) -> Network:
    """An address or a network of them. Raises BadValueError."""
    try:
        return ipaddress.ip_network(text.strip())
    except ValueError as error:
        raise BadValueError(f"must be addresses such as 10.0.0.5 or 10.0.0.0/24: {error}") from None


def origin(text: str) -> str:
    """A web page's origin as browsers send it (RFC 6454 §6.2), in lower case. Raises BadValueError."""
    lower = text.strip().lower()
    if _ORIGIN.fullmatch(lower) is None:
        raise BadValueError(f'must be origins such as https://pages.example:8443, not "{text}"')
    return lower


def absolute_folder(text: str) -> Path:
    """A folder by its whole path. Raises BadValueError."""
    path = Path(text.strip())
    if not path.is_absolute() or ".." in path.parts:
        raise BadValueError(f'must be whole paths such as /media, without "..", not "{text}"')
    return path
