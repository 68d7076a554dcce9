"""Every state that a page can show: its word, its icon and its tone, in one table each.

A state is never shown by colour alone; the icon's shape and the word say the same thing. `/patterns` shows all of
them, and the browser tests look at that page.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Tone = Literal["good", "idle", "warn", "bad"]


@dataclass(frozen=True, slots=True)
class Look:
    """How a state appears.

    Attributes:
        word: What is read out and printed.
        icon: A symbol of templates/sprite.html, without its "i-".
        tone: Repeats it as a colour.
    """

    word: str
    icon: str
    tone: Tone


PRESENCE: Final[dict[str, Look]] = {
    "online": Look("online", "online", "good"),
    "sleeping": Look("sleeping", "sleeping", "idle"),
    "offline": Look("offline", "offline", "idle"),
    "lost": Look("lost", "lost", "bad"),
    "never_seen": Look("never seen", "never_seen", "idle"),
}
"""A device's presence (STYLE: online / offline / lost / sleeping / never seen)."""

REGISTRY: Final[dict[str, Look]] = {
    "waiting": Look("waiting for adoption", "waiting", "warn"),
    "rejected": Look("rejected", "rejected", "idle"),
    "decommissioned": Look("decommissioned", "decommissioned", "idle"),
}
"""States of the catalog that matter more than presence."""

FRESHNESS: Final[dict[str, Look]] = {
    "fresh": Look("fresh", "fresh", "good"),
    "late": Look("late", "late", "warn"),
    "stale": Look("stale", "stale", "bad"),
    "never": Look("never", "never", "idle"),
}

QUALITY: Final[dict[str, Look]] = {
    "good": Look("good", "fresh", "good"),
    "uncertain": Look("uncertain", "late", "warn"),
    "bad": Look("bad", "bad", "bad"),
}

STORE: Final[dict[str, Look]] = {
    "closed": Look("store working", "ok", "good"),
    "behind": Look("store behind", "warn", "warn"),
    "half_open": Look("store being tried", "warn", "warn"),
    "open": Look("store unavailable", "bad", "bad"),
    "starting": Look("store starting", "info", "idle"),
}
"""The breaker before the store, and being behind with a closed one."""

BROKER: Final[dict[str, Look]] = {
    "serving": Look("broker serving", "ok", "good"),
    "away": Look("broker away", "bad", "bad"),
}

BRIDGE: Final[dict[str, Look]] = {
    "connected": Look("connected", "ok", "good"),
    "connecting": Look("connecting", "info", "idle"),
    "starting": Look("starting", "info", "idle"),
    "waiting": Look("waiting to try again", "warn", "warn"),
    "stopped": Look("stopped", "bad", "bad"),
    "not_running": Look("not running", "bad", "bad"),
}
"""A bridge's states (ui/bridges.py)."""

CLIENT: Final[dict[str, Look]] = {
    "connected": Look("connected", "online", "good"),
    "lagging": Look("fed from the log", "late", "warn"),
    "away": Look("away", "sleeping", "idle"),
    "gone": Look("gone", "offline", "idle"),
}
"""A client of the broker: one that lags was too slow for its queue, one that is away has a session that waits for it."""

DISK: Final[dict[str, Look]] = {
    "ok": Look("room on the disk", "ok", "good"),
    "low": Look("disk filling up", "warn", "warn"),
    "hold": Look("readings held back", "bad", "bad"),
    "read_only": Look("disk full", "bad", "bad"),
}
"""The levels of the log's disk (docs/OPERATIONS.md)."""

CLOCK: Final[dict[str, Look]] = {
    "synchronized": Look("synchronized", "ok", "good"),
    "unsynchronized": Look("not synchronized", "warn", "warn"),
    "unknown": Look("not known", "info", "idle"),
}

UNKNOWN: Final = Look("unknown", "info", "idle")


def presence_look(presence: str, registry_state: str = "active") -> Look:
    """A device's one pill: what the catalog says if it isn't in service, else its presence."""
    if registry_state != "active":
        return REGISTRY.get(registry_state, UNKNOWN)
    return PRESENCE.get(presence, UNKNOWN)
