"""The rules that come with Homeport are there after a start, also when the catalog was away at first."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from appliance.alarms.built_in_rules import BUILT_IN
from appliance.core.errors import Unavailable
from appliance.management.rule_transition import Transition
from appliance.run import node_watch_wiring
from appliance.run.node_watch_wiring import bring, look_after_node
from storage.catalog import Catalog
from tests.broker_kit import wait_until
from tests.node_kit import AtTheHead, running_node


class Book:
    def __init__(self) -> None:
        self.found: list[Transition] = []

    def apply(self, catalog: Catalog, found: Sequence[Transition]) -> None:
        self.found += found


class AwayAtFirst:
    def __init__(self) -> None:
        self.asked = 0

    @asynccontextmanager
    async def changing(self) -> AsyncIterator[tuple[int, int]]:
        self.asked += 1
        if self.asked == 1:
            raise Unavailable("The log can't be read.", hint="Wait.")
        yield 1, 7


async def test_they_are_brought_once(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        assert await bring(node.catalog, AtTheHead()) == len(BUILT_IN)
        assert await bring(node.catalog, AtTheHead()) == 0


async def test_it_tries_again_and_then_watches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_watch_wiring, "RETRY_S", 0.01)
    changes, book = AwayAtFirst(), Book()
    async with running_node(tmp_path) as node, trio.open_nursery() as nursery:
        services = replace(node.services, rules=changes)
        node.broker.statistics["log"] = {"damaged_ranges": 2, "housekeeping": {}}
        nursery.start_soon(look_after_node, services, book)
        await wait_until(lambda: book.found)
        nursery.cancel_scope.cancel()
    assert changes.asked == 2
    assert [(each.key.rule_id, each.value) for each in book.found] == [("node-log_damaged", 2)]
