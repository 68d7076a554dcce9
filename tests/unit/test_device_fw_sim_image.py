"""Images say what they are, the same bytes for the same header, and anything else is no image."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_fw_sim.errors import OptionsError
from device_fw_sim.image import MAGIC, SIZE_BYTES_MIN, Behaviour, Header, build, header_of

HEADER = Header(version="2.0.0", hw=["rev2", "rev3"], epoch=4, behaviour=Behaviour.REGRESS, after_s=5)


def test_the_header_comes_back_and_the_digest_is_that_of_the_bytes() -> None:
    image = build(HEADER, size_bytes=10_000)
    assert header_of(image.data) == HEADER
    assert header_of(image.data[:SIZE_BYTES_MIN]) == HEADER
    assert len(image.data) == 10_000
    assert image.sha256 == hashlib.sha256(image.data).hexdigest()
    assert build(HEADER, size_bytes=10_000) == image


def test_another_version_is_other_bytes_from_the_header_on() -> None:
    other = build(Header(version="2.0.1", hw=["rev2", "rev3"]), size_bytes=10_000)
    assert other.data[5_000:] != build(HEADER, size_bytes=10_000).data[5_000:]


@pytest.mark.parametrize("size_bytes", [0, SIZE_BYTES_MIN - 1, 65 * 1024 * 1024])
def test_sizes_out_of_bounds_are_refused(size_bytes: int) -> None:
    with pytest.raises(OptionsError, match="An image of"):
        build(HEADER, size_bytes=size_bytes)


def test_a_header_that_does_not_fit_is_refused() -> None:
    with pytest.raises(OptionsError, match="header"):
        build(Header(version="1", hw=["x" * 5_000]))


@given(st.binary(max_size=200))
def test_any_bytes_are_an_image_or_none(data: bytes) -> None:
    assert header_of(data) is None
    assert header_of(MAGIC + data) is None
    assert header_of(MAGIC + len(data).to_bytes(4, "big") + data) is None
