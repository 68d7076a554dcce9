"""Images of another box: named only when they are what they should be, gone on with after a cut, within what artifacts may take."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest

from storage.artifacts.blob_copies import BlobCopies
from storage.artifacts.layout import DAMAGED, blob_path
from storage.artifacts.space import Room
from storage.log.disk_level import Space

IMAGE = random.Random(1).randbytes(10_000)
NAME = hashlib.sha256(IMAGE).digest()


def copies_in(root: Path, *, quota_bytes: int = 100_000, used_percent_max: int = 90) -> BlobCopies:
    room = Room(
        size_bytes_max=50_000,
        quota_bytes=quota_bytes,
        used_percent_max=used_percent_max,
        space=lambda folder: Space(total_bytes=1_000_000, free_bytes=500_000),
    )
    return BlobCopies(root / "artifacts", room)


@pytest.fixture
def copies(tmp_path: Path) -> BlobCopies:
    return copies_in(tmp_path)


def test_an_image_has_its_name_when_it_is_whole(copies: BlobCopies, tmp_path: Path) -> None:
    assert copies.held() == copies.begun() == {}
    assert copies.write(NAME, len(IMAGE), 0, IMAGE[:4000]) == "more"
    assert copies.begun() == {NAME: 4000}
    assert copies.held() == {}
    assert copies.write(NAME, len(IMAGE), 4000, IMAGE[4000:]) == "whole"
    assert copies.held() == {NAME: len(IMAGE)}
    assert copies.begun() == {}
    assert copies.read(NAME, 9_990, 100) == (IMAGE[9_990:], len(IMAGE))
    path = blob_path(tmp_path / "artifacts", NAME.hex())
    assert path.stat().st_mode & 0o777 == 0o400
    assert path.stat().st_nlink == 1


def test_one_that_is_not_what_its_name_says_begins_anew(copies: BlobCopies) -> None:
    copies.write(NAME, len(IMAGE), 0, IMAGE[:4000])
    assert copies.write(NAME, len(IMAGE), 4000, bytes(6000)) == "wrong"
    assert copies.held() == copies.begun() == {}
    assert copies.write(NAME, len(IMAGE), 0, IMAGE) == "whole"


def test_what_was_written_beyond_an_offset_does_not_count(copies: BlobCopies) -> None:
    copies.write(NAME, len(IMAGE), 0, b"x" * 9000)
    copies.write(NAME, len(IMAGE), 0, IMAGE[:4000])
    assert copies.begun() == {NAME: 4000}
    assert copies.write(NAME, len(IMAGE), 4000, IMAGE[4000:]) == "whole"


def test_a_whole_one_replaces_a_damaged_one(copies: BlobCopies, tmp_path: Path) -> None:
    path = blob_path(tmp_path / "artifacts", NAME.hex())
    path.parent.mkdir(parents=True)
    damaged = path.with_name(path.name + DAMAGED)
    damaged.write_bytes(b"rot")
    assert copies.held() == {}
    assert copies.write(NAME, len(IMAGE), 0, IMAGE) == "whole"
    assert not damaged.exists()


def test_what_has_no_room_is_not_kept(tmp_path: Path) -> None:
    assert copies_in(tmp_path, quota_bytes=9_000).write(NAME, len(IMAGE), 0, IMAGE) == "failed"
    assert copies_in(tmp_path, used_percent_max=40).write(NAME, len(IMAGE), 0, IMAGE) == "failed"
    assert copies_in(tmp_path).write(NAME, 60_000, 0, IMAGE) == "failed"
    assert copies_in(tmp_path).held() == {}


def test_what_nobody_wants_any_more_goes(copies: BlobCopies) -> None:
    copies.write(NAME, len(IMAGE), 0, IMAGE[:10])
    copies.forget({NAME: 5})
    assert copies.begun() == {NAME: 10}
    copies.forget({})
    assert copies.begun() == {}


def test_what_is_not_here_is_not_given(copies: BlobCopies) -> None:
    assert copies.read(NAME, 0, 100) == (None, 0)
