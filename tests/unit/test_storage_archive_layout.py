"""Folders and names of the archive."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage.archive.layout import (
    FILE_NAME,
    day_number,
    day_text,
    file_name,
    generation_folder,
    generations,
    relative_path,
)


def test_a_day_and_its_text() -> None:
    assert day_text(19_700) == "2023-12-09"
    assert day_number("2023-12-09") == 19_700
    for text in ("2023-12-9", "2023-02-30", "", "2023-12-09x"):
        with pytest.raises(ValueError, match=r"day|date"):
            day_number(text)


def test_paths_are_made_of_day_generation_and_class() -> None:
    assert generation_folder(Path("/a"), 19_700, 3) == Path("/a/2023/2023-12-09/000003")
    assert relative_path(19_700, 3, "default-000.parquet") == "2023/2023-12-09/000003/default-000.parquet"
    assert file_name("default", 12) == "default-012.parquet"
    assert FILE_NAME.fullmatch("../x-000.parquet") is None


def test_generations_are_found_and_strange_names_left_alone(tmp_path: Path) -> None:
    for name in (
        "2023/2023-12-09/000002",
        "2023/2023-12-09/000001",
        "2022/2022-01-01/000001",
        "2023/2023-02-30/000001",
        "2023/2023-12-09/1",
        "notes/2023-12-09/000001",
    ):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "2023/2023-12-10").symlink_to(tmp_path / "2022/2022-01-01")
    assert [(day_text(day), generation) for day, generation, _ in generations(tmp_path)] == [
        ("2022-01-01", 1),
        ("2023-12-09", 1),
        ("2023-12-09", 2),
    ]
    assert list(generations(tmp_path / "nothing")) == []
