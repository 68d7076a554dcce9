"""The believed time over restarts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from appliance.core.believed_time import BelievedTime, ClockDoubt
from appliance.core.clock import ManualClock
from appliance.core.errors import StorageError
from appliance.core.limits import CLOCK_SAVE_MS
from appliance.run.clock_file import (
    LOOK_S,
    ClockFile,
    open_believed_time,
    read_believed_ms,
    write_believed_ms,
)

NOW = 1_790_000_000_000


def test_what_was_written_is_read_and_what_can_not_be_is_nothing(tmp_path: Path) -> None:
    path = tmp_path / "clock.json"
    assert read_believed_ms(path) is None
    write_believed_ms(path, NOW)
    assert read_believed_ms(path) == NOW
    assert path.stat().st_mode & 0o777 == 0o600
    for text in (
        "",
        "{}",
        "[]",
        '{"believed_ms": "soon"}',
        '{"believed_ms": 5}',
        '{"believed_ms": 140737488355328}',
    ):
        path.write_text(text)
        assert read_believed_ms(path) is None


def test_a_file_that_is_there_and_can_not_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught:
        read_believed_ms(tmp_path)
    assert caught.value.code == "clock_file"


async def test_it_is_written_at_once_then_each_hour_and_when_the_clock_leaps(tmp_path: Path) -> None:
    path, clock = tmp_path / "clock.json", ManualClock(NOW)
    file = ClockFile.opened(path, clock)
    await file.look()
    assert json.loads(path.read_text()) == {"believed_ms": NOW}
    clock.advance(CLOCK_SAVE_MS - 1)
    await file.look()
    assert read_believed_ms(path) == NOW
    clock.advance(1)
    await file.look()
    assert read_believed_ms(path) == NOW + CLOCK_SAVE_MS
    clock.set_wall(2 * NOW)
    clock.advance(60_000)
    await file.look()
    assert read_believed_ms(path) == NOW + CLOCK_SAVE_MS + 2 * 60_000
    again = open_believed_time(path, clock)
    again.look()
    assert again.doubt is ClockDoubt.AHEAD


async def test_of_a_box_that_never_knew_the_time_nothing_is_written(tmp_path: Path) -> None:
    path, clock = tmp_path / "clock.json", ManualClock(0)
    file = ClockFile.opened(path, clock)
    await file.look()
    assert not path.exists()
    clock.set_wall(NOW)
    await file.look()
    assert read_believed_ms(path) == NOW


async def test_a_disk_that_fails_is_told_and_tried_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "away"
    file = ClockFile(folder / "clock.json", BelievedTime(ManualClock(NOW)), ManualClock(NOW))
    await file.look()
    folder.mkdir()
    await file.look()
    assert read_believed_ms(folder / "clock.json") == NOW


async def test_it_is_written_at_the_end_of_the_process(tmp_path: Path, autojump_clock: MockClock) -> None:
    path, clock = tmp_path / "clock.json", ManualClock(NOW)
    file = ClockFile.opened(path, clock)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(file.run)
        await trio.sleep(LOOK_S / 2)
        clock.advance(5_000)
        nursery.cancel_scope.cancel()
    assert read_believed_ms(path) == NOW + 5_000
