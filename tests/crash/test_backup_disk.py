"""A stick that is really full, that only reads, and that is pulled out; a data disk that has no room for a restore.

On a tmpfs of 8 MiB, which needs the right to mount.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core.config import Config, NodeConfig
from appliance.core.errors import HomeportError, NotFound
from appliance.run.restoring import restore_backup
from storage.backup import restore
from tests.backup_kit import Box, make_box
from tests.small_disk import small_disk
from ui import backup_work

SIZE_MIB = 8
BLOCKS = 30
BLOCK_BYTES = 400_000
"""12 MB, half as much again as there is room for, in few blocks: each is synced, and each of its segments again when it is sealed."""


def _run(*arguments: str) -> None:
    subprocess.run(arguments, check=True, capture_output=True)


@pytest.fixture
def stick(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "stick", size_mib=SIZE_MIB) as mount:
        yield mount


@pytest.fixture
def box(tmp_path: Path) -> Box:
    made = make_box(tmp_path / "box")
    made.publish(10)
    return made


def code_of(box: Box, directory: Path, *, may_create: bool = True) -> str:
    with pytest.raises(HomeportError) as found:
        backup_work.back_up(box.config, box.keys, directory, clock=box.clock, may_create=may_create)
    assert found.value.hint
    return found.value.code


def test_a_full_stick_keeps_what_it_has_and_takes_the_next_one_when_there_is_room(
    box: Box, stick: Path
) -> None:
    first = box.back_up(stick / "hp").manifest
    box.clock.advance(1_000)
    box.publish(BLOCKS, start=10, size=BLOCK_BYTES)
    assert code_of(box, stick / "hp") == "backup_disk_full"
    repository = backup_work.open_repository(box.data_dir, box.keys, stick / "hp")
    assert repository.ids() == [first.backup_id]
    assert backup_work.verify_backups(repository, None).problems == ()
    _run("mount", "-o", "remount,size=64m", str(stick))
    made = box.back_up(stick / "hp")
    assert made.manifest.log_next_seq == BLOCKS + 11
    assert not made.is_same_disk
    assert made.note == ""
    assert backup_work.verify_backups(repository, None).problems == ()
    assert not list((stick / "hp").rglob("*.part"))


def test_a_stick_that_only_reads_can_be_verified_and_restored_from_and_not_written(
    box: Box, stick: Path, tmp_path: Path
) -> None:
    box.back_up(stick / "hp")
    _run("mount", "-o", "remount,ro", str(stick))
    assert code_of(box, stick / "hp") == "backup_disk_refuses"
    repository = backup_work.open_with_kit(stick / "hp", box.kit)
    assert backup_work.verify_backups(repository, None).problems == ()
    for name in ("data", "run"):
        (tmp_path / "new" / name).mkdir(mode=0o700, parents=True)
    new = Config(
        node=NodeConfig(name="new", data_dir=tmp_path / "new" / "data", run_dir=tmp_path / "new" / "run")
    )
    assert restore_backup(new, stick / "hp", box.kit, clock=box.clock).manifest.log_next_seq == 11


def test_a_stick_that_was_pulled_out_leaves_an_empty_folder_in_which_nothing_is_made(
    box: Box, stick: Path
) -> None:
    box.back_up(stick / "hp")
    _run("umount", "-l", str(stick))
    assert code_of(box, stick / "hp", may_create=False) == "backup_repository_missing"
    assert not list(stick.iterdir())
    with pytest.raises(NotFound):
        backup_work.open_repository(box.data_dir, box.keys, stick / "hp")


def test_a_data_disk_without_room_is_refused_before_anything_is_written(
    box: Box, stick: Path, tmp_path: Path
) -> None:
    box.back_up(tmp_path / "usb")
    for name in ("data", "run"):
        (stick / name).mkdir(mode=0o700)
    new = Config(node=NodeConfig(name="new", data_dir=stick / "data", run_dir=stick / "run"))
    with pytest.raises(HomeportError) as found:
        restore_backup(new, tmp_path / "usb", box.kit, clock=box.clock)
    assert found.value.code == "restore_no_space"
    assert [path.name for path in new.node.data_dir.iterdir()] == ["node.lock"]


def test_a_data_disk_that_fills_up_meanwhile_is_as_it_was(
    box: Box, stick: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box.publish(BLOCKS, start=10, size=BLOCK_BYTES)
    box.back_up(tmp_path / "usb")
    for name in ("data", "run"):
        (stick / name).mkdir(mode=0o700)
    new = Config(node=NodeConfig(name="new", data_dir=stick / "data", run_dir=stick / "run"))
    with monkeypatch.context() as patched:
        patched.setattr(restore, "check_space", lambda *_: None)
        with pytest.raises(HomeportError) as found:
            restore_backup(new, tmp_path / "usb", box.kit, clock=box.clock)
    assert found.value.code == "restore_failed"
    assert not (new.node.data_dir / "catalog.db").exists()
    assert [path.name for path in new.node.data_dir.iterdir()] == ["node.lock"]
    _run("mount", "-o", "remount,size=256m", str(stick))
    assert (
        restore_backup(new, tmp_path / "usb", box.kit, clock=box.clock).manifest.log_next_seq == BLOCKS + 11
    )
