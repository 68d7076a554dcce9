"""Damaged, cut, swapped and missing files of the archive are found and named."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from storage.archive.checking import check_files, check_generation
from storage.archive.export import Exporter
from storage.archive.layout import generation_folder
from storage.archive.manifest import ArchiveDamaged, encode_manifest, read_manifest
from storage.archive.taking import take
from tests.archive_kit import DEFAULT, TODAY, Filled

DAY = TODAY - 3


@dataclass
class Scene:
    filled: Filled
    folder: Path

    def faults(self) -> list[tuple[str, str]]:
        with self.filled.store.reading() as connection:
            found = check_generation(self.filled.root, DAY, 1, connection=connection)
        assert all((fault.day, fault.generation) == (DAY, 1) for fault in found)
        return [(fault.file, fault.problem) for fault in found]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    filled = Filled(tmp_path)
    filled.put(DAY, ("a", "b"))
    exporter = Exporter(filled.root, clock=filled.clock, retention=DEFAULT, rows_max=40)
    with filled.store.reading() as connection:
        taken = take(connection, DAY, with_other=False)
        assert taken is not None
        exporter.export(connection, taken)
    yield Scene(filled, generation_folder(filled.root, DAY, 1))
    filled.store.close()


def test_what_is_as_it_was_written_has_no_faults(scene: Scene) -> None:
    assert scene.faults() == []
    check_files(scene.filled.root, DAY, 1, lambda: None)


def test_one_changed_byte_is_found(scene: Scene) -> None:
    path = scene.folder / "default-001.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert scene.faults() == [("default-001.parquet", "its bytes are others than were written")]
    with pytest.raises(ArchiveDamaged, match="default-001"):
        check_files(scene.filled.root, DAY, 1, lambda: None)


def test_a_file_cut_short_or_gone_is_found(scene: Scene) -> None:
    path = scene.folder / "default-000.parquet"
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-7])
    assert scene.faults() == [
        ("default-000.parquet", f"it has {size - 7} bytes, {size} were written"),
    ]
    path.unlink()
    assert scene.faults() == [("default-000.parquet", "it is missing")]


def test_two_files_in_each_others_place_are_found(scene: Scene) -> None:
    one, two = scene.folder / "default-000.parquet", scene.folder / "default-001.parquet"
    aside = scene.folder / "aside"
    shutil.move(one, aside)
    shutil.move(two, one)
    shutil.move(aside, two)
    assert [name for name, _ in scene.faults()] == [one.name, two.name]


def test_rows_are_compared_with_what_the_manifest_counted(scene: Scene) -> None:
    manifest = read_manifest(scene.folder, DAY, 1)
    path = scene.folder / "manifest.json"
    path.write_bytes(encode_manifest(manifest).replace(manifest.content_sum.encode(), b"1"))
    assert scene.faults() == [("", "its rows are others than were written")]
    path.write_bytes(
        path.read_bytes().replace(b'"rows": 80', b'"rows": 79').replace(b'"rows": 40', b'"rows": 39', 1)
    )
    assert scene.faults() == [("", "it has 80 rows, 79 were written")]


def test_a_manifest_that_is_gone_or_none_is_named(scene: Scene) -> None:
    path = scene.folder / "manifest.json"
    path.write_bytes(b"{}")
    ((name, problem),) = scene.faults()
    assert name == ""
    assert "can't be used" in problem
    path.unlink()
    assert scene.faults() == [("", "the manifest is missing")]
