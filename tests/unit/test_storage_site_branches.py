"""Of a fork each record is read once, though both histories are kept from before the place where they part."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.log import LogReader
from tests.site_kit import NODES, Box, all_blocks, read_on, record, texts

A, B = NODES[0], NODES[1]
BRANCH = "fork-0123abcd"


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path)
    yield made
    made.close()


def read(box: Box) -> list[str]:
    box.turn()
    return sorted(text for _, text in texts(read_on(box.reader())[0]))


@pytest.mark.parametrize("common", ["p", "pq", "pqrstuv"])
def test_what_is_before_the_place_where_they_part_is_read_once(box: Box, common: str) -> None:
    box.own.append([record("a")])
    for text in f"{common}x":
        box.copy(B).append([record(text)])
    for text in f"{common}yz":
        box.copy(B, BRANCH).append([record(text)])
    assert read(box) == sorted(f"a{common}xyz")
    box.copy(B, BRANCH).append([record("k")])
    box.copy(B).append([record("l")])
    assert read(box) == sorted(f"a{common}xyzkl")
    box.restart()
    assert read(box) == sorted(f"a{common}xyzkl")


def test_what_another_body_of_this_node_wrote_is_read_as_well(box: Box) -> None:
    for text in "pqa":
        box.own.append([record(text)])
    for text in "pqxy":
        box.copy(A, BRANCH).append([record(text)])
    assert read(box) == sorted("pqaxy")


def test_a_branch_without_anything_of_its_own_gives_nothing(box: Box) -> None:
    box.own.append([record("a")])
    for text in "pqr":
        box.copy(B).append([record(text)])
    for text in "pq":
        box.copy(B, BRANCH).append([record(text)])
    assert read(box) == sorted("apqr")
    box.copy(B, BRANCH).append([record("x")])
    assert read(box) == sorted("apqrx")


def test_what_was_taken_before_a_later_epoch_replaced_it_is_not_read_again(box: Box) -> None:
    box.own.append([record("a")])
    for text in "pqxy":
        box.copy(B).append([record(text)])
    reader = box.reader()
    box.turn()
    read_on(reader)
    blocks = all_blocks(LogReader(box.copy(B).directory))
    for block in blocks:
        box.copy(B, BRANCH).append_block(block)
    box.copy(B, BRANCH).append([record("z")])
    # The node began its next epoch after the second record: what was behind it is the branch's.
    copy = box.copies.pop(f"{B}/telemetry")
    copy.writer.close()
    other = Box(box.folder / "other", own=1)
    for text in "pq":
        other.own.append([record(text)])
    other.own.reopen(new_epoch=True)
    other.own.append([record("w")])
    other.close()
    for path in [*copy.directory.iterdir()]:
        if path.is_file():
            path.unlink()
    for path in other.own.directory.iterdir():
        if path.is_file():
            path.rename(copy.directory / path.name)
    box.restart()
    box.turn()
    found, _ = read_on(box.reader())
    said = sorted(text for _, text in texts(found))
    assert said.count("x") <= 1
    assert {"a", "p", "q", "w", "z"} <= set(said)
    assert said.count("z") == 1


def test_without_the_whole_stream_all_of_a_branch_is_its_own(box: Box) -> None:
    box.own.append([record("a")])
    for text in "pq":
        box.copy(B, BRANCH).append([record(text)])
    assert read(box) == sorted("apq")
