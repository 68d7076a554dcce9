"""storage/log/cursor_file.py: how far another process has read."""

from __future__ import annotations

import os
from pathlib import Path

from storage.log import OsDisk
from storage.log.cursor_file import SLOT_BYTES, CursorFile, read_cursor


def test_a_missing_file_needs_everything(tmp_path: Path) -> None:
    assert read_cursor(OsDisk(), tmp_path / "cursors" / "pipeline") == 0


def test_what_was_published_is_read_also_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "cursors" / "pipeline"
    cursor = CursorFile(OsDisk(), path)
    assert read_cursor(OsDisk(), path) == 0
    for seq in (5, 9, 9, 3):
        cursor.publish(seq)
        assert read_cursor(OsDisk(), path) == seq
    cursor.close()
    cursor = CursorFile(OsDisk(), path)
    cursor.publish(77)
    cursor.close()
    assert read_cursor(OsDisk(), path) == 77
    assert path.stat().st_size == 4096


def test_a_torn_slot_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "pipeline"
    cursor = CursorFile(OsDisk(), path)
    cursor.publish(5)
    cursor.publish(6)
    cursor.close()
    whole = path.read_bytes()
    for slot, left in ((2048, 6), (0, 5)):
        for at in range(slot, slot + SLOT_BYTES):
            path.write_bytes(whole[:at] + bytes((whole[at] ^ 0x10,)) + whole[at + 1 :])
            assert read_cursor(OsDisk(), path) == left
    path.write_bytes(bytes(4096))
    assert read_cursor(OsDisk(), path) == 0


def test_moving_it_needs_no_space(tmp_path: Path) -> None:
    path = tmp_path / "pipeline"
    cursor = CursorFile(OsDisk(), path)
    blocks = os.stat(path).st_blocks
    for seq in range(100):
        cursor.publish(seq)
    assert os.stat(path).st_blocks == blocks
    assert blocks * 512 >= 4096
    cursor.close()
