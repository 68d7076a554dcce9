"""Folders that backups may lie in, and what is done in them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from appliance.core.config import BackupConfig
from appliance.core.errors import HomeportError, NotFound, UsageError
from tests.backup_kit import Box, make_box
from ui import backup_work


@pytest.fixture
def box(tmp_path: Path) -> Box:
    made = make_box(tmp_path / "box", keep=2)
    made.publish(3)
    media = tmp_path / "media"
    media.mkdir()
    return replace(made, config=replace(made.config, backup=BackupConfig(directories=(media,), keep=2)))


def test_folders_below_an_allowed_one_are_taken(box: Box, tmp_path: Path) -> None:
    backup_work.check_allowed(box.config, tmp_path / "media" / "usb")
    backup_work.check_allowed(box.config, tmp_path / "media" / "usb" / "homeport")


@pytest.mark.parametrize(
    "path", ["media", "elsewhere", "media/../elsewhere", "media/link/x", "box/data/x", "box", "media2/x"]
)
def test_others_are_refused(box: Box, tmp_path: Path, path: str) -> None:
    (tmp_path / "media" / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError) as found:
        backup_work.check_allowed(box.config, tmp_path / path)
    assert found.value.code == "backup_directory_refused"


def test_a_path_that_is_not_whole_is_refused(box: Box) -> None:
    with pytest.raises(UsageError):
        backup_work.check_allowed(box.config, Path("media/usb"))


def test_what_is_backed_up_never_holds_the_backup(box: Box, tmp_path: Path) -> None:
    for directory in (box.data_dir, box.data_dir / "usb", box.data_dir.parent, Path("/")):
        with pytest.raises(UsageError):
            backup_work.check_outside(directory, box.data_dir)
    backup_work.check_outside(tmp_path / "usb", box.data_dir)


def test_older_ones_go(box: Box, tmp_path: Path) -> None:
    names = []
    for _ in range(4):
        box.clock.advance(1_000)
        names.append(box.back_up(tmp_path / "usb").manifest.backup_id)
    repository = backup_work.open_repository(box.data_dir, box.keys, tmp_path / "usb")
    assert repository.ids() == names[2:]
    assert backup_work.verify_backups(repository, None).problems == ()


def test_what_can_not_be_pruned_is_a_note_and_the_backup_is_made(
    box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise HomeportError("The disk fails.")

    monkeypatch.setattr("storage.backup.repository.Repository.keep_newest", fail)
    made = box.back_up(tmp_path / "usb")
    assert made.note == "Older backups were not removed: The disk fails."
    assert made.manifest.log_next_seq == 4


def test_the_schedule_makes_no_repository(box: Box, tmp_path: Path) -> None:
    with pytest.raises(NotFound) as found:
        backup_work.back_up(box.config, box.keys, tmp_path / "usb", clock=box.clock, may_create=False)
    assert found.value.code == "backup_repository_missing"
    assert not (tmp_path / "usb").exists()


def test_lists_say_what_can_not_be_read(box: Box, tmp_path: Path) -> None:
    good = box.back_up(tmp_path / "usb").manifest
    (tmp_path / "usb" / "backups" / "20200101T000000Z-00000000.backup").write_bytes(b"torn")
    repository = backup_work.open_with_kit(tmp_path / "usb", box.kit)
    (first, made), (second, error) = backup_work.list_backups(repository)
    assert (first, made) == (good.backup_id, good)
    assert second.startswith("2020")
    assert isinstance(error, HomeportError)


def test_a_restore_is_tried_and_leaves_nothing(box: Box, tmp_path: Path) -> None:
    box.back_up(tmp_path / "usb")
    repository = backup_work.open_repository(box.data_dir, box.keys, tmp_path / "usb")
    into = tmp_path / "room"
    into.mkdir()
    assert backup_work.try_restore(repository, None, into).log_next_seq == 4
    assert not list(into.iterdir())


def test_removing_what_is_not_there(box: Box, tmp_path: Path) -> None:
    made = box.back_up(tmp_path / "usb").manifest
    repository = backup_work.open_repository(box.data_dir, box.keys, tmp_path / "usb")
    with pytest.raises(NotFound):
        backup_work.remove_backup(repository, "20200101T000000Z-00000000")
    assert backup_work.remove_backup(repository, made.backup_id) > 0
    with pytest.raises(NotFound, match="There is no backup in"):
        backup_work.find(repository, None)


def test_nothing_but_plain_files_is_asked_of_the_disk(
    box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """vfat and exFAT have no links and no modes, and don't tell a from A."""
    box.back_up(tmp_path / "usb")
    box.clock.advance(1_000)
    box.publish(2, start=3, size=9_000_000)

    def refuse_there(name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def asked(*arguments: Any, **named: Any) -> Any:
            words = [
                os.readlink(f"/proc/self/fd/{each}")
                if isinstance(each, int) and name[0] == "f"
                else str(each)
                for each in arguments
            ]
            assert not [word for word in words if str(tmp_path / "usb") in word], name
            return real(*arguments, **named)

        return asked

    for name in ("link", "symlink", "chmod", "fchmod", "chown", "fchown", "utime", "setxattr"):
        monkeypatch.setattr(f"os.{name}", refuse_there(name))
    box.back_up(tmp_path / "usb")
    monkeypatch.undo()
    names = [path.relative_to(tmp_path / "usb").as_posix() for path in (tmp_path / "usb").rglob("*")]
    assert len({name.casefold() for name in names}) == len(names)
    assert max((tmp_path / "usb" / name).stat().st_size for name in names) < 5 * 1024 * 1024
    assert all(set(name) <= set("0123456789abcdefghijklmnopqrstuvwxyzTZ-./") for name in names)
