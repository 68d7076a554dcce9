"""What the log's disk asks an operator to look at, out of the broker's statistics; nothing where they don't say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ui.pages.format import count_text, plural
from ui.pages.views import Attention

LEVEL_TEXT: Final = {
    "low": ("warn", "The disk is filling up: parts of the log that nobody needs are being removed."),
    "hold": (
        "bad",
        "The disk is nearly full: devices' readings are not acknowledged, and they keep them. Commands go on.",
    ),
    "read_only": ("bad", "The disk is full: nothing is written to the log. Devices keep their readings."),
}
"""Tone and text by the level's name."""


def disk_attention(
    broker: Mapping[str, Any] | None, scrub: Mapping[str, Any] | None = None
) -> tuple[Attention, ...]:
    """Lines for the Overview, worst first.

    Args:
        broker: The broker's statistics; None while it is away.
        scrub: The scrubber's; None while it is off.
    """
    log = _map(broker, "log")
    house = _map(log, "housekeeping")
    lines: list[Attention] = []
    if damaged := max(_count(log, "damaged_ranges"), _count(scrub or {}, "damaged_ranges")):
        text = f"{plural(damaged, 'range', 'ranges')} of the log can't be read: run homeport log verify."
        lines.append(Attention(tone="bad", text=text))
    level = LEVEL_TEXT.get(str(house.get("disk_level_name")))
    if level is not None:
        tone, text = level
        lines.append(Attention(tone="bad" if tone == "bad" else "warn", text=text))
    if unread := _count(house, "dropped_unread_records"):
        text = f"{count_text(unread)} records were dropped from the log before they were read: it reached its quota."
        lines.append(Attention(tone="bad", text=text))
    if failures := _count(log, "write_failures_total"):
        text = f"The disk refused to write {plural(failures, 'time', 'times')}; nothing was lost. Look at its health."
        lines.append(Attention(tone="bad", text=text))
    return tuple(lines)


def _map(value: Mapping[str, Any] | None, name: str) -> Mapping[str, Any]:
    found = value.get(name) if value is not None else None
    return found if isinstance(found, Mapping) else {}


def _count(value: Mapping[str, Any], name: str) -> int:
    found = value.get(name)
    return found if isinstance(found, int) else 0
