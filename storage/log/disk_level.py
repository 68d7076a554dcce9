"""How full the file system is, as four levels with hysteresis. Pure.

    level       from          what it means
    ──────────  ────────────  ──────────────────────────────────────────────────────────────────────────────
    ok          –             nothing
    low         low (85 %)    sealed segments that nobody needs any more are removed, oldest first
    hold        hold (92 %)   telemetry is not acknowledged any more; control traffic goes on
    read_only   read only     nothing is appended at all
                (95 %)

A level is left again only when the used share has fallen HYSTERESIS below the share at which it begins, so that a file
of a few pages doesn't make the broker say yes and no in turn.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from appliance.core.errors import ConfigError
from appliance.core.limits import DISK_HYSTERESIS_PERCENT


class DiskLevel(enum.IntEnum):
    """Higher is fuller; see the module."""

    OK = 0
    LOW = 1
    HOLD = 2
    READ_ONLY = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """Of a file system, bytes: what users without privileges may have of it in all, and what of that is free."""

    total_bytes: int
    free_bytes: int

    def used_ratio(self, owed_bytes: int = 0) -> float:
        """The used share, 0..1, as if `owed_bytes` of what is free were used already."""
        if self.total_bytes <= 0:
            return 1.0
        return min(1.0, max(0.0, 1 - (self.free_bytes - owed_bytes) / self.total_bytes))


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskLevels:
    """Where each level begins, percent used.

    Raises:
        ConfigError: they don't rise.
    """

    low_percent: int = 85
    hold_percent: int = 92
    read_only_percent: int = 95

    def __post_init__(self) -> None:
        if not DISK_HYSTERESIS_PERCENT < self.low_percent < self.hold_percent < self.read_only_percent <= 100:
            raise ConfigError(
                f"The disk's levels {self.low_percent}, {self.hold_percent} and {self.read_only_percent} % don't rise.",
                hint="Set log.disk_low_percent < log.disk_hold_percent < log.disk_read_only_percent.",
            )

    def after(self, before: DiskLevel, used_ratio: float) -> DiskLevel:
        """The level that follows `before` when this share is used."""
        used_percent = used_ratio * 100
        begins = {
            DiskLevel.LOW: self.low_percent,
            DiskLevel.HOLD: self.hold_percent,
            DiskLevel.READ_ONLY: self.read_only_percent,
        }
        level = DiskLevel.OK
        for candidate, percent in begins.items():
            if used_percent >= percent - (DISK_HYSTERESIS_PERCENT if candidate <= before else 0):
                level = candidate
        return level

    def excess_bytes(self, space: Space, owed_bytes: int = 0) -> int:
        """How much must be freed for the level to be ok again; 0 when nothing."""
        allowed = space.total_bytes * (self.low_percent - DISK_HYSTERESIS_PERCENT) // 100
        return max(0, space.total_bytes - (space.free_bytes - owed_bytes) - allowed)
