"""Any bytes at all are a format or a clear refusal, after bounded work; so are images of each format with some bytes changed, cut or put in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.errors import UsageError
from appliance.core.limits_updates import ARTIFACT_IMAGE_READ_BYTES_MAX, ARTIFACT_IMAGE_READ_COUNT_MAX
from appliance.management import manifest
from appliance.management.artifact_format import RECOGNIZERS, recognize
from appliance.management.artifact_image import ARTIFACT_FORMATS, ArtifactFormat
from appliance.management.canonical_json import canonical
from tests.artifact_kit import IMAGES, swu

SEEDS = {name: make() for name, make in IMAGES.items()}
HEADS = {name: data[:512] for name, data in SEEDS.items()}


class Counted:
    """An image that counts what is read of it, and refuses what is not in it."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.count = 0
        self.size = 0

    def read(self, offset: int, length: int) -> bytes:
        assert offset >= 0
        assert offset + length <= len(self.data)
        self.count += 1
        self.size += length
        return self.data[offset : offset + length]


def check(data: bytes, said: ArtifactFormat | None) -> None:
    image = Counted(data)
    try:
        found = recognize(len(data), image.read, said)
    except UsageError as refusal:
        assert refusal.code in ("artifact_format", "artifact_empty")
        assert refusal.hint
        assert len(refusal.message) < 500
    else:
        assert said in (None, found.format)
        assert all(len(text) <= 64 and text.isprintable() for text in (found.version, *found.compat))
        if found.digest is not None:
            assert 0 <= found.digest.offset <= found.digest.offset + found.digest.length <= len(data)
        if found.xor is not None:
            assert all(0 <= at <= at + length <= len(data) for at, length in found.xor.ranges)
    assert image.count <= len(RECOGNIZERS) * ARTIFACT_IMAGE_READ_COUNT_MAX
    assert image.size <= len(RECOGNIZERS) * ARTIFACT_IMAGE_READ_BYTES_MAX


said = st.none() | st.sampled_from(ARTIFACT_FORMATS)


@given(st.binary(max_size=2000), said)
def test_any_bytes(data: bytes, said: ArtifactFormat | None) -> None:
    check(data, said)


@given(st.sampled_from(list(HEADS.values())), st.binary(max_size=2000), said)
def test_any_bytes_behind_a_header(head: bytes, data: bytes, said: ArtifactFormat | None) -> None:
    check(head + data, said)


@given(
    st.sampled_from(list(SEEDS.values())),
    st.lists(st.tuples(st.integers(0, 12_000), st.binary(max_size=8), st.integers(0, 8)), max_size=6),
    st.integers(0, 13_000),
    said,
)
def test_images_with_bytes_changed_put_in_and_cut(
    data: bytes, changes: list[tuple[int, bytes, int]], end: int, said: ArtifactFormat | None
) -> None:
    made = bytearray(data)
    for at, put, left_out in changes:
        made[at : at + left_out] = put
    check(bytes(made[:end]) if end % 2 else bytes(made), said)


@given(st.text(alphabet='{}()[]="/*#\\:;, \nabsoftwareversion', max_size=300))
def test_any_description(text: str) -> None:
    check(swu("software = {" + text + "}"), "swu")


@pytest.mark.parametrize("text", ["/*" * 60_000, '"' * 120_001, '\\"' * 60_000, "(" * 120_000, "#" * 120_000])
def test_no_description_takes_more_time_than_it_is_long(text: str) -> None:
    check(swu(text), "swu")


@given(
    st.text(max_size=400)
    | st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5).map(
        canonical
    )
)
def test_any_text_is_a_manifest_in_its_one_form_or_none(text: str) -> None:
    try:
        found = manifest.parse(text)
    except UsageError as refusal:
        assert refusal.code == "manifest_invalid"
    else:
        assert found.text() == text
