"""Files of archived days as blobs: this box's own, which others fetch, and copies of other boxes' days. Blocks; for two threads.

Theory of operation. The catalog's rows say which days there are (appliance/run/day_announcing.py). Of a day that this box is to copy the manifest
is fetched first, and then the files that it names. Copies lie in `day_copies` by their digests. What no row names any more is removed an
hour later: a catalog that is just being put back names little. A box that has no room for all copies has those of the newest days.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import nsmallest
from pathlib import Path
from typing import Final

import msgspec
import structlog

from appliance.core.clock import Clock
from appliance.core.limits import ARCHIVE_MANIFEST_BYTES_MAX
from appliance.core.limits_replication import DAY_HOLDER_COUNT
from appliance.management.fleet import Roster
from replication.blob_work import BlobUnit
from replication.blobs import Written
from storage.archive.layout import MANIFEST_NAME, day_text, generation_folder
from storage.archive.manifest import ArchiveFile, read_files
from storage.artifacts.blob_copies import BlobCopies
from storage.artifacts.space import Room
from storage.catalog.archived_days import ArchivedDay

FOLDER: Final = "day_copies"
UNNAMED_KEPT_MS: Final = 3_600_000
log = structlog.get_logger(__name__)


def day_holders(roster: Roster, origin: str) -> frozenset[str]:
    """The nodes that are to copy a node's archived days: DAY_HOLDER_COUNT of its site, by ids alone, so that all agree. Pure."""
    nodes = [entry for entry in roster.admitted() if entry.role != "cloud"]
    site = next((entry.site_id for entry in nodes if entry.node_id == origin), None)
    mates = [entry.node_id for entry in nodes if entry.site_id == site and entry.node_id != origin]
    rank = {each: hashlib.sha256(f"days {origin} {each}".encode()).digest() for each in mates}
    return (
        frozenset(nsmallest(DAY_HOLDER_COUNT, mates, key=rank.__getitem__))
        if site is not None
        else frozenset()
    )


