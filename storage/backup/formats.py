"""Versions of what may lie in a data folder beside catalog and log: what this program writes, and so can restore."""

from __future__ import annotations

from typing import Final

from storage.archive import manifest as archive_manifest
from storage.telemetry import snapshot

FORMATS: Final[dict[str, int]] = {
    "artifacts": 1,
    "archive": archive_manifest.FORMAT_VERSION,
    "state": int(snapshot.MAGIC.removeprefix(b"HPSTATE")),
}
"""By name. The catalog's schema and the log's format are asked for where they are defined."""
