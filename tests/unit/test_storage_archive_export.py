"""A day as Parquet: sorted, complete, verified, published last."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core.errors import Unavailable
from appliance.management.retention import Retention, RetentionClass, default_class
from storage.archive import export as module
from storage.archive.export import Exporter, Progress
from storage.archive.index import rubbish
from storage.archive.layout import generation_folder
from storage.archive.manifest import ArchiveDamaged, Manifest, read_manifest
from storage.archive.rows import COLUMNS
from storage.archive.taking import take
from storage.telemetry.letters import ReplayPart, note_part
from tests.archive_kit import DEFAULT, TODAY, Filled, rows_of

DAY = TODAY - 3


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[Filled]:
    made = Filled(tmp_path)
    yield made
    made.store.close()


def export(filled: Filled, day: int = DAY, retention: Retention = DEFAULT, **options: object) -> Manifest:
    exporter = Exporter(filled.root, clock=filled.clock, retention=retention, **options)  # type: ignore[arg-type]
    with filled.store.reading() as connection:
        taken = take(connection, day, with_other=False)
        assert taken is not None
        return exporter.export(connection, taken)


def test_a_generation_has_every_row_of_the_day_in_order(filled: Filled) -> None:
    filled.put(DAY, ("b", "a"))
    filled.put(DAY, ("a",), first=20, text=False)
    filled.put(DAY + 1)
    manifest = export(filled)
    expected = [row for row in filled.view() if int(str(row[3])) // 86_400_000 == DAY]
    rows = rows_of(filled.root, DAY, manifest)
    assert sorted(rows, key=str) == sorted(expected, key=str)
    assert rows == sorted(rows, key=lambda row: (row[0], row[1], row[3]))
    assert (manifest.rows, manifest.generation, manifest.day) == (110, 1, "2026-02-22")
    assert manifest.through.next_seq == filled.store.read_cursor().next_seq
    folder = generation_folder(filled.root, DAY, 1)
    assert read_manifest(folder, DAY, 1) == manifest
    assert sorted(path.name for path in folder.iterdir()) == ["default-000.parquet", "manifest.json"]


def test_a_large_file_is_sorted_across_its_row_groups(
    filled: Filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ARCHIVE_ROW_GROUP_ROW_COUNT", 2048)
    for first in range(0, 20_000, 5_000):
        filled.put(DAY, ("b", "a"), first=first, count=5_000, text=False)
    rows = rows_of(filled.root, DAY, export(filled))
    assert len(rows) == 120_000
    assert rows == sorted(rows, key=lambda row: (row[0], row[1], row[3]))


def test_files_are_cut_between_devices_and_by_class(filled: Filled) -> None:
    filled.put(DAY, ("a", "b", "c", "d"))
    classes = (RetentionClass(class_id="vib", metric="vib_*", hot_days=5, archive_days=9),)
    progress: list[Progress] = []
    manifest = export(
        filled, retention=Retention(classes, default_class(90, 730)), rows_max=65, on_progress=progress.append
    )
    cut = [(f.name, f.class_id, f.rows, f.first_device, f.last_device) for f in manifest.files]
    assert cut == [
        ("default-000.parquet", "default", 60, "a", "b"),
        ("default-001.parquet", "default", 60, "c", "d"),
        ("vib-000.parquet", "vib", 40, "a", "d"),
    ]
    assert manifest.classes == (("vib", "vib_*"),)
    assert {row[1] for row in rows_of(filled.root, DAY, manifest)[120:]} == {"vib_x"}
    assert progress == [Progress(n, 3) for n in range(3)]


def test_one_device_with_more_than_a_file_may_have_is_one_file(filled: Filled) -> None:
    filled.put(DAY, ("a", "b"))
    manifest = export(filled, rows_max=7)
    assert [(f.first_device, f.rows) for f in manifest.files] == [("a", 40), ("b", 40)]


def test_a_day_without_readings_is_a_generation_without_files(filled: Filled) -> None:
    manifest = export(filled)
    assert (manifest.rows, manifest.files) == (0, ())


def test_what_does_not_read_back_is_not_published(filled: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    filled.put(DAY)
    monkeypatch.setattr(module, "COLUMNS", COLUMNS.replace("num,", "num + 1 AS num,"))
    with pytest.raises(ArchiveDamaged) as damaged:
        export(filled)
    assert "does not read back" in damaged.value.message
    assert rubbish(filled.root) == [generation_folder(filled.root, DAY, 1)]


def test_it_stops_between_files_and_begins_anew_over_what_was_left(filled: Filled) -> None:
    filled.put(DAY, ("a", "b", "c"))
    answers = iter([False, False, True])
    with pytest.raises(Unavailable) as stopped:
        export(filled, rows_max=45, stop=lambda: next(answers))
    assert stopped.value.code == "archive_stopped"
    assert rubbish(filled.root)
    assert export(filled).rows == 120
    assert rubbish(filled.root) == []


def test_rows_that_come_while_it_runs_wait_for_the_next_generation(filled: Filled) -> None:
    filled.put(DAY, ("a",))
    late = iter([lambda: filled.put(DAY, ("a", "z"), first=50)])
    manifest = export(filled, on_progress=lambda _: next(late)())
    assert manifest.rows == 40
    assert manifest.through.next_seq < filled.store.read_cursor().next_seq


def test_a_table_that_is_rewritten_meanwhile_ends_it(filled: Filled) -> None:
    filled.put(DAY, ("a",))

    def rewrite(_: Progress) -> None:
        with filled.store.writing() as connection:
            for sql in (
                "CREATE TABLE copy AS FROM readings_20260222",
                "DROP TABLE readings_20260222",
                "ALTER TABLE copy RENAME TO readings_20260222",
            ):
                connection.execute(sql).fetchall()

    with pytest.raises(Unavailable) as changed:
        export(filled, on_progress=rewrite)
    assert changed.value.code == "archive_day_changed"


def test_nothing_is_taken_while_a_backlog_is_left(filled: Filled) -> None:
    filled.put(DAY)
    with filled.store.writing() as connection:
        connection.execute("INSERT INTO backlog VALUES (1, 1, 5, ''::BLOB)").fetchall()
    with filled.store.reading() as connection:
        assert take(connection, DAY, with_other=False) is None


def test_nothing_is_taken_where_a_replay_stored_readings(filled: Filled) -> None:
    filled.put(DAY)
    at = filled.store.read_cursor()
    part = ReplayPart(
        replay_id="r", number=1, epoch=at.epoch, at_seq=at.next_seq, after=(-1, 0), through=(1, 1), messages=1
    )
    with filled.store.transaction() as connection:
        note_part(connection, part)
    with filled.store.reading() as connection:
        # A rebuild reads them again at this position: a generation of it would have them too.
        assert take(connection, DAY, with_other=False) is None
    filled.put(DAY, first=50, count=1)
    with filled.store.reading() as connection:
        assert take(connection, DAY, with_other=False) is not None


def test_a_generation_that_cannot_be_read_any_more_is_not_written_over(filled: Filled) -> None:
    filled.put(DAY)
    folder = generation_folder(filled.root, DAY, 1)
    export(filled)
    manifest = folder / "manifest.json"
    manifest.write_bytes(b"{" + manifest.read_bytes())
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    # As after a rebuild: the store knows of no generation, and has late readings of the day.
    assert export(filled).generation == 2
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    manifest.unlink()
    assert export(filled).generation == 1
