"""Flash: records are whole, areas may be torn, equal blocks are held once, and power goes where it is told to."""

from __future__ import annotations

import pytest

from device_fw_sim.flash import BlockPool, FaultyFlash, FlashError, MemoryFlash, PowerCut


def test_records_and_areas_come_back() -> None:
    flash = MemoryFlash()
    assert flash.get("job") is None
    flash.put("job", {"a": [1, None, "x"]})
    flash.write("A", 4, b"efgh")
    flash.write("A", 0, b"abcd")
    assert flash.get("job") == {"a": [1, None, "x"]}
    assert b"".join(flash.pieces("A")) == b"abcdefgh"
    flash.erase("A")
    assert list(flash.pieces("A")) == []


def test_a_record_is_a_copy() -> None:
    flash, value = MemoryFlash(), {"n": 1}
    flash.put("x", value)
    value["n"] = 2
    assert flash.get("x") == {"n": 1}


def test_a_thousand_devices_hold_one_block() -> None:
    pool = BlockPool(count_max=4)
    flashes = [MemoryFlash(pool) for _ in range(1_000)]
    for flash in flashes:
        flash.write("staging", 0, bytes(bytearray(b"same" * 100)))
    assert len({id(next(flash.pieces("staging"))) for flash in flashes}) == 1
    for number in range(20):
        pool.shared(bytes([number]))
    assert len(pool) == 4


def test_a_cut_tears_a_block_and_leaves_a_record_as_it_was() -> None:
    memory = MemoryFlash()
    flash = FaultyFlash(memory)
    flash.put("x", 1)
    flash.cut_at(1)
    with pytest.raises(PowerCut):
        flash.put("x", 2)
    assert memory.get("x") == 1
    flash.cut_at(2)
    flash.erase("A")
    with pytest.raises(PowerCut):
        flash.write("A", 0, b"abcd")
    assert list(memory.pieces("A")) == [b"ab"]
    flash.put("x", 3)
    assert flash.get("x") == 3


def test_a_cut_can_hit_an_erasure() -> None:
    flash = FaultyFlash(MemoryFlash())
    flash.write("A", 0, b"abcd")
    flash.cut_at(1)
    with pytest.raises(PowerCut):
        flash.erase("A")
    assert list(flash.pieces("A")) == [b"abcd"]


def test_a_write_fails_once() -> None:
    flash = FaultyFlash(MemoryFlash())
    flash.fail_at(1)
    flash.put("x", 1)
    with pytest.raises(FlashError, match="did not take") as caught:
        flash.write("B", 0, b"abcd")
    assert caught.value.hint
    flash.write("B", 0, b"abcd")
    assert list(flash.pieces("B")) == [b"abcd"]


def test_corruption_is_of_what_is_downloaded() -> None:
    flash = FaultyFlash(MemoryFlash())
    flash.is_corrupting = True
    flash.write("B", 0, b"abcd")
    flash.write("staging", 0, b"abcd")
    assert list(flash.pieces("B")) == [b"abcd"]
    assert list(flash.pieces("staging")) == [b"Abcd"]
