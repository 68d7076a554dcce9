"""What is not yet safe elsewhere stays in the log, while the disk has room for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.core.errors import StorageError
from appliance.run.broker_process import copies_need
from storage.fleet.roster_file import fleet_folder
from storage.fleet.safe_file import SAFE, read_unsafe_from, write_safe
from storage.log.disk_level import DiskLevel, DiskLevels
from storage.log.housekeeping import KeepingRules
from tests.storage_log_kit import PretendedDisk, append_blocks, open_writer

RULES = KeepingRules(levels=DiskLevels(), ballast_bytes=0, keep_percent=0, quota_percent=0)


def test_what_is_not_safe_is_held_while_there_is_room(tmp_path: Path) -> None:
    disk = PretendedDisk(tmp_path / "log")
    writer = open_writer(disk.directory, disk=disk)
    append_blocks(writer, 3)
    head = writer.head.next_seq
    writer.keep_house(RULES)
    assert copies_need(writer, tmp_path) == head, "nobody copies it"
    fleet_folder(tmp_path).mkdir()
    write_safe(tmp_path, b'{"at_ms": 1, "marks": {}, "worst": {}}')
    assert copies_need(writer, tmp_path) == head, "there is nobody on whom a copy would be safe"
    write_safe(tmp_path, b'{"unsafe_from": {"telemetry": 2}}')
    assert copies_need(writer, tmp_path) == 2
    disk.others_bytes = int(disk.TOTAL_BYTES * 0.86)
    writer.keep_house(RULES)
    assert writer.housekeeping.level is DiskLevel.LOW
    assert copies_need(writer, tmp_path) == head
    writer.close()


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"[" * 5_000, b'{"unsafe_from": 3}', b'{"unsafe_from": {"telemetry": "2"}}']
)
def test_a_damaged_file_is_said_and_holds_everything(tmp_path: Path, data: bytes) -> None:
    """Who can't say what it needs needs all: storage/log/housekeeping.py."""
    fleet_folder(tmp_path).mkdir()
    write_safe(tmp_path, data)
    with pytest.raises(StorageError, match="damaged"):
        read_unsafe_from(tmp_path, "telemetry")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (fleet_folder(tmp_path) / SAFE).mkdir(parents=True)
    with pytest.raises(OSError, match=SAFE):
        read_unsafe_from(tmp_path, "telemetry")
