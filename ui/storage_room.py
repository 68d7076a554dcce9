"""How much may still be written to the data folder's disk, for how long it lasts."""

from __future__ import annotations

import shutil

import trio

from ui.services import Services


async def disk_room_bytes(services: Services) -> int:
    """Free below the level at which devices' readings are not taken any more (`log.disk_hold_percent`)."""
    usage = await trio.to_thread.run_sync(shutil.disk_usage, services.config.node.data_dir)
    used_max = usage.total * services.config.log.disk_hold_percent // 100
    return max(0, used_max - usage.used)
