"""A device's rows leave the files that it is in; the others stay, as the same bytes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.archive.checking import check_generation
from storage.archive.export import Exporter
from storage.archive.layout import generation_folder
from storage.archive.manifest import ArchiveDamaged, Manifest
from storage.archive.rewriting import Rewriter
from storage.archive.taking import take
from tests.archive_kit import DEFAULT, TODAY, Filled, rows_of

DAY = TODAY - 3


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[Filled]:
    made = Filled(tmp_path)
    made.put(DAY, ("a", "b", "c", "it's"))
    yield made
    made.store.close()


@pytest.fixture
def manifest(filled: Filled) -> Manifest:
    with filled.store.reading() as connection:
        taken = take(connection, DAY, with_other=False)
        assert taken is not None
        return Exporter(filled.root, clock=filled.clock, retention=DEFAULT, rows_max=80).export(
            connection, taken
        )


def without(filled: Filled, manifest: Manifest, device: str) -> tuple[Manifest, dict[str, int]]:
    with filled.store.reading() as connection:
        return Rewriter(filled.root, clock=filled.clock).without_device(connection, manifest, device)


def test_only_the_files_with_the_device_are_written_anew(filled: Filled, manifest: Manifest) -> None:
    after, removed = without(filled, manifest, "it's")
    assert (removed, after.rows, after.generation, after.through) == (
        {"default": 40},
        120,
        2,
        manifest.through,
    )
    assert {row[0] for row in rows_of(filled.root, DAY, after)} == {"a", "b", "c"}
    old, new = (generation_folder(filled.root, DAY, n) for n in (1, 2))
    assert (new / "default-000.parquet").samefile(old / "default-000.parquet")
    assert not (new / "default-001.parquet").samefile(old / "default-001.parquet")
    with filled.store.reading() as connection:
        assert check_generation(filled.root, DAY, 2, connection=connection) == []


def test_a_file_that_had_nothing_else_is_left_out(filled: Filled, manifest: Manifest) -> None:
    for device in ("a", "b", "c"):
        manifest, _ = without(filled, manifest, device)
    assert [file.name for file in manifest.files] == ["default-001.parquet"]
    last, removed = without(filled, manifest, "it's")
    assert (removed, last.rows, last.files, last.generation) == ({"default": 40}, 0, (), 5)
    with filled.store.reading() as connection:
        assert check_generation(filled.root, DAY, 5, connection=connection) == []


def test_a_device_that_is_in_no_file_changes_nothing(filled: Filled, manifest: Manifest) -> None:
    for device in ("bb", "zz"):
        assert without(filled, manifest, device) == (manifest, {})
    assert not generation_folder(filled.root, DAY, 2).exists()


def test_a_damaged_generation_is_not_given_a_new_manifest(filled: Filled, manifest: Manifest) -> None:
    path = generation_folder(filled.root, DAY, 1) / "default-000.parquet"
    data = bytearray(path.read_bytes())
    data[10] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArchiveDamaged):
        without(filled, manifest, "c")
