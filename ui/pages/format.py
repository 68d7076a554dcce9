"""How numbers and ages read on a page. Pure: time comes in as an argument.

The same rules are in static/js/ages.js, which keeps ages ticking between two renderings; the browser tests
compare both. What a page shows of a time is an age; the exact instant in UTC stands beside it (`title`).
"""

from __future__ import annotations

import datetime as dt
import math

Value = float | int | str | bool | None


def visible(text: str) -> str:
    """A foreign text in which nothing is hidden: characters that can't be seen (controls, bidirectional overrides,
    zero-width ones) become `\\xNN` or `\\uNNNN`, so that it can't rearrange the page around it."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else _escape(ord(c)) for c in text)


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def value_text(value: Value) -> str:
    """A value as people read it: about five significant digits, grouped thousands, words for booleans.

    Text comes back as it is (callers escape it); None, infinities and NaN become a word.
    """
    if value is None:
        return "no value"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, str):
        return value
    if isinstance(value, float) and not math.isfinite(value):
        return "not a number" if math.isnan(value) else ("∞" if value > 0 else "−∞")
    size = abs(value)
    if size != 0 and (size >= 1e12 or size < 1e-4):
        return f"{value:.4g}".replace("-", "−")
    if isinstance(value, int) or value == int(value):
        return f"{value:,.0f}".replace(",", "\u202f").replace("-", "−")
    digits = 1 if size >= 1_000 else 2 if size >= 10 else 3 if size >= 1 else 4
    text = f"{value:,.{digits}f}".rstrip("0").rstrip(".")
    return text.replace(",", "\u202f").replace("-", "−")


def count_text(count: int) -> str:
    """12345 → "12 345" (narrow no-break space)."""
    return f"{count:,}".replace(",", "\u202f")


def rate_text(per_second: float) -> str:
    """A rate without false precision: 0.25, 4.8, 12 345."""
    if per_second and per_second < 10:
        return f"{per_second:.2g}"
    return count_text(round(per_second))


def duration_text(duration_ms: float) -> str:
    """120 → "120 ms", 1500 → "1.5 s", 90_000 → "2 min", 5_400_000 → "1.5 h"."""
    if duration_ms < 1_000:
        return f"{round(duration_ms)} ms"
    seconds = duration_ms / 1_000
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{round(seconds)} s"
    if seconds < 3_600:
        return f"{round(seconds / 60)} min"
    if seconds < 2 * 86_400:
        return f"{seconds / 3_600:.1f} h"
    return f"{round(seconds / 86_400)} days"


def bytes_text(size_bytes: int) -> str:
    """1536 → "1.5 KiB"."""
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def limit_text(value: int, unit: str) -> str:
    """A limit as people read it: 8388608 bytes → 8.0 MiB, 10000 messages → 10 000 messages."""
    return bytes_text(value) if unit == "bytes" else f"{count_text(value)} {unit}".strip()


def age_text(at_ms: int | None, now_ms: int) -> str:
    """How long ago, in one unit. A time ahead of ours by more than 2 s says so rather than lie.

    Args:
        at_ms: Wall time, ms since 1970; None means it never happened.
        now_ms: The server's wall time, ms.
    """
    if at_ms is None:
        return "never"
    seconds = (now_ms - at_ms) // 1_000
    if seconds < -2:
        return "ahead of our clock"
    if seconds < 2:
        return "just now"
    if seconds < 60:
        return f"{seconds} s ago"
    if seconds < 3_600:
        return f"{seconds // 60} min ago"
    if seconds < 2 * 86_400:
        return f"{seconds // 3_600} h ago"
    return f"{seconds // 86_400} days ago"


def instant_text(at_ms: int) -> str:
    """The exact time: "2026-03-01 12:00:00.123 UTC". Times no calendar holds come back as their number."""
    try:
        at = dt.datetime.fromtimestamp(at_ms / 1_000, dt.UTC)
    except (OverflowError, ValueError, OSError):
        return f"{at_ms} ms since 1970"
    return f"{at:%Y-%m-%d %H:%M:%S}.{at_ms % 1_000:03d} UTC"


def iso_text(at_ms: int) -> str:
    """For `<time datetime>`; empty for times no calendar holds."""
    try:
        return dt.datetime.fromtimestamp(at_ms / 1_000, dt.UTC).isoformat(timespec="milliseconds")
    except (OverflowError, ValueError, OSError):
        return ""


def plural(count: int, one: str, many: str = "") -> str:
    """(1, "device") → "1 device"; (3, "device") → "3 devices"."""
    return f"{count_text(count)} {one if count == 1 else many or one + 's'}"
