"""Turns: what is taken from others, when, and what stops it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core import limits_site
from storage.site import order as order_module
from storage.site.order_format import Entry
from tests.site_kit import NODES, Box, check_chain, read_on, record, texts
from tests.storage_log_kit import HookedDisk

A, B, C = NODES


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path)
    yield made
    made.close()


def test_of_a_fork_both_branches_are_read(box: Box) -> None:
    box.own.append([record("a")])
    box.copy(B).append([record("x")])
    box.copy(B, "fork-0123abcd").append([record("y")])
    box.turn()
    blocks, _ = read_on(box.reader())
    assert sorted(texts(blocks)) == [("", "a"), (B, "x"), (B, "y")]
    box.restart()
    assert read_on(box.reader())[0] == blocks
    assert [(each.node_id, each.branch) for each in box.order.statistics().streams] == [
        (B, ""),
        (B, "fork-0123abcd"),
    ]


def test_a_later_epoch_that_replaces_records_is_read_from_where_it_begins(box: Box) -> None:
    box.own.append([record("a")])
    copy = box.copy(B)
    for text in "xyz":
        copy.append([record(text)])
    box.turn()
    reader = box.reader()
    read_on(reader)
    # The node lost its disk, had its log back but for the last record, and went on in a new epoch.
    whole = copy.directory
    copy.writer.close()
    box.copies.clear()
    other = Box(box.folder / "other", own=1)
    for text in "xy":
        other.own.append([record(text)])
    other.own.reopen(new_epoch=True)
    other.own.append([record("w")])
    other.own.writer.close()
    for path in whole.iterdir():
        if path.is_file():
            path.unlink()
    for path in other.own.directory.iterdir():
        if path.is_file():
            path.rename(whole / path.name)
    box.restart()
    box.turn()
    blocks, refused = read_on(box.reader())
    assert texts(blocks) == [("", "a"), (B, "x"), (B, "y"), (B, "w")] or refused
    assert (B, "w") in texts(blocks), "what came in its place is read"


def test_a_copy_of_another_log_is_stopped_and_said(box: Box) -> None:
    box.own.append([record("a")])
    copy = box.copy(B)
    copy.append([record("x")])
    box.turn()
    read_on(box.reader())
    copy.writer.close()
    box.copies.clear()
    for path in copy.directory.iterdir():
        if path.is_file():
            path.unlink()
    again = box.copy(B)
    for text in "pqr":
        again.append([record(text)])
    box.own.append([record("b")])
    box.restart()
    box.turn()
    blocks, _ = read_on(box.reader())
    (stream,) = box.order.statistics().streams
    assert "does not go on where it was left" in stream.stopped
    assert [text for node, text in texts(blocks) if not node] == ["a", "b"]
    box.turn()
    read_on(box.reader())
    again.reopen(new_epoch=True)
    again.append([record("s")])
    box.turn()
    blocks, _ = read_on(box.reader())
    assert box.order.statistics().streams[0].stopped, "the new epoch goes on from what was refused"


def test_a_disk_that_fails_keeps_others_waiting_and_nothing_else(tmp_path: Path) -> None:
    disk = HookedDisk()
    box = Box(tmp_path, disk=disk)
    box.own.append([record("a")])
    box.copy(B).append([record("x")])

    def fail(operation: str, name: str) -> None:
        if operation == "fdatasync" and name == "order":
            raise OSError(28, "No space left on device")

    disk.hook = fail
    box.turn()
    reader = box.reader()
    assert texts(read_on(reader)[0]) == [("", "a")]
    statistics = box.order.statistics()
    assert (statistics.failures_total, statistics.streams[0].next_seq) == (1, 0)
    assert "No space left" in statistics.incident
    box.own.append([record("b")])
    assert texts(read_on(reader)[0]) == [("", "a"), ("", "b")]
    disk.hook = lambda operation, name: None
    box.clock.advance(limits_site.SITE_RETRY_MS)
    blocks, _ = read_on(reader)
    assert texts(blocks) == [("", "a"), ("", "b"), (B, "x")]
    assert box.order.statistics().incident == ""
    check_chain(blocks)
    box.close()


def test_what_can_be_read_of_nobody_any_more_is_forgotten(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order_module, "SITE_COMPACT_ENTRIES_MIN", 4)
    box.own.append([record("a")])
    rng = random.Random(1)
    for _ in range(24):
        for log in (box.copy(B), box.own):
            log.append([record(rng.randbytes(16_000).hex())])
        box.turn()
        read_on(box.reader())
    blocks, _ = read_on(box.reader())
    order = box.order
    entries = order.statistics().entries
    order.compact(blocks[-1].next_seq)
    assert order.statistics().entries == entries, "everything is there"
    for log in (box.own, box.copy(B)):
        log.reopen()
        for segment in sorted(log.directory.glob("*.seg"))[:-1]:
            segment.unlink()
    order.compact(1)
    assert order.statistics().entries == entries, "somebody needs it"
    order.compact(blocks[-1].next_seq)
    fewer = order.statistics().entries
    assert fewer < entries
    first_seq = box.reader().first_seq()
    kept, refused = read_on(box.reader(), first_seq)
    assert refused, "the two did not lose the same"
    gone = {seq for first, end in refused for seq in range(first, end)}
    wanted = [each.hash for each in blocks if each.first_seq >= first_seq and each.first_seq not in gone]
    assert [block.hash for block in kept] == wanted
    box.restart()
    assert box.order.statistics().entries == fewer
    box.copy(B).append([record("more")])
    box.turn()
    again, _ = read_on(box.reader(), first_seq)
    assert texts(again)[-1] == (B, "more")
    assert [block.hash for block in again[:-1]] == [block.hash for block in kept]


def test_a_full_order_takes_nothing_more_and_says_so(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order_module, "SITE_ENTRY_COUNT_MAX", 3)
    for text in "abc":
        box.own.append([record(text)])
        box.copy(B).append([record(text)])
        box.turn()
        box.clock.advance(limits_site.SITE_RETRY_MS)
        read_on(box.reader())
    box.copy(B).append([record("d")])
    box.clock.advance(limits_site.SITE_RETRY_MS)
    read_on(box.reader())
    assert "full" in box.order.statistics().incident


def test_there_are_so_many_streams_at_most(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order_module, "SITE_STREAM_COUNT_MAX", 1)
    box.own.append([record("a")])
    box.copy(B).append([record("x")])
    box.copy(C).append([record("y")])
    box.turn()
    assert len(texts(read_on(box.reader())[0])) == 2


def test_it_has_no_place_where_its_file_is_damaged(box: Box) -> None:
    for text in "abc":
        box.own.append([record(text)])
        box.copy(B).append([record(text)])
        box.turn()
        read_on(box.reader())
    before, _ = read_on(box.reader())
    path = box.folder / "site" / "order"
    data = bytearray(path.read_bytes())
    data[4096 + 3 * 76 + 12] ^= 1  # own record, name, other's record, then the second turn
    path.write_bytes(data)
    box.restart()
    after, refused = read_on(box.reader())
    assert len(refused) == 1
    first, end = refused[0]
    whole = [block.hash for block in before if not first <= block.first_seq < end]
    assert [block.hash for block in after] == whole
    assert box.order.statistics().damaged == 1


def test_entries_are_numbered_within_their_stream() -> None:
    entry = Entry(1, 0, 1, 1, 10, 5, 3)
    assert (entry.next_seq, entry.site_next_seq) == (13, 15)
