"""How safe this box's data is, in a line; without anything that `homeport status` would have to load for it."""

from __future__ import annotations


def only_here(rpo_ms: int | None, unsafe_entries: int | None) -> str:
    """What would be lost with this box now, in a line."""
    if rpo_ms is None:
        return "Everything is only here: no box that could have a copy belongs to the fleet."
    if not rpo_ms:
        return "Nothing is only here."
    return f"Only here: {unsafe_entries} records of the last {rpo_ms / 1000:.1f} s."
