"""What the process takes and how much room its disk has."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio

from broker import process_numbers
from broker.process_numbers import ProcessNumbers, ProcessWatch, sample
from tests.broker_kit import wait_until


def test_memory_and_disk_of_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    numbers = sample(tmp_path / "a" / "b" / "checkpoint")
    assert 1 << 20 < numbers.memory_bytes <= numbers.memory_bytes_most
    disk = os.statvfs(tmp_path)
    assert numbers.disk_total_bytes == disk.f_blocks * disk.f_frsize
    assert 0 < numbers.disk_free_bytes <= numbers.disk_total_bytes


async def test_it_goes_on_looking_whatever_the_disk_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[ProcessNumbers | OSError] = [
        ProcessNumbers(memory_bytes=1),
        OSError("no disk"),
        ProcessNumbers(memory_bytes=3),
    ]
    seen: list[int] = []

    def looked(path: Path) -> ProcessNumbers:
        answer = answers[min(len(seen), 2)]
        seen.append(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    monkeypatch.setattr(process_numbers, "sample", looked)
    monkeypatch.setattr(process_numbers, "SAMPLE_INTERVAL_S", 0.01)
    watch = ProcessWatch(tmp_path)
    assert watch.newest == ProcessNumbers()
    async with trio.open_nursery() as nursery:
        await nursery.start(watch.run)
        assert watch.newest.memory_bytes == 1
        await wait_until(lambda: watch.newest.memory_bytes == 3)
        nursery.cancel_scope.cancel()
