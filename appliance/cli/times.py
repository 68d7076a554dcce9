"""Times as verbs print them for people, and durations as people write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from appliance.core.errors import UsageError

_DURATION: Final = re.compile(r"([0-9]{1,6})([smhd])")
_UNIT_MS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def shown_at(at_ms: int | None) -> str:
    """UTC, to the minute; "" for never.

    Args:
        at_ms: UTC ms.
    """
    if at_ms is None:
        return ""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def after_ms(now_ms: int, duration: str) -> int:
    """When a duration such as 90m, 8h or 2d is over, UTC ms.

    Args:
        now_ms: When it begins, UTC ms.
    Raises:
        UsageError: `duration_invalid`.
    """
    found = _DURATION.fullmatch(duration.strip())
    if found is None:
        raise UsageError(
            f"“{duration[:40]}” is no duration.",
            hint="Write a number and s, m, h or d: 90m, 8h, 2d.",
            code="duration_invalid",
        )
    return now_ms + int(found[1]) * _UNIT_MS[found[2]]
