"""Ids made of random bits. Randomness comes in as an argument, so that a simulation can repeat itself.

Source: W3C Trace Context §3.2.2: a trace id is 16 bytes, a span id 8 bytes, both not all zero.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Final

RandomBytes = Callable[[int], bytes]

TRACE_ID_BYTES: Final = 16
SPAN_ID_BYTES: Final = 8


def new_trace_id(random_bytes: RandomBytes = secrets.token_bytes) -> str:
    """A trace id: 32 hexadecimal digits, never all zero."""
    return _hex(TRACE_ID_BYTES, random_bytes)


def new_span_id(random_bytes: RandomBytes = secrets.token_bytes) -> str:
    """A span id: 16 hexadecimal digits, never all zero."""
    return _hex(SPAN_ID_BYTES, random_bytes)


def _hex(size_bytes: int, random_bytes: RandomBytes) -> str:
    while True:
        made = random_bytes(size_bytes)
        if any(made):
            return made.hex()
