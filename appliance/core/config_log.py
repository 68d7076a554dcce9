"""The section [log] of the configuration: how the log is written, and how much of its disk it may take."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.core.errors import ConfigError
from appliance.core.settings import choice, whole


@dataclass(frozen=True, slots=True, kw_only=True)
class LogConfig:
    """The log that every reading is written to before it is acknowledged."""

    linger_ms: int = whole(
        10,
        unit="ms",
        low=0,
        high=1000,
        help="How long an idle log waits for company before it syncs a lone reading. 0 acknowledges soonest and wears an SD card most.",
    )
    compression: str = choice(
        "auto",
        ("auto", "none", "zstd"),
        help="Whether blocks are compressed. auto compresses a block when that makes it clearly smaller.",
    )
    segment_mib: int = whole(
        64, unit="MiB", low=1, high=1024, help="Size at which a segment file is sealed and the next begun."
    )
    seal_after_s: int = whole(
        3600, unit="s", low=10, high=86_400, help="Age at which a segment is sealed although it isn't full."
    )
    keep_percent: int = whole(
        50,
        unit="%",
        low=1,
        high=95,
        help="Share of the disk that the log may take before its oldest segments go, those that every reader is past.",
    )
    quota_percent: int = whole(
        0,
        unit="%",
        low=0,
        high=95,
        help="Share at which the oldest segment goes although something in it was not read yet, which is counted. 0: never.",
    )
    disk_low_percent: int = whole(
        85,
        unit="%",
        low=10,
        high=98,
        help="Used share of the disk at which segments go that every reader is past.",
    )
    disk_hold_percent: int = whole(
        92,
        unit="%",
        low=11,
        high=99,
        help="Used share at which devices' readings are not acknowledged any more; control traffic goes on.",
    )
    disk_read_only_percent: int = whole(
        95, unit="%", low=12, high=100, help="Used share at which nothing is written to the log."
    )
    scrub_hours: int = whole(
        24,
        unit="h",
        low=0,
        high=2160,
        help="Within which the whole log is read and verified once, in the background. 0: never.",
    )
    ballast_mib: int = whole(
        64,
        unit="MiB",
        low=0,
        high=4096,
        help="Reserve on the log's disk, given up when the disk is full so that the box stays operable; at most 2 % of the disk.",
    )

    def __post_init__(self) -> None:
        """Raises ConfigError where the disk's levels don't rise."""
        if not self.disk_low_percent < self.disk_hold_percent < self.disk_read_only_percent:
            raise ConfigError(
                f"The disk's levels {self.disk_low_percent}, {self.disk_hold_percent} and"
                f" {self.disk_read_only_percent} % don't rise.",
                hint="Set log.disk_low_percent < log.disk_hold_percent < log.disk_read_only_percent.",
            )
