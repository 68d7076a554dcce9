"""Uploads: appended to, resumed after any cut, bounded before the first byte and while they come."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.core.errors import Conflict, HomeportError, LimitExceeded, NotFound, StorageError
from appliance.core.limits import MIB
from appliance.core.limits_updates import ARTIFACT_UPLOAD_COUNT_MAX, UPLOAD_SYNC_BYTES
from storage.artifacts.space import Room
from storage.artifacts.store import ArtifactStore
from storage.log.disk_level import Space
from tests.small_disk import small_disk

ID = "upload01"


def opened(tmp_path: Path, **changes: int | Callable[[Path], Space]) -> ArtifactStore:
    limits: dict[str, int | Callable[[Path], Space]] = {
        "size_bytes_max": 16 * MIB,
        "quota_bytes": 32 * MIB,
        "used_percent_max": 100,
    }
    return ArtifactStore.opened(tmp_path, Room(**{**limits, **changes}))  # type: ignore[arg-type]


def test_bytes_are_appended_where_the_last_ones_ended(tmp_path: Path) -> None:
    uploads = opened(tmp_path).uploads
    uploads.create(ID, 10, promised_bytes=0)
    assert uploads.offset(ID) == 0
    assert uploads.append(ID, 0, b"abcd", size_bytes=10) == 4
    with pytest.raises(Conflict, match="has 4 bytes, and yours begin at 2") as caught:
        uploads.append(ID, 2, b"cd", size_bytes=10)
    assert caught.value.code == "upload_offset"
    assert uploads.append(ID, 4, b"efghij", size_bytes=10) == 10
    assert uploads.sync(ID) == 10
    assert uploads.read(ID, 3, 4) == b"defg"
    with pytest.raises(LimitExceeded) as too_long:
        uploads.append(ID, 10, b"k", size_bytes=10)
    assert too_long.value.code == "upload_too_long"
    uploads.remove(ID)
    uploads.remove(ID)


def test_a_new_start_cuts_back_to_what_is_surely_there(tmp_path: Path) -> None:
    uploads = opened(tmp_path).uploads
    size = UPLOAD_SYNC_BYTES + 1000
    uploads.create(ID, size, promised_bytes=0)
    uploads.append(ID, 0, bytes(size), size_bytes=size)
    assert opened(tmp_path).uploads.offset(ID) == UPLOAD_SYNC_BYTES


def test_what_is_a_blob_already_is_not_cut_back(tmp_path: Path) -> None:
    """A node that died between the name and its row: the upload is finished again."""
    store = opened(tmp_path)
    store.uploads.create(ID, 5, promised_bytes=0)
    store.uploads.append(ID, 0, b"hello", size_bytes=5)
    with store.finishing(ID, size_bytes=5, sha256="") as (found, _):
        pass
    again = opened(tmp_path)
    assert again.open_blob(found.sha256).read(0, 9) == b"hello"
    with again.finishing(ID, size_bytes=5, sha256="") as (same, _):
        assert same == found


def test_an_upload_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    uploads = opened(tmp_path).uploads
    for ask in (
        lambda: uploads.offset(ID),
        lambda: uploads.append(ID, 0, b"x", size_bytes=1),
        lambda: uploads.sync(ID),
        lambda: uploads.read(ID, 0, 1),
        lambda: uploads.checked(ID, size_bytes=1, sha256=""),
    ):
        with pytest.raises(NotFound) as caught:
            ask()
        assert caught.value.code == "upload_unknown"


def refusal(act: Callable[[], object]) -> tuple[type[HomeportError], str]:
    with pytest.raises(HomeportError) as caught:
        act()
    assert caught.value.hint
    return type(caught.value), caught.value.code


def test_room_is_looked_at_before_the_first_byte(tmp_path: Path) -> None:
    uploads = opened(tmp_path).uploads
    assert refusal(lambda: uploads.create(ID, 16 * MIB + 1, promised_bytes=0)) == (
        LimitExceeded,
        "artifact_too_large",
    )
    assert refusal(lambda: uploads.create(ID, 16 * MIB, promised_bytes=17 * MIB)) == (
        LimitExceeded,
        "artifact_quota",
    )
    nearly_full = Space(total_bytes=100 * MIB, free_bytes=15 * MIB)
    full = opened(tmp_path / "full", used_percent_max=90, space=lambda _: nearly_full).uploads
    full.create(ID, 4 * MIB, promised_bytes=0)
    assert refusal(lambda: full.create("upload02", 6 * MIB, promised_bytes=4 * MIB)) == (
        StorageError,
        "disk_full",
    )
    assert list(full.sizes()) == [ID]


def test_room_is_looked_at_while_bytes_come(tmp_path: Path) -> None:
    left = [20 * MIB]
    space = lambda _: Space(total_bytes=100 * MIB, free_bytes=left[0])  # noqa: E731
    uploads = opened(tmp_path, used_percent_max=90, space=space).uploads
    uploads.create(ID, 1 * MIB, promised_bytes=0)
    uploads.append(ID, 0, b"abc", size_bytes=MIB)
    left[0] = 1 * MIB
    assert refusal(lambda: uploads.append(ID, 3, b"d", size_bytes=MIB)) == (StorageError, "disk_full")
    left[0] = 20 * MIB
    assert uploads.append(ID, 3, b"d", size_bytes=MIB) == 4


def test_a_disk_that_is_full_keeps_what_was_written(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", size_mib=2) as disk:
        uploads = opened(disk).uploads
        # An upload that began while there was room for it.
        (disk / "artifacts" / "uploads" / ID).touch()
        uploads.append(ID, 0, bytes(MIB), size_bytes=8 * MIB)
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(MIB // 2))
        assert refusal(lambda: uploads.append(ID, MIB, bytes(MIB), size_bytes=8 * MIB)) == (
            StorageError,
            "disk_full",
        )
        there = uploads.offset(ID)
        assert MIB <= there < 2 * MIB
        ballast.unlink()
        assert uploads.append(ID, there, b"x", size_bytes=8 * MIB) == there + 1


def test_only_so_many_are_unfinished(tmp_path: Path) -> None:
    uploads = opened(tmp_path).uploads
    for number in range(ARTIFACT_UPLOAD_COUNT_MAX):
        uploads.create(f"upload{number:04}", 1, promised_bytes=0)
    assert refusal(lambda: uploads.create(ID, 1, promised_bytes=0)) == (LimitExceeded, "upload_count")


def test_a_disk_that_fails_is_said(tmp_path: Path) -> None:
    uploads = opened(tmp_path).uploads
    folder = tmp_path / "artifacts" / "uploads"
    (folder / ID).mkdir()
    for act in (
        lambda: uploads.create(ID, 1, promised_bytes=0),
        lambda: uploads.append(ID, 0, b"x", size_bytes=1),
        lambda: uploads.sync(ID),
        lambda: uploads.read(ID, 0, 1),
        lambda: uploads.remove(ID),
    ):
        assert refusal(act) == (StorageError, "artifact_disk_failed")
    folder.rename(tmp_path / "gone")
    assert refusal(uploads.sizes) == (StorageError, "artifact_disk_failed")
    space_failed = opened(tmp_path / "other", space=lambda folder: (_ for _ in ()).throw(OSError(5, "no")))
    assert refusal(lambda: space_failed.uploads.create(ID, 1, promised_bytes=0)) == (
        StorageError,
        "artifact_disk_failed",
    )
