"""Which web pages may connect over WebSocket. Pure.

A browser lets any page open a WebSocket to any address it can reach, and says only which page it was (RFC 6455 §10.2).
On a site's network that is every page that somebody there has open. So a page must come from this box itself: its host is
the one that is connected to, *and* that is an IP address or one of the box's own names. Equality alone would not do: a page of
evil.example that has its name resolve to the box's address (DNS rebinding) connects to evil.example, too. It can do nothing of
the kind with an address. Any other page is listed in the configuration.

Who is no browser sends no Origin, and is judged by what it proves, as on every other way in.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit


class OriginPolicy:
    """Answers whether a page may connect.

    Args:
        own_names: Names and addresses of this box.
        allowed: Origins of other pages, in lower case, such as `https://pages.example:8443`.
    """

    def __init__(self, own_names: Iterable[str], allowed: Iterable[str]) -> None:
        self._own_names = frozenset(name.lower() for name in own_names)
        self._allowed = frozenset(allowed)

    def allows(self, origin: str | None, host: str) -> bool:
        """Whether a page of `origin` (None: no browser) may connect to what it calls `host`, the Host header."""
        if origin is None:
            return True
        origin = origin.lower()
        if origin in self._allowed:
            return True
        page, called = _host_of(origin), _host_of(f"//{host.lower()}")
        if not page or page != called:
            return False
        return page in self._own_names or _is_address(page)


def _host_of(url: str) -> str:
    """The host of a URL, "" if it has none (`null`, the origin of a page in a sandbox or a file)."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
