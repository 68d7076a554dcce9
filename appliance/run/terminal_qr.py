"""A QR code in a terminal, so that a phone opens the page without anybody typing its address.

It holds the address and nothing else: a code in it would end in the browser's history.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

OPEN_PREFIX: Final = "Open "
BORDER_MODULES: Final = 2
"""Beside the terminal's own margin; half the standard's quiet zone is enough for phones."""
_LOOPBACK: Final = ("127.", "::1", "localhost")


def qr_lines(text: str) -> list[str]:
    """A QR code as lines of half blocks, two modules above each other in a character, for a dark terminal."""
    import segno  # only here: the supervisor carries no library that it needs once at most

    out = io.StringIO()
    segno.make_qr(text, error="l").terminal(out=out, border=BORDER_MODULES, compact=True)
    return out.getvalue().splitlines()


def address_to_show(lines: Sequence[str]) -> str:
    """The first address of an announcement that another machine can open; "" where only this one can."""
    addresses = [line.removeprefix(OPEN_PREFIX) for line in lines if line.startswith(OPEN_PREFIX)]
    hosts = ((address, urlsplit(address).hostname or "") for address in addresses)
    return next((address for address, host in hosts if host and not host.startswith(_LOOPBACK)), "")
