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

DEVICE_CLOCK: Final[dict[str, Look]] = {
    "right": Look("right", "ok", "good"),
    "wrong": Look("wrong", "warn", "warn"),
    "unknown": Look("not known yet", "never_seen", "idle"),
}
"""A device's clock beside ours (appliance/management/clock_offset.py)."""

WITH_ALARMS_LOOK: Final = Look("with alarms", "bell", "bad")

DEVICE_CLOCKS_WRONG: Final = Look("clock wrong", "warn", "warn")

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

REFUGE: Final[dict[str, Look]] = {
    "safe": Look("safe elsewhere", "ok", "good"),
    "only_here": Look("partly only here", "warn", "warn"),
    "nobody": Look("only here", "bad", "bad"),
    "alone": Look("alone", "info", "idle"),
    "unknown": Look("not known", "bad", "bad"),
}
"""How safe what this box holds is (ui/replication.py)."""

SITE_NODE: Final[dict[str, Look]] = {
    "safe": Look("safe elsewhere", "ok", "good"),
    "only_there": Look("partly only there", "warn", "warn"),
    "stopped": Look("can't copy", "warn", "warn"),
    "silent": Look("not heard from", "bad", "bad"),
}
"""How a box of a site does, as a cloud node knows it (ui/pages/cloud_sites_facts.py)."""

DRILL: Final[dict[str, Look]] = {
    "good": Look("came back whole", "ok", "good"),
    "different": Look("came back different", "bad", "bad"),
    "failed": Look("could not be tried", "warn", "warn"),
    "called_off": Look("called off", "info", "idle"),
}
"""What a drill found (ui/drill_desk.py)."""

REGION: Final[dict[str, Look]] = {
    "live": Look("takes what is new", "ok", "good"),
    "behind": Look("filled behind it", "ok", "good"),
    "away": Look("away", "warn", "warn"),
    "unfit": Look("refused", "bad", "bad"),
}
LINK: Final[dict[str, Look]] = {
    "up": Look("linked", "ok", "good"),
    "dialling": Look("connecting", "info", "idle"),
    "relayed": Look("through another box", "late", "warn"),
    "down": Look("away", "warn", "warn"),
    "refused": Look("refused", "bad", "bad"),
    "gone": Look("taken out", "offline", "idle"),
}
"""The link to another box."""

MEMBER: Final[dict[str, Look]] = {
    "alive": Look("alive", "online", "good"),
    "suspect": Look("perhaps away", "late", "warn"),
    "dead": Look("away", "lost", "bad"),
    "unknown": Look("not known", "info", "idle"),
}
"""What the boxes together believe of one; nothing is removed by it."""

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

CLAIM: Final[dict[str, Look]] = {
    "valid": Look("can be used", "ok", "good"),
    "used_up": Look("used up", "info", "idle"),
    "expired": Look("ended", "offline", "idle"),
    "revoked": Look("revoked", "rejected", "idle"),
}

CERTIFICATE: Final[dict[str, Look]] = {
    "valid": Look("valid", "ok", "good"),
    "ended": Look("ended", "offline", "idle"),
    "revoked": Look("revoked", "rejected", "bad"),
}

UNKNOWN: Final = Look("unknown", "info", "idle")


def presence_look(presence: str, registry_state: str = "active") -> Look:
    """A device's one pill: what the catalog says if it isn't in service, else its presence."""
    if registry_state != "active":
        return REGISTRY.get(registry_state, UNKNOWN)
    return PRESENCE.get(presence, UNKNOWN)
