"""The order's file: what was used is there after anything, what was not whole never was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core.errors import LogDamaged
from storage.site.order_file import ORDER, OrderFile
from storage.site.order_format import (
    ENTRIES_OFFSET,
    ENTRY_BYTES,
    Entry,
    EntryKind,
    OrderHeader,
    stream_entry,
)
from tests.site_kit import NODES
from tests.storage_log_kit import HookedDisk, QuickDisk

HEADER = OrderHeader(7, 0, 5, bytes.fromhex(NODES[0]))


def ranges(*firsts: int) -> list[Entry]:
    """Ranges of ten records."""
    return [
        Entry(EntryKind.RANGE, at % 2, 1, 1, 10, first, first, bytes([at]) * 32)
        for at, first in enumerate(firsts)
    ]


@pytest.fixture
def file(tmp_path: Path) -> Iterator[OrderFile]:
    made = OrderFile.create(QuickDisk(), tmp_path, HEADER)
    yield made
    made.close()


def reopened(folder: Path) -> OrderFile:
    found = OrderFile.open(QuickDisk(), folder)
    assert found is not None
    found.close()
    return found


def test_there_is_none(tmp_path: Path) -> None:
    assert OrderFile.open(QuickDisk(), tmp_path) is None


def test_what_was_appended_is_there(file: OrderFile, tmp_path: Path) -> None:
    file.append([stream_entry(1, NODES[1], "fork-01234567"), *ranges(1, 11)])
    file.append(ranges(21))
    found = reopened(tmp_path)
    assert found.header == HEADER
    assert (list(found.site_seqs), len(found), found.damaged) == ([1, 11, 21], 4, 0)
    assert found.streams == {1: (NODES[1], "fork-01234567")}
    assert found.last == ranges(21)[0]
    assert (found.taken[0].site_seq, found.taken[1].site_seq) == (21, 11)
    assert [entry.site_seq for entry in file.ranges(1)] == [11, 21]


@pytest.mark.parametrize("left", [1, ENTRY_BYTES - 1, ENTRY_BYTES, ENTRY_BYTES + 5])
def test_of_a_torn_batch_nothing_is_left(file: OrderFile, tmp_path: Path, left: int) -> None:
    file.append(ranges(1))
    file.append(ranges(11, 21))
    path = tmp_path / ORDER
    path.write_bytes(path.read_bytes()[: ENTRIES_OFFSET + ENTRY_BYTES + left])
    found = reopened(tmp_path)
    assert (list(found.site_seqs), found.damaged) == ([1], 0)
    assert path.stat().st_size == ENTRIES_OFFSET + ENTRY_BYTES


def test_a_batch_whose_first_page_did_not_reach_the_disk_is_torn(file: OrderFile, tmp_path: Path) -> None:
    file.append(ranges(1))
    file.append(ranges(11, 21, 31))
    path = tmp_path / ORDER
    data = bytearray(path.read_bytes())
    data[ENTRIES_OFFSET + ENTRY_BYTES : ENTRIES_OFFSET + 2 * ENTRY_BYTES] = bytes(ENTRY_BYTES)
    path.write_bytes(data)
    assert list(reopened(tmp_path).site_seqs) == [1]


def test_a_damaged_entry_costs_its_own_records(file: OrderFile, tmp_path: Path) -> None:
    for first in (1, 11, 21):
        file.append(ranges(first))
    path = tmp_path / ORDER
    data = bytearray(path.read_bytes())
    data[ENTRIES_OFFSET + ENTRY_BYTES + 20] ^= 1
    path.write_bytes(data)
    found = OrderFile.open(QuickDisk(), tmp_path)
    assert found is not None
    assert (list(found.site_seqs), found.damaged) == ([1, 21], 1)
    assert [entry.site_seq for entry in found.ranges(0)] == [1, 21]
    found.append(ranges(31))
    found.close()
    assert list(reopened(tmp_path).site_seqs) == [1, 21, 31]


def test_an_entry_that_rots_meanwhile_is_none(file: OrderFile, tmp_path: Path) -> None:
    file.append(ranges(1))
    file.append(ranges(11))
    with (tmp_path / ORDER).open("r+b") as raw:
        raw.seek(ENTRIES_OFFSET + 3)
        raw.write(b"\xff")
    assert file.entry(0) is None
    assert file.entry(1) is not None


def test_one_header_will_do_and_none_will_not(file: OrderFile, tmp_path: Path) -> None:
    path = tmp_path / ORDER
    data = bytearray(path.read_bytes())
    data[3] ^= 1
    path.write_bytes(data)
    assert reopened(tmp_path).header == HEADER
    data[2048 + 3] ^= 1
    path.write_bytes(data)
    with pytest.raises(LogDamaged) as raised:
        OrderFile.open(QuickDisk(), tmp_path)
    assert raised.value.code == "site_order_unusable"


def test_after_a_failed_write_it_goes_on_in_a_new_file(tmp_path: Path) -> None:
    disk = HookedDisk()
    file = OrderFile.create(disk, tmp_path, HEADER)
    file.append(ranges(1))

    def fail(operation: str, name: str) -> None:
        if operation == "fdatasync":
            raise OSError(5, "the disk failed")

    disk.hook = fail
    with pytest.raises(OSError, match="failed"):
        file.append(ranges(11, 21))
    assert list(file.site_seqs) == [1]
    inode = (tmp_path / ORDER).stat().st_ino
    disk.hook = lambda operation, name: None
    file.append(ranges(11))
    assert (tmp_path / ORDER).stat().st_ino != inode
    file.close()
    assert list(reopened(tmp_path).site_seqs) == [1, 11]


def test_a_file_of_another_box_is_none_of_this_chain(file: OrderFile, tmp_path: Path) -> None:
    file.append(ranges(1))
    (tmp_path / "other").mkdir()
    other = OrderFile.create(QuickDisk(), tmp_path / "other", HEADER._replace(salt=8))
    other.append(ranges(1, 11))
    other.close()
    data = (tmp_path / "other" / ORDER).read_bytes()
    with (tmp_path / ORDER).open("ab") as raw:
        raw.write(data[ENTRIES_OFFSET:])
    assert list(reopened(tmp_path).site_seqs) == [1]
