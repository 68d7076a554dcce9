"""ui/pages/catalog_attention.py: what the catalog's connections ask an operator to look at."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio
import trio.testing

from appliance.core.clock import ManualClock
from appliance.core.errors import Unavailable
from appliance.core.limits import CATALOG_READER_COUNT, POOL_ALARM_COUNT
from storage.catalog import AsyncCatalog, Catalog, LookupCache
from ui.pages.catalog_attention import catalog_attention


async def test_nothing_is_said_while_all_is_well_and_each_trouble_once(tmp_path: Path) -> None:
    clock, gate = ManualClock(), threading.Event()

    def load(catalog: Catalog, keys: Sequence[str]) -> dict[str, str]:
        raise Unavailable("It is locked.", hint="Wait.")

    def stuck(_catalog: Catalog) -> bool:
        return gate.wait(30)

    async with (
        AsyncCatalog.opened(tmp_path / "catalog.db", clock=clock, node_id=bytes(16)) as catalog,
        trio.open_nursery() as nursery,
    ):
        catalog.watch.look()
        assert catalog_attention(catalog) == ()
        for _ in range(CATALOG_READER_COUNT):
            nursery.start_soon(catalog.read, stuck)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(POOL_ALARM_COUNT):
            clock.advance(1_000)
            catalog.watch.look()
        cache: LookupCache[str, str] = LookupCache(
            "sessions", catalog, load, rows_of=lambda key, _: (), clock=clock
        )
        with pytest.raises(Unavailable):
            await cache.get("a")
        lines = catalog_attention(catalog)
        assert [line.tone for line in lines] == ["bad", "warn", "bad"]
        assert "served from memory" in lines[0].text
        assert "100 % of the catalog's connections (api)" in lines[1].text
        assert "4 connections of the catalog (api) did not come back: stuck (tests/unit/" in lines[2].text
        gate.set()
