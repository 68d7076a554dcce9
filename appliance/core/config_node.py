"""The sections of the configuration that the node process reads: devices, mappings, store, API, pages.

config.py says how they are loaded and which others there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from appliance.core.config_values import absolute_folder
from appliance.core.settings import Bind, bind, bind_or_off, choice, flag, listing, text, whole


def _per_minute(default: int, help: str) -> int:
    """A limit of so many requests a minute."""
    return whole(default, unit="requests/min", low=0, high=1_000_000, help=help)


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicesConfig:
    """How devices are admitted and judged."""

    first_contact: str = choice(
        "refuse",
        ("refuse", "wait"),
        help="What an unknown device meets: refuse forgets it, wait lists it as waiting for adoption and refuses it until then.",
    )
    stale_after_s: int = whole(
        60,
        unit="s",
        low=1,
        high=86_400,
        help="Age of its newest reading at which a device's values are stale.",
    )
    https_bind: Bind | None = bind_or_off(
        "0.0.0.0:8444",
        help="The devices' own HTTPS port, with client certificates: enrolment (EST), authority, revocation list.",
    )
    certificate_days: int = whole(
        90,
        unit="days",
        low=1,
        high=1826,
        help="How long a device's certificate is good; the device gets the next one in its last third.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingConfig:
    """A topic pattern whose payloads are readings, beside dm/{device}/telemetry."""

    topic: str = text(
        "tele/{device}/SENSOR",
        low=1,
        high=1024,
        pattern=(
            r"[^#\x00]*\{device\}[^#\x00]*",
            "a topic with {device} in one level, + for any level and no #",
        ),
        help="Topic pattern: {device} is the level that holds the device id, + is any level.",
    )
    format: str = choice(
        "json",
        ("json", "text", "cbor", "msgpack", "senml", "senml_cbor"),
        help="How the payload reads (docs/READINGS.md): JSON, one plain value as text, CBOR, MessagePack, SenML as JSON or as CBOR.",
    )
    metric: str | None = text(
        "",
        high=256,
        help="Name of the metric for a plain value, and prefix of the keys of an object; may be left out.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreConfig:
    """The time-series store and the pipeline that fills it."""

    memory_limit_mib: int = whole(512, unit="MiB", low=64, high=1_048_576, help="Memory that DuckDB may use.")
    threads: int = whole(2, unit="threads", low=1, high=64, help="Threads that DuckDB may use.")
    batch_messages_max: int = whole(
        100_000, unit="messages", low=100, high=200_000, help="Most messages in one transaction."
    )
    commit_deadline_ms: int = whole(
        3000, unit="ms", low=100, high=60_000, help="A transaction that takes longer opens the breaker."
    )
    query_timeout_ms: int = whole(
        10_000, unit="ms", low=100, high=600_000, help="A query that takes longer is interrupted."
    )
    query_concurrency_max: int = whole(
        2, unit="queries", low=1, high=64, help="Queries running at once; more wait."
    )
    sql_timeout_ms: int = whole(
        10_000, unit="ms", low=100, high=600_000, help="A question in SQL that takes longer is interrupted."
    )
    sql_memory_mib: int = whole(
        128,
        unit="MiB",
        low=16,
        high=1_048_576,
        help="Memory that one operator of a question in SQL may use before it uses the disk.",
    )
    sql_rows_max: int = whole(
        10_000,
        unit="rows",
        low=1,
        high=1_000_000,
        help="Rows of an answer to a question in SQL; more are cut off.",
    )
    hot_days: int = whole(
        90, unit="days", low=1, high=3650, help="How long readings stay in the store, quick to ask."
    )
    archive_days: int = whole(
        730,
        unit="days",
        low=0,
        high=36_500,
        help="How long readings stay in the archive (Parquet); 0 is for ever.",
    )
    lateness_hours: int = whole(
        24,
        unit="h",
        low=0,
        high=720,
        help="How long after its end a day waits for late readings before it is archived.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupConfig:
    """Backups of everything that must survive."""

    directories: tuple[Path, ...] = listing(
        absolute_folder,
        of="absolute folders",
        default=(Path("/media"), Path("/mnt"), Path("/run/media")),
        high=4000,
        count_max=16,
        help="Folders below which a backup may lie when the page or the API asks for one.",
    )
    interval_hours: int = whole(
        24,
        unit="h",
        low=1,
        high=8760,
        help="How often a backup is made by itself, once its folder is chosen.",
    )
    keep: int = whole(
        14,
        unit="backups",
        low=1,
        high=10_000,
        help="Backups kept in a folder; the oldest go, what others need stays.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiConfig:
    """How many requests a minute pages and API take; 0 is no limit. The Unix socket has none (docs/LIMITS.md)."""

    reads_per_min_max: int = _per_minute(600, "Reads of a user, all their browsers and programs together.")
    writes_per_min_max: int = _per_minute(100, "Writes of a user.")
    bulk_per_min_max: int = _per_minute(10, "Bulk operations of a user: imports, actions on many devices.")
    token_reads_per_min_max: int = _per_minute(600, "Reads of an API token; its owner's are not touched.")
    token_writes_per_min_max: int = _per_minute(100, "Writes of an API token.")
    token_bulk_per_min_max: int = _per_minute(10, "Bulk operations of an API token.")
    address_reads_per_min_max: int = _per_minute(300, "Reads from an address by those who are not signed in.")
    address_writes_per_min_max: int = _per_minute(
        60, "Writes from an address by those who are not signed in."
    )
    total_reads_per_min_max: int = _per_minute(
        6000, "Reads of all who are signed in; strangers have a fifth."
    )
    total_writes_per_min_max: int = _per_minute(
        600, "Writes of all who are signed in; strangers have a fifth."
    )
    total_bulk_per_min_max: int = _per_minute(30, "Bulk operations of all together.")
    streams_per_user_max: int = whole(
        16,
        unit="streams",
        low=1,
        high=64,
        help="Live pages that a user may have open; of an address for those who are not signed in.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchConfig:
    """Rules and anomalies over the readings as they come."""

    enabled: bool = flag(
        True, help="Off, no rule is evaluated and no anomaly looked for; alarms that are active stay."
    )
    lateness_ms: int = whole(
        1_000,
        unit="ms",
        low=0,
        high=60_000,
        help="How long a reading may be overtaken by later ones of its series; each alarm comes that much later.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class UiConfig:
    """The web pages and the API."""

    bind: Bind = bind("0.0.0.0:8443", help="HTTPS for people and programs.")
    session_hours: int = whole(
        12, unit="h", low=1, high=720, help="How long a sign-in lasts without being used."
    )
