"""The simulation's catalog and the real one: the same changes heard in the same order make the same rows, and writing says the same."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.core.clock import ManualClock
from appliance.management.merge import KeyState
from appliance.management.merge_rules import Kind, rules_of
from appliance.management.row_change import RowChange
from replication.simulation.catalog import CatalogState, written_change
from storage.catalog_stream.following import read_record
from tests.merge_kit import IGNORED, SiteNode
from tests.properties.test_storage_catalog_merging import write_something

TABLES = ("devices", "groups", "users", "settings")


class Both:
    """A node with a real catalog, and the same in the simulation's."""

    def __init__(self, node: SiteNode) -> None:
        self.node = node
        self.model = CatalogState()
        self.told_count = 0
        self.heard: dict[str, int] = {}
        self.look_at_own()

    def look_at_own(self) -> None:
        """What was written here since: the model would have captured the same."""
        payloads = self.node.payloads()
        for change in self._changes(self.node.node_id, payloads[self.told_count :]):
            before = self.model.keys.get((change.table, change.key), KeyState())
            row = dict(change.row) if change.op != "delete" else None
            made = written_change(before, change.table, change.key, row, change.clock, change.position)
            assert (made.op, made.generation) == (change.op, change.generation), (made, change)
            registers = rules_of(change.table, change.key).registers_of(change.row)
            decided = {each.name for each in registers if each.kind is Kind.DECIDED}
            seen = {name: dict(each) for name, each in change.seen.items() if each and name in decided}
            # Somebody who decides between values may write what stands there already; the simulation's people don't.
            assert made.seen == seen or change.by, (made, change)
            assert set(made.changed) - IGNORED <= set(change.changed), (made, change)
            self.model.apply(change)
        self.told_count = len(payloads)

    def hear(self, other: Both, count: int) -> None:
        at = self.heard.get(other.node.node_id, 0)
        self.node.hear(other.node, count=count)
        came = other.node.payloads()[at : at + count]
        for change in self._changes(other.node.node_id, came):
            self.model.apply(change)
        self.heard[other.node.node_id] = at + len(came)

    def rows(self, table: str) -> list[dict[str, Any]]:
        key = self.node.catalog.merged_tables()[table].key
        found = [
            {**{name: value for name, value in state.row.values.items() if name not in IGNORED}, key: row_key}
            for (of, row_key), state in sorted(self.model.keys.items())
            if of == table and state.row is not None
        ]
        return sorted(found, key=lambda row: row[key])

    @staticmethod
    def _changes(origin: str, payloads: list[bytes]) -> list[RowChange]:
        records = [read_record(number, payload, origin) for number, payload in enumerate(payloads, 1)]
        found = [record.change for record in records]
        return [change for change in found if change is not None and change.table in TABLES]


@given(st.integers(0, 10**9), st.integers(5, 40))
@settings(max_examples=10, deadline=None)
def test_the_model_has_the_rows_of_the_catalog_and_captures_what_that_does(seed: int, steps: int) -> None:
    dice = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        nodes = [
            Both(SiteNode(Path(folder), n, ManualClock(1_700_000_000_000 + dice.randint(0, 400_000))))
            for n in (1, 2, 3)
        ]
        try:
            for _ in range(steps):
                one = dice.choice(nodes)
                one.node.clock.advance(dice.choice((0, 1, 1_000)))
                if dice.random() < 0.6:
                    write_something(one.node, dice)
                    one.look_at_own()
                else:
                    one.hear(dice.choice([each for each in nodes if each is not one]), dice.randint(1, 8))
            for one in nodes:
                for table in TABLES:
                    assert one.rows(table) == one.node.rows(table), table
        finally:
            for one in nodes:
                one.node.close()
