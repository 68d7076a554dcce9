"""Which blobs this box lacks, from the catalog and the folders: images of artifacts, and archived days of the site's other boxes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from appliance.core.clock import Clock
from appliance.core.config import Config
from appliance.core.limits import DISK_HYSTERESIS_PERCENT, MIB
from appliance.core.limits_replication import BLOB_WANTED_COUNT_MAX
from appliance.management.fleet import Roster
from appliance.run import layout
from appliance.run.artifacts_wiring import room_of
from appliance.run.day_blobs import DayBlobs, day_holders
from replication.blob_work import BlobLook, BlobUnit
from replication.blobs import Written
from storage.artifacts.blob_copies import BlobCopies
from storage.artifacts.layout import FOLDER
from storage.artifacts.space import Room
from storage.catalog import Catalog
from storage.catalog.artifacts import Artifact
from storage.telemetry.database import archive_folder


class ArtifactBlobs:
    """The images of the site. All methods block; for two threads, one that reads and looks, one that writes."""

    def __init__(self, data_dir: Path, room: Room) -> None:
        self._copies = BlobCopies(data_dir / FOLDER, room)
        self.wanted: dict[bytes, int] = {}

    def look(self, artifacts: tuple[Artifact, ...]) -> BlobLook:
        """What there is and what should be. Raises OSError: a folder can't be read."""
        named = {bytes.fromhex(each.sha256): each for each in artifacts}
        held = self._copies.held()
        wanted = {blob: each.size_bytes for blob, each in named.items() if blob not in held}
        begun = self._copies.begun()
        self._copies.forget(wanted)
        self.wanted = wanted
        units = tuple(
            BlobUnit(kind="image", blobs={blob: held[blob]}, since_ms=each.created_at_ms)
            for blob, each in named.items()
            if blob in held
        )
        return BlobLook(held=held, wanted=wanted, begun=begun, units=units)

    def read(self, blob: bytes, offset: int, bytes_max: int) -> tuple[bytes | None, int]:
        """Bytes for another box, and the blob's size; None where it isn't here."""
        return self._copies.read(blob, offset, bytes_max)

    def write(self, blob: bytes, size_bytes: int, offset: int, data: bytes) -> Written:
        """A piece of an image of another box."""
        return self._copies.write(blob, size_bytes, offset, data)


class SiteBlobs:
    """Images and archived days, as the replicator sees them. All methods block; for two threads, one that reads and looks, one that writes.

    Args:
        roster: Who belongs to the fleet now.
    """

    def __init__(self, config: Config, node_id: str, roster: Callable[[], Roster], clock: Clock) -> None:
        self._catalog_path: Path = layout.catalog(config)
        self._clock = clock
        self._node_id = node_id
        self._roster = roster
        data_dir = config.node.data_dir
        self._images = ArtifactBlobs(data_dir, room_of(config))
        self._days = DayBlobs(
            data_dir,
            archive_folder(data_dir / "telemetry.duckdb"),
            day_room(config),
            low_percent=config.log.disk_low_percent,
            clock=clock,
        )

    def look(self) -> BlobLook:
        """What there is and what should be, images first.

        Raises:
            StorageError, OSError: the catalog, or a folder, can't be read.
        """
        catalog = Catalog.open_read_only(self._catalog_path, clock=self._clock)
        try:
            artifacts, rows = catalog.artifacts(), catalog.archived_days()
        finally:
            catalog.close()
        own_id, days = self._node_id, self._days
        sites = {each.node_id: each.site_id for each in self._roster().admitted() if each.role != "cloud"}
        images = self._images.look(artifacts)
        holders = {origin: day_holders(sites, origin) for origin in {row.node_id for row in rows}}
        days.look(rows, own_id, lambda origin: own_id in holders[origin])
        wanted = {**days.wanted, **images.wanted}
        first = [*images.wanted, *(blob for blob in days.wanted if blob not in images.wanted)]
        return replace(
            images,
            held={**days.held, **images.held},
            wanted={blob: wanted[blob] for blob in first[:BLOB_WANTED_COUNT_MAX]},
            begun={**days.begun, **images.begun},
            units=images.units + days.units,
            lacking={"image": len(images.wanted), "day": len(days.wanted)},
            copies_bytes=days.copies_bytes,
            left_out_count=days.left_out_count,
        )

    def read(self, blob: bytes, offset: int, bytes_max: int) -> tuple[bytes | None, int]:
        """Bytes for another box, and the blob's size; None where it isn't here."""
        data, size_bytes = self._images.read(blob, offset, bytes_max)
        return (data, size_bytes) if data is not None else self._days.read(blob, offset, bytes_max)

    def write(self, blob: bytes, size_bytes: int, offset: int, data: bytes) -> Written:
        """A piece of an image, or of a day, of another box."""
        if blob in self._images.wanted:
            return self._images.write(blob, size_bytes, offset, data)
        if blob in self._days.wanted:
            return self._days.write(blob, size_bytes, offset, data)
        return "failed"  # wanted no longer


def day_room(config: Config) -> Room:
    """What copies of other boxes' days may take."""
    quota_bytes = config.replication.day_copies_mib * MIB
    return Room(
        size_bytes_max=quota_bytes,
        quota_bytes=quota_bytes,
        used_percent_max=config.log.disk_hold_percent - DISK_HYSTERESIS_PERCENT,
    )
