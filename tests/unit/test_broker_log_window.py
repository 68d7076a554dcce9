"""The look into the log: slices, single messages, what is kept unpacked, and what can't be read."""

from __future__ import annotations

import pytest

from appliance.core.errors import CursorExpired, LogDamaged
from broker.log_window import CACHED_CHUNK_COUNT_MAX, LogWindow
from broker.mqtt.batch import Batch
from storage.log.columns import Kind
from tests.session_kit import READ_BLOCK_COUNT, ListLog

BLOCK_COUNT = 20


@pytest.fixture
def log() -> ListLog:
    """Blocks of three messages: records 1 to 60, their payloads say which they are."""
    made = ListLog()
    for first in range(1, 3 * BLOCK_COUNT, 3):
        batch = Batch()
        batch.mark_time(1000 + first)
        for seq in range(first, first + 3):
            batch.add(
                Kind.PUBLISH, ("c", "site"), topic=b"t/%d" % (seq % 2), payload=b"%d" % seq, flags=3,
                properties=b"\x01\x01" if seq % 3 == 0 else b"",
            )  # fmt: skip
        made.append(batch)
    return made


async def test_one_message(log: ListLog) -> None:
    found = await LogWindow(log).message(9)
    assert (found.seq, found.topic, found.payload) == (9, b"t/1", b"9")
    assert (found.qos, found.is_retained, found.client) == (1, True, ("c", "site"))
    assert found.properties == b"\x01\x01"
    assert (await LogWindow(log).message(8)).properties == b""


async def test_a_slice_is_of_whole_blocks_and_a_number_of_records(log: ListLog) -> None:
    window = LogWindow(log)
    parts = await window.slice(5, 4, 100)
    assert [part.seqs for part in parts] == [range(5, 7), range(7, 9)]
    assert [part.message(part.seqs[0] - part.block.first_seq).payload for part in parts] == [b"5", b"7"]
    assert [part.seqs for part in await window.slice(8, 1, 100)] == [range(8, 9)]


async def test_a_slice_ends_before_what_was_not_fanned_out(log: ListLog) -> None:
    window = LogWindow(log)
    assert [part.seqs for part in await window.slice(1, 100, 7)] == [range(1, 4), range(4, 7)]
    assert await window.slice(4, 100, 6) == [], "the block is on disk, and its turn comes later"


async def test_what_was_read_is_kept_for_others(log: ListLog) -> None:
    window = LogWindow(log)
    for seq in (1, 5, 9, 1):
        await window.message(seq)
    assert log.reads == 1
    await window.slice(7, 100, 100)
    assert log.reads == 1
    step = 3 * READ_BLOCK_COUNT
    for number in range(1, CACHED_CHUNK_COUNT_MAX + 1):
        await window.message(1 + number * step)
    await window.message(1)
    assert log.reads == CACHED_CHUNK_COUNT_MAX + 2, "the oldest gives way"
    window.clear()
    await window.message(1)
    assert log.reads == CACHED_CHUNK_COUNT_MAX + 3


async def test_what_is_not_there(log: ListLog) -> None:
    window = LogWindow(log)
    with pytest.raises(LogDamaged) as caught:
        await window.message(61)
    assert (caught.value.first_seq, caught.value.next_seq) == (61, 62)
    del log.blocks[:5]
    with pytest.raises(LogDamaged):
        await window.message(2)


def test_where_to_go_on_behind_what_can_not_be_read(log: ListLog) -> None:
    window = LogWindow(log)
    assert window.skip(5, LogDamaged("bits", first_seq=4, next_seq=9), 100) == 9
    assert window.skip(5, LogDamaged("bits", first_seq=5, next_seq=5), 100) == 100, "nobody knows how far"
    log.begin_seq = 30
    assert window.skip(5, CursorExpired("gone"), 100) == 30
    assert window.skip(40, CursorExpired("gone"), 100) == 100
