"""Whether a token that was made elsewhere may be a device's. Pure.

Nobody can tell from a text how it was made. What can be told is how much chance could be in it at most: its length times what a
character of its alphabet carries. That has to be 128 bits, and the characters must not be all the same few.
"""

from __future__ import annotations

import math
import re
from typing import Final

from appliance.core.errors import UsageError

BITS_MIN: Final = 128
LENGTH_MAX: Final = 256
DISTINCT_CHARACTER_COUNT_MIN: Final = 8
"""Of 32 random hexadecimal digits, fewer are different once in 60,000 tokens."""
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_UUID_BITS: Final = 122
"""Six of its bits say what it is. Source: RFC 9562 §5.4."""
_ALPHABETS: Final = (
    (re.compile(r"[0-9]*"), 10),
    (re.compile(r"[0-9a-f]*|[0-9A-F]*"), 16),
    (re.compile(r"[0-9a-z]*|[0-9A-Z]*"), 36),
    (re.compile(r"[0-9A-Za-z]*"), 62),
)
_SIGNS_ALPHABET: Final = 64
"""With any sign it is taken for base64: more would be credited to a single “!”."""


def bits_at_most(token: str) -> int:
    """How many bits of chance can be in a token."""
    if _UUID.fullmatch(token):
        return _UUID_BITS
    size = next((size for pattern, size in _ALPHABETS if pattern.fullmatch(token)), _SIGNS_ALPHABET)
    return math.floor(len(token) * math.log2(size))


def check_token_strength(token: str) -> None:
    """Refuse a token that could be guessed. It is not in the error.

    Raises:
        UsageError: `token_weak`.
    """
    if len(token) > LENGTH_MAX or not token.isascii() or not token.isprintable() or " " in token:
        raise _weak(f"A token has at most {LENGTH_MAX} letters, digits and signs of ASCII, without spaces.")
    bits = bits_at_most(token)
    if bits < BITS_MIN:
        raise _weak(f"The token can hold {bits} bits of chance, and {BITS_MIN} are needed.")
    if len(set(token)) < DISTINCT_CHARACTER_COUNT_MIN:
        raise _weak(f"The token has fewer than {DISTINCT_CHARACTER_COUNT_MIN} different characters.")


def _weak(message: str) -> UsageError:
    return UsageError(
        message,
        hint="Let Homeport make one: leave it empty and ask for tokens.",
        code="token_weak",
    )
