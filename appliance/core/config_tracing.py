"""The section of the configuration about tracing: what is sampled, and where spans go.

config.py says how it is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from appliance.core.settings import file_or_off, ratio, text, whole


@dataclass(frozen=True, slots=True, kw_only=True)
class TracingConfig:
    """Where a reading spends its time (docs/TRACING.md)."""

    sample_ratio: float = ratio(
        0.001,
        help="Share of messages and requests that is traced although nobody asked for it.",
    )
    per_second_max: int = whole(
        100,
        unit="traces/s",
        low=0,
        high=10_000,
        help="So many traces that devices ask for (traceparent), as many of the sampled share, and as many of requests; 0 is no tracing.",
    )
    otlp_endpoint: str = text(
        "",
        high=2000,
        pattern=(
            r"(https?://[!-~]+)?",
            "empty, or a URL that begins with http:// or https://",
        ),
        help="Where spans are sent by OTLP over HTTP, as JSON: the whole URL, with /v1/traces; empty keeps them here only.",
    )
    otlp_headers_file: Path | None = file_or_off(
        "off",
        high=4000,
        help='A file with headers for it, one "Name: value" a line, as a collector\'s token; only its owner may read it.',
    )
