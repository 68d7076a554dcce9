"""The archive's files while its keeper goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.core.errors import StorageError
from storage.backup.archive_files import day_files, state_files


class Copies:
    def __init__(self) -> None:
        self.files: dict[str, str] = {}

    def copy(self, path: Path, name: str) -> None:
        self.files[name] = path.read_text()

    def discard(self, name: str) -> None:
        self.files.pop(name, None)


def day(folder: Path, generation: int, *, is_whole: bool = True) -> Path:
    made = folder / "archive" / "2026" / "2026-11-01" / f"{generation:06}"
    made.mkdir(parents=True)
    (made / "a-001.parquet").write_text(f"a{generation}")
    (made / "b-001.parquet").write_text(f"b{generation}")
    if is_whole:
        (made / "manifest.json").write_text(f"m{generation}")
    return made


def test_the_newest_whole_generation_is_taken(tmp_path: Path) -> None:
    day(tmp_path, 1)
    day(tmp_path, 2)
    day(tmp_path, 3, is_whole=False)
    copies = Copies()
    day_files(tmp_path, copies.copy, copies.discard)
    assert copies.files == {
        f"archive/2026/2026-11-01/000002/{name}": text
        for name, text in (("a-001.parquet", "a2"), ("b-001.parquet", "b2"), ("manifest.json", "m2"))
    }


def test_one_that_is_replaced_meanwhile_is_taken_by_the_new_one(tmp_path: Path) -> None:
    old = day(tmp_path, 1)
    copies = Copies()

    def copy(path: Path, name: str) -> None:
        if path.name == "b-001.parquet" and path.parent == old:
            day(tmp_path, 2)
            for each in old.iterdir():
                each.unlink()
            old.rmdir()
        copies.copy(path, name)

    day_files(tmp_path, copy, copies.discard)
    assert sorted(copies.files.values()) == ["a2", "b2", "m2"]
    assert all("000002" in name for name in copies.files)


def test_one_whose_time_is_over_meanwhile_is_left_out(tmp_path: Path) -> None:
    old = day(tmp_path, 1)
    copies = Copies()

    def copy(path: Path, name: str) -> None:
        for each in old.iterdir():
            each.unlink()
        copies.copy(path, name)

    day_files(tmp_path, copy, copies.discard)
    assert copies.files == {}


def test_one_that_never_rests_is_an_error(tmp_path: Path) -> None:
    day(tmp_path, 1)

    def copy(path: Path, name: str) -> None:
        raise FileNotFoundError

    with pytest.raises(StorageError) as found:
        day_files(tmp_path, copy, lambda name: None)
    assert found.value.code == "archive_restless"


def test_snapshots_of_the_state_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "archive" / "state"
    folder.mkdir(parents=True)
    (folder / "1-5.state").write_text("x")
    (folder / "1-9.state.part").write_text("y")
    (folder / "1-7.state").write_text("z")
    copies = Copies()

    def copy(path: Path, name: str) -> None:
        if path.name == "1-5.state":
            raise FileNotFoundError
        copies.copy(path, name)

    state_files(tmp_path, copy)
    assert copies.files == {"archive/state/1-7.state": "z"}


def test_no_archive_at_all_is_fine(tmp_path: Path) -> None:
    copies = Copies()
    state_files(tmp_path, copies.copy)
    day_files(tmp_path, copies.copy, copies.discard)
    assert copies.files == {}
