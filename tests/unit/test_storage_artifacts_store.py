"""Bytes by their digest: named only when they are whole, never given out when they are others."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import pytest

from appliance.core.errors import Conflict, NotFound, StorageError
from appliance.core.limits import MIB
from storage.artifacts.space import Room
from storage.artifacts.store import ArtifactStore

DATA = b"firmware" * 1000
SHA256 = hashlib.sha256(DATA).hexdigest()


def room(*, size_mib: int = 16, quota_mib: int = 32, percent: int = 100) -> Room:
    return Room(size_bytes_max=size_mib * MIB, quota_bytes=quota_mib * MIB, used_percent_max=percent)


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore.opened(tmp_path, room())


def upload(store: ArtifactStore, data: bytes = DATA, upload_id: str = "upload01") -> str:
    store.uploads.create(upload_id, len(data), promised_bytes=0)
    store.uploads.append(upload_id, 0, data, size_bytes=len(data))
    return upload_id


def keep(store: ArtifactStore, data: bytes = DATA, upload_id: str = "upload01") -> str:
    upload(store, data, upload_id)
    with store.finishing(upload_id, size_bytes=len(data), sha256="") as (found, _):
        store.uploads.remove(upload_id)
        return found.sha256


def blob_of(tmp_path: Path) -> Path:
    return tmp_path / "artifacts" / "sha256" / SHA256[:2] / SHA256


@pytest.mark.parametrize("is_blob_left", [True, False])
def test_who_was_interrupted_finishes_again_without_being_root(
    store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_blob_left: bool
) -> None:
    """The image is read-only from its link on, which root does not notice and the service's own user does."""
    upload(store)
    with pytest.raises(InterruptedError), store.finishing("upload01", size_bytes=len(DATA), sha256=""):
        raise InterruptedError
    if not is_blob_left:
        store.remove([SHA256])
    open_file = os.open

    def open_as_user(path: Path, flags: int, *more: int) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR) and not path.stat().st_mode & 0o200:
            raise PermissionError(13, "Permission denied", str(path))
        return open_file(path, flags, *more)

    monkeypatch.setattr(os, "open", open_as_user)
    again = ArtifactStore.opened(tmp_path, room())
    with again.finishing("upload01", size_bytes=len(DATA), sha256=SHA256) as (found, blob):
        assert found.sha256 == SHA256
        assert blob.read(0, len(DATA)) == DATA


def test_an_upload_becomes_bytes_under_their_digest(store: ArtifactStore, tmp_path: Path) -> None:
    upload(store)
    with store.finishing("upload01", size_bytes=len(DATA), sha256=SHA256) as (found, blob):
        assert (found.sha256, found.sha1) == (SHA256, hashlib.sha1(DATA).hexdigest())
        assert blob.read(0, 1 << 30) == DATA
        store.uploads.remove("upload01")
    assert blob_of(tmp_path).read_bytes() == DATA
    assert blob_of(tmp_path).stat().st_mode & 0o777 == 0o400
    assert (tmp_path / "artifacts").stat().st_mode & 0o777 == 0o700
    blob = store.open_blob(SHA256)
    assert (blob.size_bytes, blob.sha256) == (len(DATA), SHA256)
    assert (blob.read(3, 10), blob.read(len(DATA) - 2, 10), blob.read(len(DATA), 10)) == (
        DATA[3:13],
        DATA[-2:],
        b"",
    )
    found_now = store.statistics()
    assert (found_now.blob_count, found_now.blob_bytes, found_now.upload_count) == (1, len(DATA), 0)


def test_the_same_bytes_take_no_second_place(store: ArtifactStore) -> None:
    keep(store)
    keep(store, upload_id="upload02")
    assert store.names() == {SHA256: len(DATA)}


def test_two_finish_the_same_bytes_at_once(store: ArtifactStore) -> None:
    for name in ("upload01", "upload02"):
        upload(store, upload_id=name)
    meet = threading.Barrier(2)
    found: list[bytes] = []

    def finish(name: str) -> None:
        meet.wait(10)
        with store.finishing(name, size_bytes=len(DATA), sha256=SHA256) as (_, blob):
            found.append(blob.read(0, len(DATA)))
            store.uploads.remove(name)

    threads = [threading.Thread(target=finish, args=(name,)) for name in ("upload01", "upload02")]
    for each in threads:
        each.start()
    for each in threads:
        each.join(20)
    assert found == [DATA, DATA]
    assert store.open_blob(SHA256).read(0, len(DATA)) == DATA


