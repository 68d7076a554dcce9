"""What was known to be safe elsewhere when the replicator last wrote it down, as `data_dir/fleet/safe.json`.

It may be lost: then the age of what isn't safe is only known from the newest record on. So it is replaced, and not synced.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

from appliance.core.errors import StorageError
from storage.fleet.roster_file import fleet_folder

SAFE: Final = "safe.json"
SAFE_BYTES_MAX: Final = 1024 * 1024


def read_safe(data_dir: Path) -> bytes | None:
    """The file's bytes; None where there is none, or none that can be read."""
    try:
        with (fleet_folder(data_dir) / SAFE).open("rb") as file:
            return file.read(SAFE_BYTES_MAX)
    except OSError:
        return None


def read_unsafe_from(data_dir: Path, stream: str) -> int | None:
    """The first sequence of an own stream that wasn't safe elsewhere some seconds ago.

    Returns:
        None where nobody copies it.
    Raises:
        StorageError: the file is not what the replicator writes.
        OSError: it can't be read.
    """
    try:
        with (fleet_folder(data_dir) / SAFE).open("rb") as file:
            data = file.read(SAFE_BYTES_MAX)
    except FileNotFoundError:
        return None
    try:
        found = json.loads(data).get("unsafe_from", {}).get(stream)
    except (ValueError, AttributeError, RecursionError):
        found = ""
    if found is None or isinstance(found, int):
        return found
    raise StorageError(
        f"{fleet_folder(data_dir) / SAFE} is damaged.",
        hint="Remove it: the replicator writes it anew within seconds.",
    )


def write_safe(data_dir: Path, data: bytes) -> None:
    """Puts other bytes in its place.

    Raises:
        OSError: it can't be written.
    """
    path = fleet_folder(data_dir) / SAFE
    beside = path.with_name(f".{SAFE}.new")
    beside.write_bytes(data)
    os.replace(beside, path)
