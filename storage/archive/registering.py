"""What the store is told of the archive: a day's generation, and that readings are in the archive alone.

In the writer's thread, each call one transaction. No reading is in both places: files are registered (`archive_files`)
in the transaction that takes their rows out of the day's tables. So a crash leaves a day as it was, or as it is to be.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import duckdb

from storage.archive.layout import day_number, relative_path
from storage.archive.manifest import Manifest, classification
from storage.archive.rows import class_sql, quoted
from storage.archive.taking import Taken, check_unchanged, within
from storage.telemetry.archive_view import create_archive_view
from storage.telemetry.database import archive_folder, run
from storage.telemetry.positions import others_first_seq
from storage.telemetry.removing import (
    drop_day,
    drop_old_rows,
    forget_day,
    has_archived_rollups,
    note_archived,
    remove_series,
)
from storage.telemetry.schema import Value, create_table, create_view, day_table, table_names
from storage.telemetry.store import TelemetryStore

Connection = duckdb.DuckDBPyConnection
_VALUES: Final[tuple[Value, ...]] = ("num", "text")


def register(store: TelemetryStore, taken: Taken, manifest: Manifest) -> None:
    """The generation holds what was taken of a day that stays in the store as a whole.

    Raises:
        Unavailable: `archive_day_changed`; nothing was changed. Otherwise as TelemetryStore.writing.
    """
    is_of_its_tables = not taken.cold and not taken.other
    assert is_of_its_tables, "any other day is cooled"
    with store.writing() as connection:
        check_unchanged(connection, taken)
        _note(connection, taken, manifest)


def cool(
    store: TelemetryStore,
    taken: Taken,
    manifest: Manifest,
    classes: Collection[str] | None = None,
) -> int:
    """Take a day's readings out of the store; from now on the archive's generation is asked for them.

    Args:
        taken: What the generation holds: all that there is.
        classes: The ids of those that go; None for all, which drops the day's tables.
    Returns:
        Readings that left the store.
    Raises:
        As register.
    """
    day = taken.day
    with store.writing() as connection:
        check_unchanged(connection, taken, exactly=True)
        has_rollups = not taken.cold or has_archived_rollups(connection, day)
        _note(connection, taken, manifest)
        _replace_files(connection, manifest, classes)
        if taken.other:
            drop_old_rows(connection, day)
        if classes is None:
            removed = sum(part.rows for part in (*taken.hot, *taken.other))
            # Before the tables go: what hours and days have of the day stays only where it is said that they have all of it.
            note_archived(connection, day, has_rollups=has_rollups)
            drop_day(connection, day)
            run(connection, "DELETE FROM restored WHERE day = ?", [day])
        else:
            series = _series_of(connection, manifest, classes)
            removed = remove_series(connection, day, series, keep_coarse=True)
            run(connection, "UPDATE days SET is_whole = false WHERE day = ?", [day])
            note_archived(connection, day, has_rollups=has_rollups)
        _views(connection, store)
    return removed


def replace_generation(
    store: TelemetryStore, manifest: Manifest, *, before: Manifest, gone: Collection[str] = ()
) -> None:
    """The day's generation is another one, with some rows fewer. What is in the day's tables stays as it is.

    Args:
        before: The generation that it takes the place of. gone: Classes whose files were left out: their rollups go too.
    Raises:
        As TelemetryStore.writing.
    """
    day = day_number(manifest.day)
    with store.writing() as connection:
        found = run(
            connection, "SELECT is_whole FROM days WHERE day = ? AND generation = ?", [day, before.generation]
        )
        if not found:
            return
        run(connection, "UPDATE days SET generation = ? WHERE day = ?", [manifest.generation, day])
        if not found[0][0]:
            has_rollups = has_archived_rollups(connection, day)
            if gone:
                remove_series(connection, day, _series_of(connection, before, gone))
            classes = {c for (c,) in run(connection, "SELECT class FROM archive_files WHERE day = ?", [day])}
            _replace_files(connection, manifest, classes)
            note_archived(connection, day, has_rollups=has_rollups)
            _views(connection, store)


def absorb(store: TelemetryStore, day: int) -> int:
    """Bring a day's rows in the tables that old days share into its own tables: it stays in the store as a whole.

    Returns:
        Readings that were moved; they are rolled up anew with the day's others.
    Raises:
        As TelemetryStore.writing.
    """
    moved = 0
    with store.writing() as connection:
        names, first = set(table_names(connection)), others_first_seq(connection)
        for value in _VALUES:
            table, shared = day_table(day, value), day_table(None, value)
            if not run(connection, f"SELECT 1 FROM {shared} WHERE {within(day)} LIMIT 1"):  # noqa: S608 - made by day_table
                continue
            if table not in names:
                run(connection, create_table(table))
            sql = (
                f"INSERT INTO {table} SELECT * FROM {shared} WHERE {within(day)} ORDER BY series, observed_at"  # noqa: S608
            )
            moved += int(run(connection, sql)[0][0])
        drop_old_rows(connection, day)
        if moved:
            # They may be from before the record that made the day's row; with a generation all of them came after it.
            run(
                connection,
                "UPDATE days SET first_seq = least(first_seq, $seq) WHERE day = $day AND generation IS NULL",
                {"day": day, "seq": first},
            )
        # Hours and days have them from the shared tables: both begin anew with the day's own minutes.
        note_archived(connection, day, has_rollups=False)
        _views(connection, store)
    return moved


def forget(store: TelemetryStore, day: int) -> None:
    """A day is to be nowhere any more: its tables, rollups and registered files, rows among those of other old days too."""
    with store.writing() as connection:
        drop_old_rows(connection, day)
        forget_day(connection, day)
        run(connection, "DELETE FROM restored WHERE day = ?", [day])
        _views(connection, store)


def _note(connection: Connection, taken: Taken, manifest: Manifest) -> None:
    """The day's row. Records after `through` may have readings of it that the generation has not."""
    day = taken.day
    values: dict[str, object] = {
        "day": day,
        "seq": manifest.through.next_seq,
        "generation": manifest.generation,
        "numbers": taken.rows_of(day_table(day)),
        "texts": taken.rows_of(day_table(day, "text")),
    }
    run(
        connection,
        "INSERT INTO days (day, is_whole, first_seq, generation, archived_numbers, archived_texts)"
        " SELECT $day, false, $seq, NULL, 0, 0 WHERE NOT EXISTS (FROM days WHERE day = $day)",
        {"day": day, "seq": manifest.through.next_seq},
    )
    run(
        connection,
        "UPDATE days SET first_seq = $seq, generation = $generation, archived_numbers = $numbers,"
        " archived_texts = $texts WHERE day = $day",
        values,
    )


def _replace_files(connection: Connection, manifest: Manifest, classes: Collection[str] | None) -> None:
    day = day_number(manifest.day)
    run(connection, "DELETE FROM archive_files WHERE day = ?", [day])
    for file in manifest.files:
        if classes is None or file.class_id in classes:
            run(
                connection,
                "INSERT INTO archive_files (day, generation, class, path, rows, first_device, last_device, first_ms, last_ms)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    day,
                    manifest.generation,
                    file.class_id,
                    relative_path(day, manifest.generation, file.name),
                    file.rows,
                    file.first_device,
                    file.last_device,
                    file.first_ms,
                    file.last_ms,
                ],
            )


def _series_of(connection: Connection, manifest: Manifest, classes: Collection[str]) -> list[int]:
    listed = ", ".join(map(quoted, sorted(classes)))
    sql = f"SELECT id FROM series WHERE {class_sql(classification(manifest))} IN ({listed}) ORDER BY id"  # noqa: S608 - quoted
    return [int(row[0]) for row in run(connection, sql)]


def _views(connection: Connection, store: TelemetryStore) -> None:
    create_archive_view(connection, archive_folder(store.path))
    run(connection, create_view(table_names(connection)))
