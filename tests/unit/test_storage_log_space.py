"""storage/log/space.py: the level of a file system, and the ballast."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from storage.log.disk_level import DiskLevel, DiskLevels
from storage.log.space import SpaceWatch
from tests.storage_log_kit import PretendedDisk

MIB = 1024 * 1024
TOTAL = PretendedDisk.TOTAL_BYTES


@pytest.fixture
def disk(tmp_path: Path) -> PretendedDisk:
    return PretendedDisk(tmp_path)


def watch(disk: PretendedDisk, ballast_mib: int = 10) -> SpaceWatch:
    return SpaceWatch(disk, disk.directory, DiskLevels(), ballast_mib * MIB)


def test_the_ballast_is_taken_when_there_is_plenty(disk: PretendedDisk) -> None:
    space = watch(disk)
    assert space.measure() is DiskLevel.OK
    assert space.held_bytes == 10 * MIB
    assert (disk.directory / "ballast").stat().st_blocks * 512 >= 10 * MIB
    assert space.used_ratio == pytest.approx(0.01)


def test_it_is_never_more_than_a_fiftieth_of_the_disk(disk: PretendedDisk) -> None:
    space = watch(disk, 500)
    space.measure()
    assert space.held_bytes == 20 * MIB


def test_it_is_given_up_when_hardly_anything_is_left_and_that_changes_no_level(disk: PretendedDisk) -> None:
    space = watch(disk)
    space.measure()
    disk.others_bytes = TOTAL - 12 * MIB
    assert space.measure() is DiskLevel.READ_ONLY
    assert (space.held_bytes, space.released_total) == (0, 1)
    assert space.used_ratio == pytest.approx(1 - 0.002)
    assert space.measure() is DiskLevel.READ_ONLY
    assert space.released_total == 1
    disk.others_bytes = TOTAL // 2
    assert space.measure() is DiskLevel.OK
    assert space.held_bytes == 10 * MIB


def test_whoever_finds_the_disk_full_has_it_given_up(disk: PretendedDisk) -> None:
    space = watch(disk)
    assert not space.release()
    space.measure()
    assert space.release()
    assert not space.release()
    assert (disk.directory / "ballast").stat().st_size == 0


def test_a_smaller_one_is_cut(disk: PretendedDisk) -> None:
    watch(disk, 15).measure()
    smaller = watch(disk, 5)
    assert smaller.held_bytes == 15 * MIB, "it is known after a restart"
    smaller.measure()
    assert (disk.directory / "ballast").stat().st_size == 5 * MIB


def test_none_is_taken_where_none_is_wanted(disk: PretendedDisk) -> None:
    space = watch(disk, 0)
    assert space.measure() is DiskLevel.OK
    assert not (disk.directory / "ballast").exists()


def test_a_disk_that_does_not_answer_keeps_its_level(disk: PretendedDisk) -> None:
    space = watch(disk)
    disk.others_bytes = int(TOTAL * 0.93)
    assert space.measure() is DiskLevel.HOLD
    disk.error = OSError(errno.EIO, "gone")
    with pytest.raises(OSError, match="gone"):
        space.measure()
    assert space.level is DiskLevel.HOLD
