"""The writer that puts together what many devices say at once."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing

from appliance.core.clock import ManualClock
from appliance.core.errors import Conflict, HomeportError, LimitExceeded, StorageError
from appliance.twins import writer as module
from appliance.twins.writer import BatchWriter
from storage.catalog import AsyncCatalog, Catalog


async def outcomes_of(writer: BatchWriter, *works: object) -> list[object]:
    """What each work gives or raises, when all wait before the writer begins."""
    outcomes: list[object] = [None] * len(works)

    async def ask(place: int) -> None:
        try:
            outcomes[place] = await writer.write(works[place])  # type: ignore[arg-type]
        except HomeportError as error:
            outcomes[place] = error.code

    async with trio.open_nursery() as nursery:
        async with trio.open_nursery() as asking:
            for place in range(len(works)):
                asking.start_soon(ask, place)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(writer.run)
        nursery.cancel_scope.cancel()
    return outcomes


async def test_what_is_wrong_with_one_fails_that_one_only(tmp_path: Path) -> None:
    def half(catalog: Catalog) -> None:
        catalog.add_device("half")
        raise Conflict("No.", code="no")

    async with AsyncCatalog.opened(tmp_path / "c.db", clock=ManualClock(), node_id=bytes(16)) as catalog:
        writer = BatchWriter(catalog)
        outcomes = await outcomes_of(
            writer, lambda c: c.add_device("a").device_id, half, lambda c: c.add_device("b").device_id
        )
        assert outcomes == ["a", "no", "b"]
        assert await catalog.read(lambda reader: reader.device_ids()) == ["a", "b"]
        counted = writer.statistics()
        assert (counted.written_total, counted.refused_total, counted.batches_total) == (2, 1, 1)


async def test_what_fails_the_transaction_fails_all_of_it(tmp_path: Path) -> None:
    def breaks(catalog: Catalog) -> None:
        raise StorageError("The disk.", code="disk_full")

    async with AsyncCatalog.opened(tmp_path / "c.db", clock=ManualClock(), node_id=bytes(16)) as catalog:
        outcomes = await outcomes_of(BatchWriter(catalog), lambda c: c.add_device("a"), breaks)
        assert outcomes == ["disk_full", "disk_full"]
        assert await catalog.read(lambda reader: reader.device_ids()) == []


async def test_a_batch_and_what_waits_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DEVICE_WRITE_BATCH_COUNT_MAX", 2)
    monkeypatch.setattr(module, "DEVICE_WRITE_WAITING_COUNT_MAX", 5)
    async with AsyncCatalog.opened(tmp_path / "c.db", clock=ManualClock(), node_id=bytes(16)) as catalog:
        writer = BatchWriter(catalog)
        outcomes = await outcomes_of(writer, *[lambda c: 1] * 6)
        assert sorted(map(str, outcomes)) == ["1"] * 5 + ["writes_waiting"]
        assert writer.statistics().batches_total == 3
        monkeypatch.setattr(module, "DEVICE_WRITE_WAITING_COUNT_MAX", 0)
        with pytest.raises(LimitExceeded):
            await writer.write(lambda c: 1)
