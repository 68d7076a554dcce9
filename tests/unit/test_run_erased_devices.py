"""An erasure in the catalog is known to the pipeline a moment later."""

from __future__ import annotations

from pathlib import Path

import trio
import trio.testing

from appliance.core.clock import SystemClock
from appliance.management.audit import Act
from appliance.run.erased_devices import ErasedDevices
from storage.catalog import AsyncCatalog


async def test_erasures_are_followed(tmp_path: Path) -> None:
    async with AsyncCatalog.opened(
        tmp_path / "catalog.db", clock=SystemClock(), node_id=bytes(16)
    ) as catalog:
        erased = await ErasedDevices.opened(catalog)
        assert erased.positions() == {}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(erased.run)
            await trio.testing.wait_all_tasks_blocked()
            await catalog.write(
                lambda writer: writer.request_erasure("gone", epoch=1, before_seq=7),
                by=Act(action="device.erase"),
            )
            with trio.fail_after(60):
                while not erased.positions():  # noqa: ASYNC110 - nobody is told; the pipeline asks for each batch
                    await trio.sleep(0.01)
            assert erased.positions() == {"gone": (1, 7)}
            nursery.cancel_scope.cancel()
