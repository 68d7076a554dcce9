"""Times of a form as people write them: "90 s", "10 min", "2 h", "1 d". Pure; `read_s` and `write_s` are each other's inverse."""

from __future__ import annotations

import re
from typing import Final

from appliance.core.errors import UsageError

_UNITS: Final = {"s": 1, "min": 60, "h": 3_600, "d": 86_400}
_FORM: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)\s*(s|min|h|d)?")


def read_s(text: str, *, name: str) -> float:
    """Seconds; a number alone is seconds.

    Args:
        name: Of the field, for the message.
    Raises:
        UsageError: `duration_invalid`.
    """
    found = _FORM.fullmatch(text.strip().lower())
    if found is None:
        raise UsageError(
            f"“{text[:40]}” in “{name}” is no time.",
            hint="Write a number and s, min, h or d, such as 90 s or 10 min.",
            code="duration_invalid",
        )
    return float(found[1]) * _UNITS[found[2] or "s"]


def write_s(seconds: float) -> str:
    """The largest unit in which it is a whole number."""
    for unit in ("d", "h", "min"):
        if seconds and seconds % _UNITS[unit] == 0:
            return f"{seconds / _UNITS[unit]:.0f} {unit}"
    return f"{seconds:.6f}".rstrip("0").rstrip(".") + " s"
