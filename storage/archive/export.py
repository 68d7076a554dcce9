"""A day's next generation: its files written, read back, compared, and published.

Theory of operation. What is taken is fixed at one moment by rowids, so that readings that arrive meanwhile wait for the next
generation. One pass over it counts and sums each device's rows; then a file at a time is written, synced, read back and
compared with that. The manifest is published last. Nothing of it changes the store: registering.py does.

Blocks, for minutes with a large day: it belongs in a thread of its own, of low priority. `stop` is looked at between files and
while a file is hashed; DuckDB's own work ends by interrupting the connection.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import duckdb

from appliance.core.clock import Clock
from appliance.core.errors import Unavailable
from appliance.core.limits import ARCHIVE_READ_BYTES, ARCHIVE_ROW_GROUP_ROW_COUNT
from appliance.management.retention import Retention
from storage.archive.index import next_generation
from storage.archive.layout import day_text, file_name, generation_folder
from storage.archive.manifest import (
    FORMAT_VERSION,
    ArchiveDamaged,
    ArchiveFile,
    Manifest,
    Position,
    publish,
)
from storage.archive.rows import COLUMNS, CONTENT_HASH, ROW_HASH, class_sql, parquet, quoted
from storage.archive.taking import (
    FilePlan,
    Taken,
    check_taken,
    check_unchanged,
    groups_of,
    plan_files,
    source_sql,
)
from storage.telemetry.database import run

Connection = duckdb.DuckDBPyConnection


@dataclass(frozen=True, slots=True)
class Progress:
    """Files done of how many."""

    done: int
    count: int


class Exporter:
    """Writes generations below one folder.

    Args:
        root: The archive's folder. retention: By which metrics are put into files. stop: Whether to give up: a generation that was begun is left as rubbish.
        rows_max: Of a file, unless one device has more.
    """

    def __init__(
        self,
        root: Path,
        *,
        clock: Clock,
        retention: Retention,
        stop: Callable[[], bool] = lambda: False,
        on_progress: Callable[[Progress], None] = lambda _: None,
        rows_max: int | None = None,
    ) -> None:
        self._root = root
        self._clock = clock
        self._retention = retention
        self._stop = stop
        self._on_progress = on_progress
        self._rows_max = rows_max

    def export(self, connection: Connection, taken: Taken) -> Manifest:
        """Write and publish the generation after `taken.before`.

        Args:
            connection: A reader's, on which nothing else runs.
        Raises:
            ArchiveDamaged: what was written does not read back as it was; nothing was published.
            StorageError: `archive_uneven`. Unavailable: `archive_stopped`. OSError, duckdb.Error: disk or store failed.
        """
        generation = next_generation(self._root, taken.day, taken.before)
        source = source_sql(taken, self._root)
        groups = groups_of(connection, source, self._retention) if source else []
        plans = plan_files(groups) if self._rows_max is None else plan_files(groups, self._rows_max)
        # Not a defect when readings came or went meanwhile: that is another error.
        check_unchanged(connection, taken)
        check_taken(taken, plans)
        folder = self.begin(taken.day, generation)
        files: list[ArchiveFile] = []
        for number, plan in enumerate(plans):
            self.check_stop()
            check_unchanged(connection, taken)
            self._on_progress(Progress(number, len(plans)))
            where = (
                f"{class_sql(self._retention)} = {quoted(plan.class_id)}"
                f" AND device BETWEEN {quoted(plan.first_device)} AND {quoted(plan.last_device)}"
            )
            of_class = sum(file.class_id == plan.class_id for file in files)
            path = folder / file_name(plan.class_id, of_class)
            try:
                files.append(
                    self.write(connection, path, f"SELECT {COLUMNS} FROM ({source}) WHERE {where}", plan)  # noqa: S608
                )
            except ArchiveDamaged:
                # Not the disk's fault when readings came or went meanwhile: that is another error.
                check_unchanged(connection, taken)
                raise
        check_unchanged(connection, taken)
        return self.finish(
            folder,
            day=taken.day,
            generation=generation,
            through=taken.through,
            files=files,
            content_sum=sum(plan.content_sum for plan in plans),
        )

    def begin(self, day: int, generation: int) -> Path:
        """An empty folder for a generation; what a crash left there goes."""
        folder = generation_folder(self._root, day, generation)
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        return folder

    def write(self, connection: Connection, path: Path, select: str, plan: FilePlan) -> ArchiveFile:
        """Write one file, sorted, and read it back.

        Raises:
            ArchiveDamaged: what is read is not what the plan says.
        """
        run(
            connection,
            f"COPY ({select} ORDER BY device, metric, observed_at) TO {quoted(str(path))}"
            f" (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {ARCHIVE_ROW_GROUP_ROW_COUNT})",
        )
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        found = run(
            connection,
            f"SELECT count(*), coalesce(sum({ROW_HASH}), 0), min(device), max(device), min(observed_at), max(observed_at)"  # noqa: S608
            f" FROM ({parquet([path])})",
        )[0]
        expected = (
            plan.rows,
            plan.content_sum,
            plan.first_device,
            plan.last_device,
            plan.first_ms,
            plan.last_ms,
        )
        if found != expected:
            raise ArchiveDamaged(
                f"{path.name} of {path.parent.parent.name} does not read back as it was written.",
                hint="Look at the disk's health: the day stays in the store and is tried again.",
            )
        return ArchiveFile(
            name=path.name,
            class_id=plan.class_id,
            rows=plan.rows,
            bytes=path.stat().st_size,
            sha256=hash_of(path, self.check_stop),
            first_device=plan.first_device,
            last_device=plan.last_device,
            first_ms=plan.first_ms,
            last_ms=plan.last_ms,
        )

    def finish(
        self,
        folder: Path,
        *,
        day: int,
        generation: int,
        through: Position,
        files: list[ArchiveFile],
        content_sum: int,
    ) -> Manifest:
        """Publish what was written."""
        manifest = Manifest(
            format_version=FORMAT_VERSION,
            day=day_text(day),
            generation=generation,
            through=through,
            made_at_ms=self._clock.now_ms(),
            classes=tuple((each.class_id, each.metric) for each in self._retention.classes),
            rows=sum(file.rows for file in files),
            bytes=sum(file.bytes for file in files),
            content_sum=str(content_sum),
            content_hash=CONTENT_HASH,
            files=tuple(files),
        )
        publish(folder, manifest)
        return manifest

    def check_stop(self) -> None:
        """Give up when told to. Raises Unavailable: `archive_stopped`."""
        if self._stop():
            raise Unavailable(
                "The archive's work was stopped.", hint="It goes on by itself.", code="archive_stopped"
            )


def hash_of(path: Path, check_stop: Callable[[], None]) -> str:
    """SHA-256 of a file, hexadecimal. Raises OSError, and what check_stop raises."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while piece := file.read(ARCHIVE_READ_BYTES):
            digest.update(piece)
            check_stop()
    return digest.hexdigest()
