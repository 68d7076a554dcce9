"""Which images of artifacts this box lacks, from the catalog and the folder: what the replicator fetches of the site's other boxes."""

from __future__ import annotations

from pathlib import Path

from appliance.core.clock import Clock
from appliance.core.config import Config
from appliance.core.limits_replication import BLOB_WANTED_COUNT_MAX
from appliance.run import layout
from appliance.run.artifacts_wiring import room_of
from replication.blobs import Written
from storage.artifacts.blob_copies import BlobCopies
from storage.artifacts.layout import FOLDER
from storage.catalog import Catalog


class ArtifactBlobs:
    """The images of the site. All methods block; for two threads, one that reads and looks, one that writes."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self._catalog_path: Path = layout.catalog(config)
        self._clock = clock
        self._copies = BlobCopies(config.node.data_dir / FOLDER, room_of(config))

    def look(self) -> tuple[dict[bytes, int], dict[bytes, int], dict[bytes, int]]:
        """Sizes of those that are here, of those that should be and aren't, and how much of these was written before.

        Raises:
            StorageError, OSError: the catalog, or a folder, can't be read.
        """
        catalog = Catalog.open_read_only(self._catalog_path, clock=self._clock)
        try:
            named = {bytes.fromhex(each.sha256): each.size_bytes for each in catalog.artifacts()}
        finally:
            catalog.close()
        held = self._copies.held()
        wanted = [(blob, size_bytes) for blob, size_bytes in named.items() if blob not in held]
        self._copies.forget(named)
        return held, dict(wanted[:BLOB_WANTED_COUNT_MAX]), self._copies.begun()

    def read(self, blob: bytes, offset: int, bytes_max: int) -> tuple[bytes | None, int]:
        """Bytes for another box, and the blob's size; None where it isn't here."""
        return self._copies.read(blob, offset, bytes_max)

    def write(self, blob: bytes, size_bytes: int, offset: int, data: bytes) -> Written:
        """A piece of an image of another box."""
        return self._copies.write(blob, size_bytes, offset, data)
