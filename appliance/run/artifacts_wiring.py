"""The store of artifacts as the configuration wants it, and what works on it."""

from __future__ import annotations

from appliance.core.clock import Clock
from appliance.core.config import Config
from appliance.core.limits import DISK_HYSTERESIS_PERCENT, MIB
from appliance.identity import SiteKeys
from storage.artifacts.space import Room
from storage.artifacts.store import ArtifactStore
from storage.catalog import AsyncCatalog
from ui.artifact_desk import ArtifactDesk


def open_store(config: Config) -> ArtifactStore:
    """Open it. Blocks. Raises StorageError."""
    return ArtifactStore.opened(config.node.data_dir, room_of(config))


def room_of(config: Config) -> Room:
    """What artifacts may take.

    The disk is left to readings from where the broker would begin to refuse them, less the points by which that level is left again.
    """
    return Room(
        size_bytes_max=config.firmware.artifact_max_mib * MIB,
        quota_bytes=config.firmware.artifact_quota_mib * MIB,
        used_percent_max=config.log.disk_hold_percent - DISK_HYSTERESIS_PERCENT,
    )


def open_desk(config: Config, catalog: AsyncCatalog, keys: SiteKeys, clock: Clock) -> ArtifactDesk:
    """The store with what API and pages do with it. Blocks. Raises StorageError."""
    return ArtifactDesk(open_store(config), catalog, keys, clock=clock, data_dir=config.node.data_dir)
