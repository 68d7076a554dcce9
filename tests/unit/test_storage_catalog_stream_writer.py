"""Each row of the outbox is in the stream once, in order, whatever stops its writer."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import LogBroken, LogFull
from storage.catalog import Catalog
from storage.log.verify import verify
from tests.catalog_stream_kit import carry_over, open_stream, positions_in
from tests.storage_log_kit import NODE_ID, HookedDisk


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    found = Catalog.open(tmp_path / "catalog.db", clock=ManualClock(), node_id=NODE_ID)
    yield found
    found.close()


def change(catalog: Catalog, count: int, name: str = "d") -> None:
    for number in range(count):
        catalog.add_device(f"{name}{number}")


def waiting(catalog: Catalog) -> list[int]:
    return [row.position for row in catalog.outbox_after(0)]


@pytest.mark.parametrize("limit", [1, 3, 1000])
def test_everything_is_there_once(catalog: Catalog, tmp_path: Path, limit: int) -> None:
    change(catalog, 10)
    expected = waiting(catalog)
    stream = open_stream(tmp_path / "log")
    carry_over(catalog, stream, limit=limit)
    assert positions_in(tmp_path / "log") == expected
    assert catalog.outbox_count() == 0
    assert stream.statistics().records_total == len(expected)
    stream.close()
    assert verify(tmp_path / "log").ok


def test_a_row_that_did_not_leave_the_outbox_is_not_written_again(catalog: Catalog, tmp_path: Path) -> None:
    change(catalog, 5)
    expected = waiting(catalog)
    stream = open_stream(tmp_path / "log")
    carry_over(catalog, stream, forget=False)
    stream.close()
    again = open_stream(tmp_path / "log")
    assert again.position == expected[-1]
    change(catalog, 3, "later")
    carry_over(catalog, again)
    again.close()
    assert positions_in(tmp_path / "log") == [*expected, *range(expected[-1] + 1, expected[-1] + 7)]


def test_the_position_is_found_in_earlier_segments_too(catalog: Catalog, tmp_path: Path) -> None:
    change(catalog, 2)
    stream = open_stream(tmp_path / "log")
    carry_over(catalog, stream)
    position = stream.position
    stream._writer._roll(0)  # an empty segment is the newest now
    stream.close()
    again = open_stream(tmp_path / "log")
    assert again.position == position
    again.close()


def test_an_older_catalog_goes_on_behind_what_the_log_has(catalog: Catalog, tmp_path: Path) -> None:
    change(catalog, 5)
    stream = open_stream(tmp_path / "log")
    carry_over(catalog, stream)
    old = Catalog.open(tmp_path / "old.db", clock=ManualClock(), node_id=NODE_ID)
    old.outbox_raise(stream.position)
    old.outbox_raise(3)
    old.add_device("after")
    assert min(row.position for row in old.outbox_after(0)) == stream.position + 1
    carry_over(old, stream)
    assert positions_in(tmp_path / "log") == list(range(1, stream.position + 1))
    old.close()
    stream.close()


def test_a_full_disk_is_gone_on_from(catalog: Catalog, tmp_path: Path) -> None:
    disk = HookedDisk()
    full = False

    def hook(operation: str, name: str) -> None:
        if full and operation == "allocate":
            raise OSError(errno.ENOSPC, "no space left on device")

    disk.hook = hook
    stream = open_stream(tmp_path / "log", disk=disk)
    change(catalog, 3)
    expected = waiting(catalog)
    active = stream._writer._active
    assert active is not None
    active.limit = active.offset
    full = True
    with pytest.raises(LogFull):
        carry_over(catalog, stream)
    assert waiting(catalog) == expected
    full = False
    carry_over(catalog, stream)
    stream.close()
    assert positions_in(tmp_path / "log") == expected


def test_a_disk_that_fails_at_any_call_loses_and_doubles_nothing(tmp_path: Path) -> None:
    def run(at: int, root: Path) -> int:
        root.mkdir()
        catalog = Catalog.open(root / "catalog.db", clock=ManualClock(), node_id=NODE_ID)
        disk, calls = HookedDisk(), 0

        def hook(operation: str, name: str) -> None:
            nonlocal calls
            if operation in ("pwritev", "fdatasync", "fsync", "fsync_directory", "rename"):
                calls += 1
                if calls == at:
                    raise OSError(errno.EIO, "injected")

        disk.hook = hook
        for part in range(3):
            change(catalog, 2, f"p{part}-")
            try:
                stream = open_stream(root / "log", disk=disk)
            except LogBroken:
                continue
            try:
                carry_over(catalog, stream, limit=3)
            except LogBroken:
                pass
            finally:
                stream.close()
        stream = open_stream(root / "log")
        carry_over(catalog, stream)
        stream.close()
        catalog.close()
        found = positions_in(root / "log")
        assert found == list(range(1, len(found) + 1)), at
        assert len(found) >= 6
        return calls

    count = run(0, tmp_path / "counting")
    assert count > 15
    for at in range(1, count + 1):
        run(at, tmp_path / str(at))
