"""A site read as one log."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.core.errors import CursorBeyondHead, CursorExpired, LogDamaged
from appliance.core.limits_site import SITE_TURN_RECORDS_MAX
from storage.log import LogReader
from tests.site_kit import NODES, Box, all_blocks, check_chain, read_on, record, texts

A, B, C = NODES


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path)
    yield made
    made.close()


def test_without_others_it_is_the_own_log_and_there_is_no_file(box: Box, tmp_path: Path) -> None:
    for text in "abc":
        box.own.append([record(text)])
    box.turn()
    reader = box.reader()
    own = LogReader(box.own.directory)
    assert reader.head() == own.head()
    assert (reader.first_seq(), reader.seq_at_time(0)) == (own.first_seq(), own.seq_at_time(0))
    assert all_blocks(box.reader()) == all_blocks(own)
    assert not (tmp_path / "site").exists()
    with pytest.raises(CursorBeyondHead):
        reader.read(5)


def test_the_first_of_others_begins_an_order_and_own_numbers_stay(box: Box, tmp_path: Path) -> None:
    box.own.append([record("a"), record("b")])
    reader = box.reader()
    before, _ = read_on(reader)
    head = reader.head()
    box.copy(B).append([record("x"), record("y")])
    box.turn()
    assert reader.head().next_seq == 5
    assert (tmp_path / "site" / "order").exists()
    box.own.append([record("c")])
    blocks, refused = read_on(reader)
    assert texts(blocks) == [("", "a"), ("", "b"), (B, "x"), (B, "y"), ("", "c")]
    assert not refused
    check_chain(blocks)
    assert blocks[0] == replace(before[0], is_of_site=True)
    assert blocks[1].prev_hash == head.hash
    assert reader.head().next_seq == blocks[-1].next_seq
    assert reader.head().hash == blocks[-1].hash
    assert reader.read(6) == []
    with pytest.raises(CursorBeyondHead):
        reader.read(7)


def test_own_records_wait_for_nobody(box: Box) -> None:
    box.copy(B).append([record("x")])
    box.own.append([record("a")])
    box.turn()
    reader = box.reader()
    read_on(reader)
    box.own.append([record("b")])
    box.copy(B).append([record("y")])
    assert texts(read_on(reader)[0]) == [("", "a"), (B, "x"), ("", "b")]
    box.turn()
    assert texts(read_on(reader, 4)[0]) == [(B, "y")]


def test_a_range_in_the_middle_is_read_from_any_record(box: Box) -> None:
    box.own.append([record("a")])
    box.copy(B).append([record(f"x{at}") for at in range(5)])
    box.turn()
    reader = box.reader()
    whole, _ = read_on(reader)
    for seq in range(2, 7):
        assert reader.read(seq)[0] == whole[1]
    assert reader.read(2, bytes_max=1) == [whole[1]]


def test_several_readers_see_the_same(box: Box) -> None:
    box.own.append([record("a")])
    box.copy(B).append([record("x")])
    box.turn()
    first, second = box.reader(), box.reader(takes_turns=False)
    assert texts(read_on(first)[0]) == texts(read_on(second)[0]) == [("", "a"), (B, "x")]


def test_a_reader_that_only_looks_takes_nothing_from_others(box: Box) -> None:
    box.own.append([record("a")])
    box.copy(B).append([record("x")])
    box.turn()
    assert box.reader(takes_turns=False).head().next_seq == 2


def test_the_order_is_the_same_after_a_start(box: Box) -> None:
    for turn in range(4):
        box.own.append([record(f"a{turn}")])
        box.copy(B).append([record(f"x{turn}")])
        box.copy(C).append([record(f"y{turn}")])
        box.turn()
        read_on(box.reader())
    before, _ = read_on(box.reader())
    box.restart()
    after, _ = read_on(box.reader())
    assert before == after
    assert len(texts(after)) == 12
    check_chain(after)


def test_a_new_epoch_of_the_own_stream_goes_on(box: Box) -> None:
    box.own.append([record("a")])
    box.own.reopen(new_epoch=True)
    box.own.append([record("b")])
    box.copy(B).append([record("x")])
    box.turn()
    reader = box.reader()
    read_on(reader)
    box.own.append([record("c")])
    blocks, refused = read_on(reader)
    assert texts(blocks) == [("", "a"), ("", "b"), (B, "x"), ("", "c")]
    assert [block.epoch for block in blocks] == [1, 2, 2, 2]
    assert not refused
    check_chain(blocks)


def test_what_a_holder_never_had_is_passed_over(box: Box, tmp_path: Path) -> None:
    other = Box(tmp_path / "other", own=1)
    for text in "uvw":
        other.own.append([record(text * 3000)] * 30)
    box.take_over(other)
    other.close()
    copy = box.copy(B)
    copy.reopen()
    segments = sorted(copy.directory.glob("*.seg"))
    assert segments, "the first segment is to be gone"
    segments[0].unlink()
    box.own.append([record("a")])
    box.turn()
    blocks, refused = read_on(box.reader())
    assert not refused
    assert {text[:1] for node, text in texts(blocks) if node == B} < {"u", "v", "w"}


def test_a_copy_that_loses_its_beginning_leaves_a_gap(box: Box) -> None:
    box.own.append([record("a")])
    copy = box.copy(B)
    for text in "uvw":
        copy.append([record(text * 3000)] * 30)
    box.turn()
    read_on(box.reader())
    box.own.append([record("b")])
    copy.reopen()
    sorted(copy.directory.glob("*.seg"))[0].unlink()
    blocks, refused = read_on(box.reader())
    assert refused
    assert refused[0][0] == 2
    assert [text for node, text in texts(blocks) if not node] == ["a", "b"]


def test_a_copy_that_is_gone_holds_nobody_up(box: Box) -> None:
    box.own.append([record("a")])
    copy = box.copy(B)
    copy.append([record("x"), record("y")])
    box.turn()
    read_on(box.reader())
    box.own.append([record("b")])
    copy.writer.close()
    for path in copy.directory.iterdir():
        if path.is_file():
            path.unlink()
    blocks, refused = read_on(box.reader())
    assert texts(blocks) == [("", "a"), ("", "b")]
    assert refused == [(2, 4)]
    box.copies.clear()


def test_a_copy_whose_head_is_of_before_is_read_as_far_as_it_was(box: Box) -> None:
    box.own.append([record("a")])
    copy = box.copy(B)
    copy.append([record("x")])
    head = (copy.directory / "head").read_bytes()
    copy.append([record("y")])
    box.turn()
    before, _ = read_on(box.reader())
    (copy.directory / "head").write_bytes(head)
    box.restart()
    after, refused = read_on(box.reader())
    assert after == before
    assert not refused


def test_another_branch_in_its_place_is_refused(box: Box) -> None:
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
    box.copy(B).append([record("z")])
    _, refused = read_on(box.reader())
    assert refused == [(2, 3)]


def test_damage_of_a_copy_is_refused_in_the_sites_numbers(box: Box) -> None:
    box.own.append([record("a")])
    copy = box.copy(B)
    copy.append([record("x")])
    copy.append([record("y")])
    box.turn()
    read_on(box.reader())
    path = next(copy.directory.glob("*.open"))
    data = bytearray(path.read_bytes())
    data[4096 + 100] ^= 1
    path.write_bytes(data)
    blocks, refused = read_on(box.reader())
    assert refused == [(2, 3)]
    assert texts(blocks) == [("", "a"), (B, "y")]


def test_what_no_stream_has_any_more_is_expired(box: Box) -> None:
    for text in "uvw":
        box.own.append([record(text * 3000)] * 30)
    box.copy(B).append([record("x")])
    box.turn()
    reader = box.reader()
    read_on(reader)
    box.own.reopen()
    oldest = sorted(box.own.directory.glob("*.seg"))[0]
    oldest.unlink()
    reader = box.reader()
    first_seq = LogReader(box.own.directory).first_seq()
    assert first_seq > 1
    assert reader.first_seq() == first_seq
    with pytest.raises(CursorExpired):
        reader.read(1)


def test_a_backlog_is_taken_in_shares_and_own_records_go_between(box: Box) -> None:
    for node in (B, C):
        for _ in range(5):
            box.copy(node).append([record("x")] * (SITE_TURN_RECORDS_MAX // 4))
    box.own.append([record("a")])
    box.turn()
    reader = box.reader()
    head = reader.head().next_seq
    assert head - 1 <= SITE_TURN_RECORDS_MAX + 1
    assert reader.head().next_seq == head, "nobody has read on"
    seq, own = 1, 0
    while seq < reader.head().next_seq:
        own += 1
        box.own.append([record(f"own{own}")])
        seq = reader.read(seq)[-1].next_seq
    found, refused = read_on(box.reader())
    assert not refused
    assert len([text for node, text in texts(found) if node]) == 10 * (SITE_TURN_RECORDS_MAX // 4)
    check_chain(found)
    with pytest.raises(LogDamaged):
        box.order.place(0)


def test_the_time_of_a_site_is_found_in_all_streams(box: Box) -> None:
    box.own.append([record("a", at_ms=1_000)])
    box.copy(B).append([record("x", at_ms=500)])
    box.copy(B).append([record("y", at_ms=3_000)])
    box.turn()
    reader = box.reader()
    read_on(reader)
    box.own.append([record("b", at_ms=2_000)])
    assert [reader.seq_at_time(ms) for ms in (0, 700, 1_500, 2_500, 4_000)] == [1, 1, 3, 3, 5]
    reader.close()
