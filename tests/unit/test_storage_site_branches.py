"""Of a fork each record is read once, though both histories are kept from before the place where they part."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.log import Block, LogReader
from storage.log.head import Head
from storage.site.branches import begin_of
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


OTHER_BRANCH = "fork-4567cdef"


def test_what_two_branches_share_is_read_once(box: Box) -> None:
    for text in "pqa":
        box.own.append([record(text)])
    for text in "pqrstx":
        box.copy(A, BRANCH).append([record(text)])
    for text in "pqrsty":
        box.copy(A, OTHER_BRANCH).append([record(text)])
    assert read(box) == sorted("pqarstxy")
    box.restart()
    box.copy(A, OTHER_BRANCH).append([record("z")])
    assert read(box) == sorted("pqarstxyz")


def test_a_branch_that_lies_on_another_one_holds_up_no_third(box: Box) -> None:
    for text in "pqa":
        box.own.append([record(text)])
    for branch, content in (("fork-00000001", "pqrs"), ("fork-00000002", "pqr"), ("fork-00000003", "pqz")):
        for text in content:
            box.copy(A, branch).append([record(text)])
    assert read(box) == sorted("pqarsz")


def test_a_branch_that_begins_behind_the_place_where_another_parts_hides_nothing_of_it(box: Box) -> None:
    for text in "pqabcd":
        box.own.append([record(text)])
    longer, shorter = box.copy(A, OTHER_BRANCH), box.copy(A, BRANCH)
    for text in "pqrst":
        longer.append([record(text)])
    own, first, second = (LogReader(log.directory) for log in (box.own, longer, shorter))
    # As a holder has it that took a branch from a later segment on.
    late = Late(first, 4)
    assert begin_of(first, (0, own), [(1, late)], ()) == 3
    assert begin_of(late, (0, own), [], ()) == 4
    assert begin_of(late, (0, own), [(1, first)], ()) == first.head().next_seq
    for reader in (own, first, second):
        reader.close()


class Late(LogReader):
    """A copy that begins later."""

    def __init__(self, of: LogReader, first_seq: int) -> None:
        self._of, self._first = of, first_seq

    def first_seq(self) -> int:
        return self._first

    def head(self) -> Head:
        return self._of.head()

    def read(self, seq: int, *, bytes_max: int = 0) -> list[Block]:
        assert seq >= self._first
        return self._of.read(seq, bytes_max=1)
