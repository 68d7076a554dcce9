"""Bytes as letters and digits that people can type: Crockford's base 32, without I, L, O and U.

Case, dashes and spaces don't matter when it is read, and O, I and L are read as 0, 1 and 1.
"""

from __future__ import annotations

from typing import Final

from appliance.core.errors import UsageError

ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
READ_AS: Final = str.maketrans({"O": "0", "I": "1", "L": "1", "-": "", " ": ""})
_VALUE: Final = {character: value for value, character in enumerate(ALPHABET)}


def encode(data: bytes) -> str:
    """Five bits a character, the first ones first; the last character is filled up with zeros."""
    bits = len(data) * 8
    count = -(-bits // 5)
    number = int.from_bytes(data) << (count * 5 - bits)
    return "".join(ALPHABET[number >> (5 * place) & 31] for place in reversed(range(count)))


def decode(text: str) -> bytes:
    """The bytes that `encode` made this of.

    Raises:
        UsageError: `typing_error`: a character that is none of the alphabet's, or bits that `encode` leaves zero.
    """
    number = 0
    plain = normal(text)
    for character in plain:
        if character not in _VALUE:
            raise UsageError(
                f"“{character}” is no character of this code.",
                hint="It has digits and capital letters without I, L, O and U.",
                code="typing_error",
            )
        number = number << 5 | _VALUE[character]
    size_bytes, spare_bits = divmod(len(plain) * 5, 8)
    if spare_bits >= 5 or number & ((1 << spare_bits) - 1):
        raise UsageError("The code is cut off.", hint="Type all of it.", code="typing_error")
    return (number >> spare_bits).to_bytes(size_bytes)


def normal(text: str) -> str:
    """The code without what doesn't matter."""
    return text.upper().translate(READ_AS)
