"""The section of the configuration about copies on other boxes: where peers reach this one, where it stands, what is safe.

config.py says how it is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass

from appliance.core.limits_replication import (
    NODE_ADDRESS_COUNT_MAX,
    NODE_ADDRESS_LENGTH_MAX,
    REGION_LENGTH_MAX,
)
from appliance.core.settings import Bind, bind_or_off, choice, listing, text, whole


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicationConfig:
    """Copies on other boxes (docs/REPLICATION.md); nothing of it counts before this box has a peer."""

    bind: Bind | None = bind_or_off(
        "0.0.0.0:8885",
        help="Where peers connect; off: only this box connects to others, which is enough where one of two can be reached.",
    )
    addresses: tuple[Bind, ...] = listing(
        Bind.parse,
        of="addresses such as box.example:8885",
        high=NODE_ADDRESS_LENGTH_MAX,
        count_max=NODE_ADDRESS_COUNT_MAX,
        help="Where peers reach this box, if not at its own addresses: behind a router, under a name. Empty: its own.",
    )
    region: str = text(
        "",
        high=REGION_LENGTH_MAX,
        pattern=(r"[A-Za-z0-9._-]*", "letters, digits, dots, hyphens"),
        help="Where this box stands: what fails together, such as a building, a town, a grid. Boxes without one are in one region.",
    )
    safe_at: str = choice(
        "node",
        ("node", "site", "region"),
        help="What counts as safe: a copy on another node, on one of another site, or on one of another region.",
    )
    backlog_kib_s: int = whole(
        0,
        unit="KiB/s",
        low=0,
        high=1_048_576,
        help="What a link may carry of backlog and repair; heartbeats and what comes in now are never held back. 0 is no bound.",
    )
    keep_percent: int = whole(
        50,
        unit="%",
        low=1,
        high=90,
        help="Of the disk, for copies of other boxes' logs; beyond it their oldest segments go. Copies go before this box's own log does.",
    )
    keep_days: int = whole(
        0,
        unit="days",
        low=0,
        high=36_500,
        help="How long copies of other boxes' logs are kept, by the times in them. 0: as long as there is room.",
    )
    day_copies_mib: int = whole(
        16_384,
        unit="MiB",
        low=0,
        high=16_777_216,
        help="For copies of archived days of the site's other boxes; beyond it, or from log.disk_low_percent on, the oldest days go. 0: none are kept.",
    )
    drill_days: int = whole(
        0,
        unit="days",
        low=0,
        high=366,
        help="How often a restore from the other boxes is tried beside the data. Each fetches this box's whole log over the links once. 0: only when asked.",
    )
