"""Files of archived days as blobs: this box's own, which others fetch, and copies of other boxes' days. Blocks; for two threads.

Theory of operation. The catalog's rows say which days there are (appliance/run/day_announcing.py). Of a day that this box is to copy the manifest
is fetched first, and then the files that it names. A day of which this box has the same readings in its own archive isn't copied: all boxes of
a site make the same days of the same logs, and copies are for those that joined later or lost a disk. Copies lie in `day_copies` by their digests. What no row names any more is removed an
hour later: a catalog that is just being put back names little. A box that has no room for all copies has those of the newest days.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from heapq import nsmallest
from pathlib import Path
from typing import Final

import msgspec
import structlog

from appliance.core.clock import Clock
from appliance.core.limits import ARCHIVE_MANIFEST_BYTES_MAX
from appliance.core.limits_replication import DAY_HOLDER_COUNT
from replication.blob_work import BlobUnit
from replication.blobs import Written
from storage.archive.layout import MANIFEST_NAME, day_text, generation_folder
from storage.archive.manifest import ArchiveFile, read_files
from storage.artifacts.blob_copies import BlobCopies
from storage.artifacts.space import Room
from storage.catalog.archived_days import ArchivedDay

FOLDER: Final = "day_copies"
UNNAMED_KEPT_MS: Final = 3_600_000
_Own = tuple[dict[bytes, Path], dict[bytes, int], list[BlobUnit], set[tuple[int, str]]]
log = structlog.get_logger(__name__)


def day_holders(sites: Mapping[str, str], origin: str) -> frozenset[str]:
    """The nodes that are to copy a node's archived days: DAY_HOLDER_COUNT of its site, by ids alone, so that all agree. Pure.

    Args:
        sites: Of each node that belongs to the fleet and may keep copies, its site.
    """
    mates = [node for node, site in sites.items() if site == sites.get(origin) and node != origin]
    rank = {each: hashlib.sha256(f"days {origin} {each}".encode()).digest() for each in mates}
    return frozenset(nsmallest(DAY_HOLDER_COUNT, mates, key=rank.__getitem__))


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
        self._unreadable: set[bytes] = set()
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
        self._unreadable &= known
        own, sizes, units, made = self._look_own(rows, own_id)
        copies = self._copies.held()
        to_copy = [
            row
            for row in rows
            if row.node_id != own_id and is_holder(row.node_id) and (row.day, row.content) not in made
        ]
        chosen = self._that_fit(to_copy, copies)
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

    def _look_own(self, rows: Sequence[ArchivedDay], own_id: str) -> _Own:
        """What of this box's days is whole here; what isn't is nothing that others could have."""
        same: dict[tuple[int, str], dict[bytes, int]] = {}
        for row in rows:
            if row.node_id != own_id:
                theirs = same.setdefault((row.day, row.content), {})
                theirs[bytes.fromhex(row.manifest_sha256)] = row.manifest_bytes
        paths: dict[bytes, Path] = {}
        sizes: dict[bytes, int] = {}
        units: list[BlobUnit] = []
        made: set[tuple[int, str]] = set()
        for row in rows:
            if row.node_id != own_id:
                continue
            folder = generation_folder(self._archive, row.day, row.generation)
            manifest = bytes.fromhex(row.manifest_sha256)
            files = self._files(manifest, folder / MANIFEST_NAME, row)
            if files is None:
                continue
            named = {manifest: (folder / MANIFEST_NAME, row.manifest_bytes)}
            named |= {bytes.fromhex(each.sha256): (folder / each.name, each.bytes) for each in files}
            if not all(_is_there(*each) for each in named.values()):
                continue
            blobs = {blob: size_bytes for blob, (_, size_bytes) in named.items()}
            paths |= {blob: path for blob, (path, _) in named.items()}
            sizes |= blobs
            made.add((row.day, row.content))
            instead = same.get((row.day, row.content), {})
            units.append(BlobUnit(kind="day", blobs=blobs, since_ms=row.made_at_ms, instead=instead))
        return paths, sizes, units, made

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
            found.update((bytes.fromhex(each.sha256), each.bytes) for each in files or ())
        return found

    def _files(self, manifest: bytes, path: Path, row: ArchivedDay) -> tuple[ArchiveFile, ...] | None:
        """The files that a manifest names; None while it isn't there or can't be read, which is said once."""
        found = self._manifests.get(manifest)
        if found is not None:
            return found
        try:
            data = path.read_bytes()
            if hashlib.sha256(data).digest() != manifest:
                raise ValueError("it is not what was announced")
            found = read_files(data, row.total_bytes - row.manifest_bytes)
        except FileNotFoundError:
            return None
        except (msgspec.MsgspecError, ValueError) as error:
            if manifest not in self._unreadable:
                log.error(
                    "an archived day's manifest can't be used",
                    node=row.node_id,
                    day=day_text(row.day),
                    error=str(error),
                )
                self._unreadable.add(manifest)
            return None
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


def _is_there(path: Path, size_bytes: int) -> bool:
    try:
        return path.stat(follow_symlinks=False).st_size == size_bytes
    except FileNotFoundError:
        return False
