"""What of each stream is still needed, in its own numbers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core.errors import StorageError
from appliance.pipeline.site_cursor import SiteCursor
from storage.log.cursor_file import read_cursor
from storage.log.disk import OsDisk
from tests.site_kit import NODES, Box, read_on, record


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path)
    yield made
    made.close()


def cursor_of(box: Box) -> SiteCursor:
    own = box.own.directory / "cursors" / "pipeline"
    return SiteCursor(box.order, own, box.folder / "site" / "needed")


def said(folder: Path) -> int:
    return read_cursor(OsDisk(), folder / "cursors" / "pipeline")


def test_alone_it_is_the_own_logs_cursor(box: Box, tmp_path: Path) -> None:
    box.own.append([record("a"), record("b")])
    cursor = cursor_of(box)
    assert cursor.published() == 0
    assert cursor.publish(2) is None
    assert (cursor.published(), said(box.own.directory)) == (2, 2)
    assert not (tmp_path / "site").exists()
    cursor.close()


def test_each_stream_is_told_in_its_own_numbers(box: Box) -> None:
    box.own.append([record("a"), record("b")])
    cursor = cursor_of(box)
    cursor.publish(2)
    copy = box.copy(NODES[1])
    copy.append([record("x")])
    copy.append([record("y")])
    box.turn()
    read_on(box.reader())
    box.own.append([record("c")])
    assert cursor.published() == 2, "what was said before the first of the others is a number of both"
    for site_seq, own, other in ((3, 3, 1), (4, 3, 2), (5, 3, 3), (6, 4, 3)):
        assert cursor.publish(site_seq) is None
        assert (said(box.own.directory), said(copy.directory)) == (own, other)
    cursor.close()
    assert cursor_of(box).published() == 6


def test_a_copy_that_is_gone_is_not_begun_anew_by_it(box: Box) -> None:
    box.own.append([record("a")])
    copy = box.copy(NODES[1])
    copy.append([record("x")])
    box.turn()
    read_on(box.reader())
    copy.writer.close()
    box.copies.clear()
    copy.directory.rename(box.folder / "away")
    cursor = cursor_of(box)
    assert cursor.publish(3) is None
    assert not copy.directory.exists()
    cursor.close()


def test_an_order_that_cant_be_read_is_said_and_everything_is_kept(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    box.own.append([record("a")])
    box.copy(NODES[1]).append([record("x")])
    box.turn()
    read_on(box.reader())
    cursor = cursor_of(box)

    def fail(site_seq: int) -> dict[Path, int]:
        raise OSError(5, "the disk failed")

    monkeypatch.setattr(box.order, "positions", fail)
    failure = cursor.publish(3)
    assert isinstance(failure, StorageError)
    assert failure.code == "cursor_unpublished"
    assert said(box.own.directory) == 0
    cursor.close()
