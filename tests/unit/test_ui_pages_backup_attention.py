"""What the Overview says of backups."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from storage.catalog.backups import BackupRow
from ui.backup_desk import BackupStatistics
from ui.pages.backup_attention import backup_attention

HOUR_MS = 3_600_000
NOW_MS = 1_000 * HOUR_MS


def row(age_h: int) -> BackupRow:
    return BackupRow(
        backup_id="b",
        directory="/x",
        state="done",
        started_at_ms=NOW_MS - age_h * HOUR_MS,
        finished_at_ms=NOW_MS,
        verified_at_ms=None,
        file_count=1,
        bytes=1,
        new_bytes=1,
        detail="",
    )


def lines(**changes: Any) -> list[tuple[str, str]]:
    fields: dict[str, Any] = {
        "newest": row(1),
        "made_total": 1,
        "failed_total": 0,
        "verify_failed_total": 0,
        "state": "waiting",
        "directory": Path("/media/usb"),
        "due_at_ms": None,
        "last_problem": "",
        "running": None,
        **changes,
    }
    found = backup_attention(BackupStatistics(**fields), now_ms=NOW_MS, interval_hours=24)
    return [(line.tone, line.text) for line in found]


def test_all_is_well() -> None:
    assert lines() == []
    assert lines(directory=None, newest=None, state="off") == []
    assert lines(newest=row(48)) == []


@pytest.mark.parametrize(
    ("changes", "tone", "text"),
    [
        ({"newest": row(49)}, "bad", "49 h old"),
        ({"newest": None}, "warn", "No backup has been made yet"),
        ({"state": "away"}, "warn", "not connected"),
        ({"last_problem": "The disk is full."}, "bad", "The disk is full."),
    ],
)
def test_what_is_not(changes: dict[str, Any], tone: str, text: str) -> None:
    ((found_tone, found),) = lines(**changes)
    assert found_tone == tone
    assert text in found
