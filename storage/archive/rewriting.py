"""A generation made of the one before it: files left out, or one device's rows taken out of them.

Files that stay are linked, not copied: the same bytes under two generations until the older one is removed. Blocks;
see export.py. A generation that was begun and not published is rubbish.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from pathlib import Path

import duckdb

from appliance.core.clock import Clock
from storage.archive.checking import check_files
from storage.archive.export import Exporter
from storage.archive.index import next_generation
from storage.archive.layout import day_number, generation_folder
from storage.archive.manifest import ArchiveFile, Manifest, classification
from storage.archive.rows import COLUMNS, ROW_HASH, parquet, quoted
from storage.archive.taking import FilePlan
from storage.telemetry.database import run

Connection = duckdb.DuckDBPyConnection


class Rewriter:
    """Makes generations of generations below one folder. Arguments as Exporter's."""

    def __init__(self, root: Path, *, clock: Clock, stop: Callable[[], bool] = lambda: False) -> None:
        self._root = root
        self._clock = clock
        self._stop = stop

    def without_classes(
        self, connection: Connection, manifest: Manifest, classes: Collection[str]
    ) -> Manifest:
        """Publish the next generation without the files of these classes (their time is over).

        Raises:
            ArchiveDamaged: a file of the generation is not what was written. OSError, duckdb.Error, Unavailable: as export.
        """
        kept = [file for file in manifest.files if file.class_id not in classes]
        return self._next(connection, manifest, kept, {})

    def without_device(
        self, connection: Connection, manifest: Manifest, device: str
    ) -> tuple[Manifest, dict[str, int]]:
        """Publish the next generation without a device's rows.

        Returns:
            The generation, and how many rows went, by class. With none, the generation that there was: nothing was written.
        Raises:
            As without_classes.
        """
        day = day_number(manifest.day)
        folder = generation_folder(self._root, day, manifest.generation)
        rewritten: dict[str, FilePlan | None] = {}
        removed: dict[str, int] = {}
        files = [file for file in manifest.files if file.first_device <= device <= file.last_device]
        if files:
            check_files(self._root, day, manifest.generation, lambda: None)
        for file in files:
            source = parquet([folder / file.name])
            count = int(
                run(connection, f"SELECT count(*) FROM ({source}) WHERE device = {quoted(device)}")[0][0]  # noqa: S608
            )
            if count:
                removed[file.class_id] = removed.get(file.class_id, 0) + count
                rewritten[file.name] = self._plan(connection, source, file, device)
        if not removed:
            return manifest, {}
        return self._next(connection, manifest, list(manifest.files), rewritten, device), removed

    def _plan(self, connection: Connection, source: str, file: ArchiveFile, device: str) -> FilePlan | None:
        """What is to be in a file without the device; None for nothing."""
        rows, content_sum, first, last, first_ms, last_ms = run(
            connection,
            f"SELECT count(*), coalesce(sum({ROW_HASH}), 0), min(device), max(device), min(observed_at), max(observed_at)"  # noqa: S608
            f" FROM ({source}) WHERE device <> {quoted(device)}",
        )[0]
        if not rows:
            return None
        return FilePlan(file.class_id, first, last, rows, content_sum, first_ms, last_ms)

    def _next(
        self,
        connection: Connection,
        manifest: Manifest,
        kept: list[ArchiveFile],
        rewritten: dict[str, FilePlan | None],
        device: str = "",
    ) -> Manifest:
        day, before = day_number(manifest.day), manifest.generation
        exporter = Exporter(
            self._root, clock=self._clock, retention=classification(manifest), stop=self._stop
        )
        # What is damaged must not get a new manifest that says it is well.
        check_files(self._root, day, before, exporter.check_stop)
        old = generation_folder(self._root, day, before)
        generation = next_generation(self._root, day, before)
        folder = exporter.begin(day, generation)
        files: list[ArchiveFile] = []
        for file in kept:
            exporter.check_stop()
            if file.name not in rewritten:
                os.link(old / file.name, folder / file.name)
                files.append(file)
                continue
            plan = rewritten[file.name]
            if plan is not None:
                select = (
                    f"SELECT {COLUMNS} FROM ({parquet([old / file.name])}) WHERE device <> {quoted(device)}"  # noqa: S608
                )
                files.append(exporter.write(connection, folder / file.name, select, plan))
        return exporter.finish(
            folder,
            day=day,
            generation=generation,
            through=manifest.through,
            files=files,
            content_sum=self._content_sum(connection, folder, files),
        )

    def _content_sum(self, connection: Connection, folder: Path, files: list[ArchiveFile]) -> int:
        if not files:
            return 0
        source = parquet([folder / file.name for file in files])
        return int(run(connection, f"SELECT sum({ROW_HASH}) FROM ({source})")[0][0])  # noqa: S608