class DayBlobs:
    """See the module. `look` and `read` are for one thread, `write` for another.

    Args:
        archive: The folder of this box's archive.
        room: What copies may take; its quota and the disk bound them.
        low_percent: Of the disk, from where on copies go.
    """

    def __init__(self, data_dir: Path, archive: Path, room: Room, *, low_percent: int, clock: Clock) -> None:
        self._archive = archive
        self._root = data_dir / FOLDER
        self._data_dir = data_dir
        self._room = room
        self._low_percent = low_percent
        self._clock = clock
        self._copies = BlobCopies(self._root, room)
        self._own: dict[bytes, Path] = {}
        self._manifests: dict[bytes, tuple[ArchiveFile, ...]] = {}
        self._unnamed: dict[bytes, int] = {}
        self.held: dict[bytes, int] = {}
        self.wanted: dict[bytes, int] = {}
        self.begun: dict[bytes, int] = {}
        self.units: tuple[BlobUnit, ...] = ()
        self.copies_bytes = 0
        self.left_out_count = 0

    def look(self, rows: Sequence[ArchivedDay], own_id: str, is_holder: Callable[[str], bool]) -> None:
        """Find what is here and what is lacking: `held`, `wanted`, `begun`, `units` are then as of now.

        Args:
            rows: All of the site, the newest day first.
            is_holder: Whether this box is to copy the days of a node.
        Raises:
            OSError: a folder can't be read.
        """
        known = {bytes.fromhex(row.manifest_sha256) for row in rows}
        for blob in self._manifests.keys() - known:
            del self._manifests[blob]
        own, sizes, units = self._look_own(row for row in rows if row.node_id == own_id)
        copies = self._copies.held()
        chosen = self._that_fit(
            [row for row in rows if row.node_id != own_id and is_holder(row.node_id)], copies
        )
        wanted: dict[bytes, int] = {}
        for row in chosen:
            wanted.update(self._blobs_of(row, copies))
        begun = self._copies.begun()
        self._copies.forget(wanted)
        self._remove(copies, wanted)
        self._own = own
        self.held = {**copies, **sizes}
        self.wanted = {blob: size_bytes for blob, size_bytes in wanted.items() if blob not in copies}
        self.begun = {blob: offset for blob, offset in begun.items() if blob in self.wanted}
        self.units = tuple(units)
        self.copies_bytes = sum(copies.values())

    def read(self, blob: bytes, offset: int, bytes_max: int) -> tuple[bytes | None, int]:
        """Bytes for another box, and the blob's size; None where it isn't here."""
        path = self._own.get(blob)
        if path is None:
            return self._copies.read(blob, offset, bytes_max)
        try:
            with path.open("rb") as file:
                file.seek(offset)
                return file.read(bytes_max), path.stat().st_size
        except OSError:
            return self._copies.read(blob, offset, bytes_max)  # written anew meanwhile

    def write(self, blob: bytes, size_bytes: int, offset: int, data: bytes) -> Written:
        """A piece of a file of another box's day."""
        return self._copies.write(blob, size_bytes, offset, data)

    def _look_own(
        self, rows: Iterable[ArchivedDay]
    ) -> tuple[dict[bytes, Path], dict[bytes, int], list[BlobUnit]]:
        paths: dict[bytes, Path] = {}
        sizes: dict[bytes, int] = {}
        units = []
        for row in rows:
            folder = generation_folder(self._archive, row.day, row.generation)
            manifest = bytes.fromhex(row.manifest_sha256)
            files = self._files(manifest, folder / MANIFEST_NAME, row)
            blobs = {manifest: row.manifest_bytes} | {
                bytes.fromhex(each.sha256): each.bytes for each in files
            }
            named = {manifest: folder / MANIFEST_NAME} | {
                bytes.fromhex(each.sha256): folder / each.name for each in files
            }
            here = {
                blob for blob, path in named.items() if path.is_file() and path.stat().st_size == blobs[blob]
            }
            if manifest not in here:
                continue
            paths.update((blob, named[blob]) for blob in here)
            sizes.update((blob, blobs[blob]) for blob in here)
            units.append(BlobUnit(kind="day", blobs=blobs, since_ms=row.made_at_ms))
        return paths, sizes, units

    def _that_fit(self, rows: Sequence[ArchivedDay], copies: Mapping[bytes, int]) -> list[ArchivedDay]:
        """The newest days for which there is room; those that are here count as room."""
        budget_bytes = self._room.quota_bytes
        space = self._room.space(self._data_dir)
        free_bytes = space.free_bytes - space.total_bytes * (100 - self._low_percent) // 100
        budget_bytes = min(budget_bytes, sum(copies.values()) + free_bytes)
        chosen = []
        for row in rows:
            budget_bytes -= row.total_bytes
            if budget_bytes < 0:
                break
            chosen.append(row)
        self.left_out_count = len(rows) - len(chosen)
        return chosen

    def _blobs_of(self, row: ArchivedDay, copies: Mapping[bytes, int]) -> dict[bytes, int]:
        manifest = bytes.fromhex(row.manifest_sha256)
        if row.manifest_bytes > ARCHIVE_MANIFEST_BYTES_MAX:
            return {}
        found = {manifest: row.manifest_bytes}
        if manifest in copies:
            files = self._files(manifest, self._copies.path(manifest), row)
            found.update((bytes.fromhex(each.sha256), each.bytes) for each in files)
        return found

    def _files(self, manifest: bytes, path: Path, row: ArchivedDay) -> tuple[ArchiveFile, ...]:
        """The files that a manifest names; none while it can't be read, which is said once."""
        found = self._manifests.get(manifest)
        if found is None:
            try:
                data = path.read_bytes()
                if hashlib.sha256(data).digest() != manifest:
                    raise ValueError("it is not what was announced")
                found = read_files(data, row.total_bytes - row.manifest_bytes)
            except FileNotFoundError:
                return ()
            except (msgspec.MsgspecError, ValueError) as error:
                log.error(
                    "an archived day's manifest can't be read",
                    node=row.node_id,
                    day=day_text(row.day),
                    error=str(error),
                )
                found = ()
            self._manifests[manifest] = found
        return found

    def _remove(self, copies: dict[bytes, int], wanted: Mapping[bytes, int]) -> None:
        """Remove what no row has named for an hour; at once where there is no room for it."""
        now_ms = self._clock.mono_ms()
        unnamed = copies.keys() - wanted.keys()
        self._unnamed = {blob: self._unnamed.get(blob, now_ms) for blob in unnamed}
        for blob, since_ms in list(self._unnamed.items()):
            if self.left_out_count or now_ms - since_ms >= UNNAMED_KEPT_MS:
                self._copies.remove(blob)
                del self._unnamed[blob], copies[blob]
