"""The sections of the configuration about the cloud tier: `[tier]`, and `[[tier_region]]` for each region, in order of preference.

config.py says how it is loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.core.errors import ConfigError
from appliance.core.limits_replication import REGION_LENGTH_MAX, TIER_REGION_COUNT_MAX
from appliance.core.settings import choice, file_or_off, flag, text, whole

_NAME = (r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", "small letters, digits and inner hyphens")
_PATH_BYTES_MAX = 4_000
_ADDRESS_LENGTH_MAX = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TierConfig:
    """Copies in a cloud (docs/CLOUD.md); nothing of it counts without a region."""

    pace_s: int = whole(
        5,
        unit="s",
        low=1,
        high=3_600,
        help="What is new waits so long to become one piece. It bounds what a lost box costs, and how many requests a day are paid for.",
    )
    others: str = choice(
        "filled",
        ("filled", "standby"),
        help="filled: regions after the first get all of it, too, a minute later. standby: only while the first is away.",
    )
    kib_s: int = whole(
        0,
        unit="KiB/s",
        low=0,
        high=1_048_576,
        help="What may go out to all regions together. Too little makes what a lost box costs grow. 0 is no bound.",
    )
    encrypt: str = choice(
        "on",
        ("on", "off"),
        help="off lets whoever keeps the copies read them: pieces are packed and not sealed with the site's key.",
    )
    key_generation: int = whole(
        1,
        unit="generation",
        low=1,
        high=1_000_000,
        help="Raise it to seal what comes with a new key. What was sealed before stays readable with the recovery kit.",
    )
    drill_days: int = whole(
        0,
        unit="days",
        low=0,
        high=366,
        help="How often a restore from the cloud is tried beside the data. Each fetches this box's whole log from a region once. 0: only when asked.",
    )
    audit_hours: int = whole(
        24,
        unit="h",
        low=0,
        high=720,
        help="How often it is looked whether a region still has what was put there. 0: only its end is looked at, each minute.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TierRegionConfig:
    """One region: where it is, and who asks there."""

    name: str = text(
        "cloud",
        low=1,
        high=REGION_LENGTH_MAX,
        pattern=_NAME,
        help="Names the region on pages and among the holders of copies. It is the same on all boxes, and stays.",
    )
    address: str = text(
        "s3://homeport",
        low=1,
        high=_ADDRESS_LENGTH_MAX,
        help="s3://BUCKET/PREFIX?endpoint=…, nats://HOST:PORT/NAME or postgresql://USER@HOST/DATABASE; no secret in it. Or "
        "homeport://NODE/REGION: what a cloud node of that name has under that one.",
    )
    credentials_file: Path | None = file_or_off(
        high=_PATH_BYTES_MAX,
        help="File (TOML, mode 600) with what the engine wants to know: access_key_id, password, token …; off where it wants nothing.",
    )
    readings: bool = flag(
        False,
        help="Upload readings as rows, too, for SQL over all sites. Only to postgresql://. Whoever runs that database can read them.",
    )
    readings_schema: str = text(
        "readings",
        low=1,
        high=63,
        pattern=(r"(?!pg_)[a-z_][a-z0-9_]*", "small letters, digits and _, not beginning with pg_"),
        help="The schema of these rows: the same for all sites that are asked about together, and another than that of the address.",
    )
    readings_days: int = whole(
        0,
        unit="days",
        low=0,
        high=36_600,
        help="Days of rows that are older than this are dropped, of all sites in the schema. 0: never.",
    )


def check_tier(
    regions: Sequence[TierRegionConfig], path: Path | None, *, role: str = "edge", has_bridge: bool = False
) -> None:
    """Whether regions fit each other, and what this node is.

    Args:
        role: Of this node.
    Raises:
        ConfigError: there are too many, or two have one name; a cloud node has none, or what only a node with devices has; readings where none can go.
    """
    if role == "cloud" and not regions:
        raise ConfigError(
            f"{path or 'The configuration'}: node.role is cloud, and there is no [[tier_region]].",
            hint="A cloud node keeps nothing itself: name the engine that does (docs/CLOUD.md).",
        )
    if role == "cloud" and has_bridge:
        raise ConfigError(
            f"{path or 'The configuration'}: node.role is cloud, and there is a [[bridge]].",
            hint="A cloud node has no broker: configure the bridge where the devices are.",
        )
    for region in regions:
        if not region.readings:
            continue
        if role == "cloud" or not region.address.startswith("postgresql://"):
            raise ConfigError(
                f"{path or 'The configuration'}: the region {region.name} has readings = true"
                f"{', and a cloud node has no readings' if role == 'cloud' else ' and no address that begins with postgresql://'}.",
                hint="Only a box with devices has readings, and only PostgreSQL takes them as rows (docs/CLOUD.md).",
            )
    names = [region.name for region in regions]
    doubled = next((name for name in names if names.count(name) > 1), None)
    if len(names) > TIER_REGION_COUNT_MAX or doubled is not None:
        what = f"two are called {doubled}" if doubled else f"there are {len(names)}"
        raise ConfigError(
            f"{path or 'The configuration'}: [[tier_region]]: {what}.",
            hint=f"Write at most {TIER_REGION_COUNT_MAX}, each with a name of its own.",
        )
