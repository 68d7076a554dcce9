"""The node tells its site which days it has in its archive, so that other nodes copy their files (appliance/run/blob_wiring.py).

Theory of operation. What the keeper has is compared with the rows that this node wrote, when the keeper's generations changed and from time
to time. A row says the digest of a generation's manifest, read when it is announced. A row goes only when the day's time is over: what
is missing for any other reason (a lost disk, a folder that somebody removed) is what the copies are for.

An archive has a lineage, random and kept in its folder: one that was begun anew after a lost disk has another and writes rows of its own
beside those of before, so that half a day never takes the place of a whole one. Rows of another lineage go when this one has the same
generation again, when the day is over, and when a device was erased since: nobody can take it out of their files.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import structlog
import trio

from appliance.core.clock import Clock
from appliance.core.errors import HomeportError
from appliance.core.limits import ARCHIVE_MANIFEST_BYTES_MAX
from appliance.core.limits_replication import ARCHIVED_DAYS_WRITE_COUNT_MAX
from appliance.management.audit import Act
from appliance.management.retention import Retention, is_expired
from appliance.pipeline.keeper import Keeper
from appliance.pipeline.keeping import is_false_day
from storage.archive.index import Generation
from storage.archive.layout import MANIFEST_NAME, generation_folder
from storage.archive.manifest import ArchiveDamaged, sync_folder
from storage.catalog import AsyncCatalog, Catalog
from storage.catalog.archived_days import LINEAGE_LENGTH, ArchivedDay
from storage.telemetry.batch import DAY_MS

LINEAGE_FILE: Final = "lineage"
LOOK_S: Final = 10
"""How often the keeper's generations are compared with what was announced: a look in memory."""
WHOLE_LOOK_MS: Final = 3_600_000
"""How often the rows themselves are read: days come to an end, and rows of another lineage can be taken over."""
log = structlog.get_logger(__name__)


class _Conditions(Protocol):
    async def retention(self) -> Retention: ...


class DayAnnouncing:
    """See the module. `run` it once."""

    def __init__(
        self,
        node_id: bytes,
        catalog: AsyncCatalog,
        keeper: Keeper,
        conditions: _Conditions,
        *,
        clock: Clock,
    ) -> None:
        self._node_id = node_id
        self._catalog = catalog
        self._keeper = keeper
        self._conditions = conditions
        self._clock = clock
        self._announced: dict[int, int] = {}
        self._whole_at_ms: int | None = None

    async def run(self) -> None:
        """Until cancelled. What fails is tried again at the next look."""
        error_before = ""
        while True:
            try:
                await self.look()
            except (HomeportError, OSError) as error:
                if str(error) != error_before:
                    log.error("archived days were not announced to the site", error=str(error))
                error_before = str(error)
            else:
                error_before = ""
            await trio.sleep(LOOK_S)

    async def look(self) -> bool:
        """Announce what changed. Returns whether rows were compared. Raises HomeportError, OSError: it is due again."""
        if self._keeper.statistics().state == "starting":
            return False
        usable = {
            view.day: self._keeper.steps.newest[view.day]
            for view in self._keeper.days()
            if view.generation is not None and not view.faults
        }
        numbers = {day: each.generation for day, each in usable.items()}
        now_ms = self._clock.mono_ms()
        is_due = self._whole_at_ms is None or now_ms - self._whole_at_ms >= WHOLE_LOOK_MS
        if numbers == self._announced and not is_due:
            return False
        rows, erasures = await self._catalog.read(
            lambda catalog: (catalog.own_archived_days(), catalog.list_erasures(limit=1))
        )
        root = self._keeper.steps.root
        lineage = await trio.to_thread.run_sync(lineage_of, root)
        retention, today = await self._conditions.retention(), self._keeper.believed.look() // DAY_MS

        days = {view.day for view in self._keeper.days()}
        erased_at_ms = erasures[0].requested_at_ms if erasures else 0
        over = {
            row.key
            for row in rows
            if (row.day not in days and is_over(row, today, retention))
            or (row.lineage != lineage and row.made_at_ms < erased_at_ms)
        }
        new, gone = await trio.to_thread.run_sync(
            compare, root, self._node_id.hex(), lineage, usable, rows, over
        )
        for at in range(0, max(len(new), len(gone)), ARCHIVED_DAYS_WRITE_COUNT_MAX):
            part = slice(at, at + ARCHIVED_DAYS_WRITE_COUNT_MAX)
            announce = partial(Catalog.announce_days, days=new[part], gone=gone[part])
            await self._catalog.write(announce, by=Act(action="archive.announce"))
        self._announced, self._whole_at_ms = numbers, now_ms
        return True


