"""What is in the archive, and what of it is rubbish."""

from __future__ import annotations

from pathlib import Path

from storage.archive.index import (
    newest_of_days,
    read_archive,
    read_generation,
    remove_generation,
    rubbish,
    tidy,
)
from storage.archive.layout import generation_folder
from storage.archive.manifest import Manifest, Position, publish

DAY = 19_700


def make(root: Path, day: int, generation: int) -> Path:
    folder = generation_folder(root, day, generation)
    folder.mkdir(parents=True)
    text = folder.parent.name
    publish(
        folder,
        Manifest(
            format_version=1, day=text, generation=generation, through=Position(epoch=1, next_seq=1), made_at_ms=1,
            classes=(), rows=0, bytes=0, content_sum="0", content_hash="x", files=(),
        ),
    )  # fmt: skip
    return folder


def test_the_newest_usable_generation_counts(tmp_path: Path) -> None:
    make(tmp_path, DAY, 1)
    make(tmp_path, DAY, 2)
    broken = make(tmp_path, DAY, 3) / "manifest.json"
    broken.write_bytes(b"{}")
    make(tmp_path, DAY + 1, 1).joinpath("manifest.json").write_bytes(b"{}")
    unfinished = generation_folder(tmp_path, DAY, 4)
    unfinished.mkdir()
    assert [(each.day, each.generation) for each in read_archive(tmp_path)] == [
        (DAY, 1), (DAY, 2), (DAY, 3), (DAY + 1, 1),
    ]  # fmt: skip
    newest = newest_of_days(tmp_path)
    assert (newest[DAY].generation, newest[DAY].problem) == (2, "")
    assert newest[DAY + 1].manifest is None
    assert "can't be used" in newest[DAY + 1].problem
    assert rubbish(tmp_path) == [unfinished]


def test_a_generation_goes_with_the_folders_that_get_empty(tmp_path: Path) -> None:
    make(tmp_path, DAY, 1)
    make(tmp_path, DAY, 2)
    remove_generation(tmp_path, DAY, 1)
    assert [each.generation for each in read_archive(tmp_path)] == [2]
    remove_generation(tmp_path, DAY, 2)
    remove_generation(tmp_path, DAY, 2)
    assert list(tmp_path.iterdir()) == []


def test_what_a_crash_left_goes_and_what_may_be_needed_stays(tmp_path: Path) -> None:
    make(tmp_path, DAY, 1)
    make(tmp_path, DAY, 2)  # written, and not registered
    damaged = make(tmp_path, DAY + 1, 1)
    damaged.joinpath("manifest.json").write_bytes(b"{}")
    make(tmp_path, DAY + 2, 1)  # of a day that the store doesn't know
    make(tmp_path, DAY - 900, 1)  # the same, and nothing of it is to be kept
    generation_folder(tmp_path, DAY + 3, 1).mkdir(parents=True)
    known = {DAY: 1, DAY + 1: None, DAY + 3: None}
    assert tidy(tmp_path, known, lambda day: day < DAY - 730) == 3
    assert [(each.day, each.generation) for each in read_archive(tmp_path)] == [
        (DAY, 1),
        (DAY + 1, 1),
        (DAY + 2, 1),
    ]
    assert tidy(tmp_path, known) == 0
    assert read_generation(tmp_path, DAY, 1).manifest is not None
    assert "can't be used" in read_generation(tmp_path, DAY + 1, 1).problem
    assert read_generation(tmp_path, DAY, 2).problem == "the manifest is missing"
