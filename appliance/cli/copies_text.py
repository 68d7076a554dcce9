"""How safe this box's data is, in a line; without anything that `homeport status` would have to load for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def only_here(rpo_ms: int | None, unsafe_entries: int | None) -> str:
    """What would be lost with this box now, in a line."""
    if rpo_ms is None:
        return "Everything is only here: no box that could have a copy belongs to the fleet."
    if not rpo_ms:
        return "Nothing is only here."
    return f"Only here: {unsafe_entries} records of the last {rpo_ms / 1000:.1f} s."


def blobs_only_here(blobs: Iterable[Mapping[str, Any]]) -> str:
    """How many images and archived days have a copy that counts, in a line; "" where there are none."""
    words = [
        f"{each['safe_count']} of {each['count']} {'images' if each['kind'] == 'image' else 'archived days'}"
        for each in blobs
        if each["count"]
    ]
    return f"With a copy that counts: {', '.join(words)}." if words else ""
