"""What is safe is on the disk some seconds later, and a file that is none is as if there were none."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from appliance.core.clock import ManualClock
from replication import safe_keeper
from replication.gossip.watermark import Watermark
from replication.safe_keeper import SafeKeeper
from storage.fleet.roster_file import fleet_folder
from storage.fleet.safe_file import SAFE, read_safe, read_unsafe_from
from storage.replicas.streams import StreamId

US, MATE = "aa" * 16, "bb" * 16
STREAM = StreamId(US, "telemetry")


async def until_kept(data_dir: Path) -> None:
    with trio.fail_after(60):
        while read_safe(data_dir) is None:  # noqa: ASYNC110 - a thread writes it
            await trio.sleep(0.005)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safe_keeper, "INTERVAL_S", 0.005)


async def test_it_goes_on_where_it_was(tmp_path: Path) -> None:
    fleet_folder(tmp_path).mkdir()
    assert read_safe(tmp_path) is None
    clock = ManualClock(mono_ms=50_000)
    keeper = SafeKeeper(US, tmp_path, None, clock=clock)
    mark = keeper.book.marks[STREAM] = Watermark(US)
    mark.reached(9, b"h" * 32, 10_000)
    mark.store(MATE, 4)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeper.run, trio.CapacityLimiter(1), lambda: {"telemetry": 4})
        await until_kept(tmp_path)
        nursery.cancel_scope.cancel()
    assert read_unsafe_from(tmp_path, "telemetry") == 4
    assert read_unsafe_from(tmp_path, "catalog") is None
    later = ManualClock(now_ms=clock.now_ms() + 7_000, mono_ms=3)
    after = SafeKeeper(US, tmp_path, read_safe(tmp_path), clock=later)
    assert after.away_ms == 7_000
    assert after.book.marks[STREAM].stored == {MATE: 4}
    assert after.book.marks[STREAM].age_ms(4, 3) == 47_000


async def test_a_folder_that_is_gone_ends_nothing(tmp_path: Path) -> None:
    keeper = SafeKeeper(US, tmp_path, None, clock=ManualClock())
    with trio.move_on_after(0.1):
        await keeper.run(trio.CapacityLimiter(1))
    assert not (fleet_folder(tmp_path) / SAFE).exists()


@pytest.mark.parametrize("data", [b"", b"{}", b'{"at_ms": -1, "marks": {}, "worst": {}}'])
def test_a_file_that_is_none(tmp_path: Path, data: bytes) -> None:
    keeper = SafeKeeper(US, tmp_path, data, clock=ManualClock())
    assert (keeper.book.marks, keeper.away_ms) == ({}, 0)