def compare(
    root: Path,
    node_id: str,
    lineage: str,
    usable: Mapping[int, Generation],
    rows: Sequence[ArchivedDay],
    over: Collection[str],
) -> tuple[list[ArchivedDay], list[str]]:
    """What is to be announced, and the keys of rows that are to go. Blocks.

    Args:
        usable: The generation of each day that the store knows of and that is not known to be damaged.
        rows: This node's.
        over: Keys of rows whose days are to be nowhere any more, and aren't.
    Raises:
        OSError: a manifest can't be read; one that is gone meanwhile is left out.
    """
    before = {row.day: row for row in rows if row.lineage == lineage}
    new = []
    here = {day: row for day, row in before.items() if day in usable}
    for day, each in usable.items():
        if each.manifest is None or (day in before and before[day].generation == each.generation):
            continue
        data = _read(generation_folder(root, day, each.generation) / MANIFEST_NAME)
        if data is None:
            continue
        here[day] = ArchivedDay(
            node_id=node_id,
            lineage=lineage,
            day=day,
            generation=each.generation,
            manifest_sha256=hashlib.sha256(data).hexdigest(),
            manifest_bytes=len(data),
            total_bytes=len(data) + each.manifest.bytes,
            content=f"{each.manifest.rows} {each.manifest.content_hash} {each.manifest.content_sum}",
            made_at_ms=each.manifest.made_at_ms,
        )
        new.append(here[day])
    gone = []
    for row in rows:
        mine = here.get(row.day)
        is_back = row.lineage != lineage and mine is not None and mine.manifest_sha256 == row.manifest_sha256
        if is_back or row.key in over:
            gone.append(row.key)
    return new, gone


def is_over(row: ArchivedDay, today: int, retention: Retention) -> bool:
    """Whether a day is kept no longer in any class; one that a wrong clock made up goes by when it was archived. Pure.

    Args:
        today: As far as can be believed, days since 1970-01-01 UTC; 0 while nothing can.
    """
    day = row.made_at_ms // DAY_MS if is_false_day(row.day) else row.day
    return not is_false_day(day) and all(is_expired(day, today, each) for each in retention.all())


def lineage_of(root: Path) -> str:
    """The archive's lineage, made where it has none. Blocks.

    Raises:
        ArchiveDamaged: the file says none. OSError: it can't be read or written.
    """
    path = root / LINEAGE_FILE
    if not path.exists():
        fresh = root / f"{LINEAGE_FILE}.new"
        fresh.write_text(secrets.token_hex(LINEAGE_LENGTH // 2))
        fresh.chmod(0o600)
        with fresh.open("rb+") as file:
            os.fsync(file.fileno())
        fresh.rename(path)
        sync_folder(root)
    with path.open("rb") as file:
        found = file.read(LINEAGE_LENGTH + 1)
    if len(found) != LINEAGE_LENGTH or not frozenset(b"0123456789abcdef").issuperset(found):
        raise ArchiveDamaged(
            f"The archive's {path} can't be used.",
            hint="Remove the file and restart Homeport: its days are announced as those of a new archive.",
            code="archive_lineage_invalid",
        )
    return found.decode("ascii")


def _read(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(ARCHIVE_MANIFEST_BYTES_MAX)
    except FileNotFoundError:
        return None
