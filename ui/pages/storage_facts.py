"""The data folder's disk and what was measured on this box: bytes of a message in the log, of a row in the store."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import trio

from ui.pages.storage_estimate import Disk
from ui.services import Services

MESSAGE_COUNT_MIN: Final = 1_000
"""Fewer say more about the first blocks than about what is to come."""
ROW_COUNT_MIN: Final = 100_000
"""A small DuckDB file is mostly empty blocks of 256 KiB."""
STORE_FILE: Final = "telemetry.duckdb"


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageFacts:
    """Measured values are None where there is too little to measure."""

    folder: str
    mount: str
    disk: Disk
    store_bytes: int
    messages_in_log: int
    rows_in_store: int
    log_bytes_per_message: float | None
    bytes_per_row: float | None


async def storage_facts(services: Services) -> StorageFacts:
    """Ask disk, broker and pipeline. The broker may be away; then nothing is known of the log."""
    config = services.config
    folder = config.node.data_dir
    free_bytes, total_bytes, mount, store_bytes = await trio.to_thread.run_sync(_look, folder)
    log = _map(services.broker.statistics if services.broker.connected else {}, "log")
    house = _map(log, "housekeeping")
    log_bytes = _count(house, "log_bytes")
    head = await trio.to_thread.run_sync(services.log_head)
    # Segments are made at their full size before they are written, so what is written counts here.
    written_bytes = _count(log, "sealed_bytes") + head.offset
    messages = max(0, head.next_seq - max(1, _count(house, "first_seq"))) if house else 0
    rows = services.pipeline.statistics().rows_total
    return StorageFacts(
        folder=str(folder),
        mount=mount,
        disk=Disk(
            total_bytes=total_bytes,
            free_bytes=free_bytes,
            log_bytes=log_bytes,
            keep_percent=config.log.keep_percent,
            hold_percent=config.log.disk_hold_percent,
        ),
        store_bytes=store_bytes,
        messages_in_log=messages,
        rows_in_store=rows,
        log_bytes_per_message=written_bytes / messages if messages >= MESSAGE_COUNT_MIN else None,
        bytes_per_row=store_bytes / rows if rows >= ROW_COUNT_MIN and store_bytes else None,
    )


def _look(folder: Path) -> tuple[int, int, str, int]:
    usage = shutil.disk_usage(folder)
    mount = folder.absolute()
    while not os.path.ismount(mount):
        mount = mount.parent
    store_bytes = sum(path.stat().st_size for path in folder.glob(f"{STORE_FILE}*"))
    return usage.free, usage.total, str(mount), store_bytes


def _map(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = values.get(name)
    return value if isinstance(value, Mapping) else {}


def _count(values: Mapping[str, Any], name: str) -> int:
    value = values.get(name)
    return value if isinstance(value, int) else 0
