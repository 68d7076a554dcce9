"""Images of artifacts in a backup: whole ones, each once, restored as they were."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.core.limits import MIB
from storage.artifacts.space import Room
from storage.artifacts.store import ArtifactStore
from storage.backup import restore
from storage.backup.artifact_files import artifact_files, digest_of_name
from storage.backup.verify import open_restored
from tests.backup_kit import Box, make_box
from tests.unit.test_storage_artifacts_store import DATA, SHA256, keep, upload
from ui import backup_work

NAME = f"artifacts/sha256/{SHA256[:2]}/{SHA256}"


def store_of(data_dir: Path) -> ArtifactStore:
    return ArtifactStore.opened(data_dir, Room(size_bytes_max=MIB, quota_bytes=9 * MIB, used_percent_max=100))


@pytest.fixture
def box(tmp_path: Path) -> Box:
    made = make_box(tmp_path / "box")
    store = store_of(made.data_dir)
    keep(store)
    upload(store, b"unfinished", "upload02")
    return made


def test_an_image_is_backed_up_once_and_comes_back(box: Box, tmp_path: Path) -> None:
    first = box.back_up(tmp_path / "usb").manifest
    assert [file.name for file in first.files if file.name.startswith("artifacts")] == [NAME]
    assert first.formats["artifacts"] == 1
    box.clock.advance(60_000)
    second = box.back_up(tmp_path / "usb").manifest
    assert second.new_bytes < len(DATA)
    repository = backup_work.open_repository(box.data_dir, box.keys, tmp_path / "usb")
    restored = backup_work.try_restore(repository, None, tmp_path)
    assert restored.backup_id == second.backup_id


def test_a_restored_image_can_be_given_out(box: Box, tmp_path: Path) -> None:
    made = box.back_up(tmp_path / "usb").manifest
    repository = backup_work.open_repository(box.data_dir, box.keys, tmp_path / "usb")
    restore.stage(repository, made, tmp_path / "restored")
    assert open_restored(tmp_path / "restored", made) == ()
    assert store_of(tmp_path / "restored").open_blob(SHA256).read(0, len(DATA)) == DATA
    assert (tmp_path / "restored" / NAME).stat().st_mode & 0o777 == 0o400


def test_an_image_that_was_damaged_already_is_named(box: Box, tmp_path: Path) -> None:
    path = box.data_dir / NAME
    path.chmod(0o600)
    path.write_bytes(b"other bytes")
    path.chmod(0o400)
    made = box.back_up(tmp_path / "usb").manifest
    repository = backup_work.open_repository(box.data_dir, box.keys, tmp_path / "usb")
    restore.stage(repository, made, tmp_path / "restored")
    assert open_restored(tmp_path / "restored", made) == (f"The image {SHA256[:12]}… is damaged.",)


def test_a_box_without_images_makes_backups_that_older_programs_know(tmp_path: Path) -> None:
    made = make_box(tmp_path / "box").back_up(tmp_path / "usb").manifest
    assert "artifacts" not in made.formats


def test_only_images_are_taken_and_one_that_goes_meanwhile_is_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "artifacts" / "sha256" / SHA256[:2]
    folder.mkdir(parents=True)
    (folder / f"{SHA256}.damaged").touch()
    (folder / SHA256).touch()
    (tmp_path / "artifacts" / "sha256" / "file").touch()
    seen = []

    def gone(path: Path, name: str) -> None:
        seen.append(name)
        raise FileNotFoundError

    artifact_files(tmp_path, gone)
    artifact_files(tmp_path / "nothing", gone)
    assert seen == [NAME]
    assert (
        digest_of_name(NAME),
        digest_of_name("log/telemetry/" + SHA256),
        digest_of_name("catalog.db"),
    ) == (SHA256, "", "")
