"""Downloads: whatever is cut, lost, doubled or reordered, the bytes are the right ones and nothing whole is asked for twice."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_fw_sim import cbor
from device_fw_sim.download import Download
from device_fw_sim.flash import FaultyFlash, Flash, MemoryFlash, PowerCut
from device_fw_sim.image import Header, build
from tests.update_box import UpdateBox

IMAGE = build(Header(version="2.0.0", hw=["rev2"]), size_bytes=10_007)
STREAM = f"fw-{IMAGE.sha256[:32]}"


def begin(flash: Flash, *, is_cbor: bool = False, block_bytes: int = 512) -> Download:
    return Download(
        flash, sha256=IMAGE.sha256, size_bytes=len(IMAGE.data), block_bytes=block_bytes, is_cbor=is_cbor
    )


def box() -> UpdateBox:
    found = UpdateBox()
    found.images[STREAM] = IMAGE
    return found


def exchange(
    download: Download, from_box: UpdateBox, order: Callable[[list[bytes]], None] = lambda _: None
) -> None:
    """One get and its blocks."""
    answers = from_box.answer(f"streams/{STREAM}/get/{download.form}", download.get("t"))
    payloads = [payload for _, payload in answers]
    order(payloads)
    for payload in payloads:
        assert download.data(payload)


@pytest.mark.parametrize("is_cbor", [False, True])
def test_described_then_block_by_block(is_cbor: bool) -> None:
    flash, from_box = MemoryFlash(), box()
    download = begin(flash, is_cbor=is_cbor)
    ((_, description),) = from_box.answer(
        f"streams/{STREAM}/describe/{download.form}", download.describe("t")
    )
    was_described = download.is_described
    assert download.described(description)
    assert (was_described, download.is_described) == (False, True)
    while not download.is_complete:
        exchange(download, from_box)
    assert download.bytes_done == len(IMAGE.data)
    assert download.is_right()
    assert b"".join(flash.pieces("staging")) == IMAGE.data


def test_a_description_of_another_file_is_refused() -> None:
    download = begin(MemoryFlash())
    assert not download.described(b'{"s": 1, "r": [{"f": 0, "z": 5}]}')
    assert not download.described(b'{"s": 1}')
    assert not download.described(b"\xff")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 80), st.booleans(), st.integers(0, 12))
def test_cut_anywhere_it_goes_on_and_fetches_one_block_twice_at_most(
    seed: int, cut: int, is_cbor: bool, lost: int
) -> None:
    memory, from_box, source = MemoryFlash(), box(), random.Random(seed)
    from_box.lose_blocks = lost
    flash = FaultyFlash(memory)
    flash.cut_at(cut)
    for _ in range(100):
        try:
            download = begin(flash, is_cbor=is_cbor)
            if download.is_complete:
                break
            exchange(download, from_box, source.shuffle)
        except PowerCut:
            continue
    assert download.is_complete
    assert download.is_right()
    assert b"".join(memory.pieces("staging")) == IMAGE.data
    # What was on the way when the power went comes again; of what was noted, nothing.
    assert from_box.block_count <= download.block_count + 20


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 3_000), min_size=1, max_size=40), st.integers(1, 60))
def test_over_https_it_resumes_at_any_byte(pieces: list[int], cut: int) -> None:
    memory = MemoryFlash()
    flash = FaultyFlash(memory)
    flash.cut_at(cut)
    for attempt in range(50):
        try:
            download = begin(flash)
            at = download.begin()
            assert at % 512 == 0 or download.is_complete
            for length in pieces if attempt < 20 else [len(IMAGE.data)]:
                assert download.resume_at == at
                download.bytes_arrived(IMAGE.data[at : at + length])
                at = min(at + length, len(IMAGE.data))
        except PowerCut:
            continue
        if download.is_complete:
            break
    assert download.is_right()
    assert b"".join(memory.pieces("staging")) == IMAGE.data


def test_blocks_of_one_way_count_for_the_other() -> None:
    flash, from_box = MemoryFlash(), box()
    download = begin(flash)
    answers = from_box.answer(f"streams/{STREAM}/get/json", download.get("t"))
    for _, payload in [answers[0], answers[1], answers[5]]:
        download.data(payload)
    again = begin(flash)
    assert again.begin() == 2 * 512
    again.bytes_arrived(IMAGE.data[2 * 512 :])
    assert again.is_complete
    assert again.is_right()


def test_blocks_that_are_none_of_ours() -> None:
    download = begin(MemoryFlash())
    piece = base64.b64encode(IMAGE.data[:512]).decode()
    for message in (
        {"i": 99, "p": piece},
        {"i": -1, "p": piece},
        {"i": 0, "p": piece[:8]},
        {"i": 0, "p": "%"},
        {"i": "0", "p": piece},
        {"i": 0, "f": 1, "p": piece},
        {"i": 0},
    ):
        assert not download.data(json.dumps(message).encode())
    assert not download.data(b"[]")
    assert download.bytes_done == 0


def test_another_image_begins_anew_and_a_discarded_one_too() -> None:
    flash, from_box = MemoryFlash(), box()
    exchange(begin(flash), from_box)
    other = Download(flash, sha256="1" * 64, size_bytes=10_007, block_bytes=512)
    assert other.bytes_done == 0
    assert begin(flash).bytes_done == 0
    download = begin(flash)
    exchange(download, from_box)
    download.discard()
    assert (download.bytes_done, begin(flash).bytes_done) == (0, 0)


def test_changed_bytes_are_not_right() -> None:
    flash = FaultyFlash(MemoryFlash())
    flash.is_corrupting = True
    download = begin(flash)
    while not download.is_complete:
        exchange(download, box())
    assert not download.is_right()


def test_it_lets_itself_be_put_off() -> None:
    download = begin(MemoryFlash(), is_cbor=True)
    assert download.refused_for_ms(cbor.encode({"o": "RequestThrottled", "retry_s": 60})) == 60_000
    assert download.refused_for_ms(cbor.encode({"o": "ResourceNotFound"})) == 0
    assert download.refused_for_ms(cbor.encode({"retry_s": 10**9})) == 0


@pytest.mark.parametrize(("size_bytes", "block_bytes"), [(0, 512), (2**40, 512), (5, 255), (5, 131_073)])
def test_what_does_not_fit(size_bytes: int, block_bytes: int) -> None:
    with pytest.raises(ValueError, match="bytes"):
        Download(MemoryFlash(), sha256="1" * 64, size_bytes=size_bytes, block_bytes=block_bytes)
