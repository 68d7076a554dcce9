"""The head file: always one whole slot, never a mixture."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.core.errors import LogDamaged
from storage.log.disk import OsDisk
from storage.log.head import (
    HEAD_FILE_BYTES,
    SLOT_BYTES,
    SLOT_OFFSETS,
    Head,
    HeadFile,
    Slot,
    decode_slot,
    encode_slot,
    newest_slot,
    read_slot,
)

HEAD = Head(1, 42, b"h" * 32, 7, 8192)


class Bytes:
    """A shared map in memory."""

    def __init__(self, data: bytes = bytes(HEAD_FILE_BYTES)) -> None:
        self.data = bytearray(data)

    def __getitem__(self, index: slice) -> bytes:
        return bytes(self.data[index])

    def __setitem__(self, index: slice, data: bytes) -> None:
        self.data[index] = data

    def close(self) -> None:
        pass


@settings(deadline=None)
@given(counter=st.integers(1, 2**63), next_seq=st.integers(1, 2**63), bit=st.integers(0, SLOT_BYTES * 8 - 1))
def test_a_slot_round_trips_and_any_flipped_bit_is_noticed(counter: int, next_seq: int, bit: int) -> None:
    slot = Slot(counter, b"b" * 16, Head(3, next_seq, b"x" * 32, 5, 4096))
    data = bytearray(encode_slot(slot))
    assert decode_slot(bytes(data)) == slot
    data[bit // 8] ^= 1 << bit % 8
    assert decode_slot(bytes(data)) is None


@settings(deadline=None)
@given(copied=st.integers(0, SLOT_BYTES))
def test_a_writer_killed_in_the_middle_of_a_copy_leaves_the_head_before(copied: int) -> None:
    mapped = Bytes()
    before = Slot(8, bytes(16), HEAD)
    mapped[SLOT_OFFSETS[0] : SLOT_OFFSETS[0] + SLOT_BYTES] = encode_slot(before)
    mapped[SLOT_OFFSETS[1] : SLOT_OFFSETS[1] + SLOT_BYTES] = encode_slot(
        Slot(7, bytes(16), Head(1, 1, bytes(32), 1, 0))
    )
    after = Slot(9, bytes(16), Head(1, 50, b"n" * 32, 7, 12_288))
    mapped[SLOT_OFFSETS[1] : SLOT_OFFSETS[1] + copied] = encode_slot(after)[:copied]
    assert newest_slot(mapped) == (after if copied == SLOT_BYTES else before)


def test_an_unreadable_head_says_what_to_do() -> None:
    with pytest.raises(LogDamaged) as caught:
        read_slot(Bytes(), Path("head"))
    assert "Start the process" in caught.value.hint


def test_publishing_alternates_and_goes_on_after_a_restart(tmp_path: Path) -> None:
    disk = OsDisk()
    path = tmp_path / "head"
    head_file = HeadFile(disk, path)
    assert head_file.found is None
    reader = disk.open(path)
    mapped = disk.map_shared(reader, HEAD_FILE_BYTES, write=False)
    for next_seq in range(1, 6):
        head_file.publish(Head(1, next_seq, bytes(32), 1, 4096))
        assert read_slot(mapped, path).head.next_seq == next_seq
    head_file.close()
    again = HeadFile(disk, path)
    assert again.found == Head(1, 5, bytes(32), 1, 4096)
    again.publish(HEAD)
    assert read_slot(mapped, path).head == HEAD, "the reader's map is of another file"
    assert read_slot(mapped, path).boot_id == disk.boot_id() != bytes(16)
    again.close()
    mapped.close()
    disk.close(reader)
