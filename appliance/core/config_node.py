"""The sections of the configuration that the node process reads: devices, mappings, store, pages.

config.py says how they are loaded and which others there are.
"""

from __future__ import annotations

from dataclasses import dataclass

from appliance.core.settings import Bind, bind, choice, text, whole


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
        ("json", "text"),
        help="How the payload reads: JSON as in docs/READINGS.md, or one plain value as text.",
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


@dataclass(frozen=True, slots=True, kw_only=True)
class UiConfig:
    """The web pages and the API."""

    bind: Bind = bind("0.0.0.0:8443", help="HTTPS for people and programs.")
    session_hours: int = whole(
        12, unit="h", low=1, high=720, help="How long a sign-in lasts without being used."
    )