def test_what_is_not_whole_or_is_something_else_gets_no_name(store: ArtifactStore) -> None:
    upload(store)
    for size, sha256, code in (
        (len(DATA) + 1, "", "upload_incomplete"),
        (len(DATA), "ab" * 32, "artifact_sha256_differs"),
    ):
        with pytest.raises(Conflict) as caught, store.finishing("upload01", size_bytes=size, sha256=sha256):
            pytest.fail("finished")
        assert caught.value.code == code
    assert store.names() == {}
    assert store.uploads.offset("upload01") == len(DATA)


def test_bytes_that_changed_are_never_given_out(store: ArtifactStore, tmp_path: Path) -> None:
    keep(store)
    path = blob_of(tmp_path)
    path.chmod(0o600)
    path.write_bytes(DATA[:-1] + b"X")
    for _ in range(2):
        with pytest.raises(StorageError) as caught:
            store.open_blob(SHA256)
        assert caught.value.code == "artifact_damaged"
    assert store.damaged() == {SHA256}
    assert store.statistics().damaged_count == 1
    keep(store, upload_id="upload02")  # the same file again takes its place
    assert store.damaged() == frozenset()
    assert store.open_blob(SHA256).read(0, len(DATA)) == DATA


def test_bytes_that_became_fewer_while_they_were_read_are_damage(
    store: ArtifactStore, tmp_path: Path
) -> None:
    keep(store)
    blob = store.open_blob(SHA256)
    blob_of(tmp_path).chmod(0o600)
    with blob_of(tmp_path).open("rb+") as file:
        file.truncate(10)
    with pytest.raises(StorageError, match="damaged"):
        blob.read(0, len(DATA))


def test_a_blob_that_was_damaged_while_it_lay_there_is_found_by_a_look(
    store: ArtifactStore, tmp_path: Path
) -> None:
    keep(store)
    store.check_blob(SHA256)
    blob_of(tmp_path).chmod(0o600)
    blob_of(tmp_path).write_bytes(b"x")
    with pytest.raises(StorageError, match="damaged"):
        store.check_blob(SHA256)


def test_what_is_not_there_is_not_found(store: ArtifactStore) -> None:
    for name in ("ab" * 32, "../../etc/passwd", ""):
        with pytest.raises(NotFound) as caught:
            store.open_blob(name)
        assert caught.value.code == "artifact_bytes_missing"
    with pytest.raises(NotFound):
        store.check_blob("ab" * 32)


def test_removing_leaves_what_is_being_finished(store: ArtifactStore) -> None:
    keep(store)
    upload(store, upload_id="upload02")
    with store.finishing("upload02", size_bytes=len(DATA), sha256=""):
        assert store.remove([SHA256]) == 0
    blob = store.open_blob(SHA256)
    assert store.remove([SHA256, "ab" * 32]) == len(DATA)
    assert store.names() == {}
    with pytest.raises(NotFound):
        blob.read(0, 1)
    store.close()


def test_files_stay_few_and_open_for_those_who_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.artifacts.store.ARTIFACT_OPEN_FILE_COUNT_MAX", 1)
    store = ArtifactStore.opened(tmp_path, room())
    names = [keep(store, b"%d" % number * 10, f"upload0{number}") for number in range(3)]
    blobs = [store.open_blob(name) for name in names]
    for _ in range(2):
        assert [blob.read(0, 2) for blob in blobs] == [b"00", b"11", b"22"]
    store.close()


def test_a_disk_that_fails_is_said(store: ArtifactStore, tmp_path: Path) -> None:
    keep(store)
    (tmp_path / "artifacts" / "sha256" / SHA256[:2] / SHA256).unlink()
    (tmp_path / "artifacts" / "sha256" / SHA256[:2] / SHA256).mkdir()
    with pytest.raises(StorageError) as caught:
        store.open_blob(SHA256)
    assert caught.value.code == "artifact_disk_failed"
    (tmp_path / "artifacts" / "sha256").rename(tmp_path / "gone")
    with pytest.raises(StorageError):
        store.names()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError):
        ArtifactStore.opened(tmp_path / "file", room())
