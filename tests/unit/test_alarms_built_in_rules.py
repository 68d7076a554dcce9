"""Rules that come with Homeport: made once, left as people have them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.alarms.built_in_rules import BUILT_IN, bring_built_in
from appliance.core.clock import ManualClock
from appliance.management.node_watches import WATCHES
from appliance.management.rule import RuleDefinition, RuleScope, check
from appliance.management.rule_conditions import Stuck
from storage.catalog import Catalog


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = Catalog.open(tmp_path / "catalog.db", clock=ManualClock(), node_id=bytes(16))
    yield opened
    opened.close()


def test_each_makes_sense_and_has_a_next_step() -> None:
    for name, definition in BUILT_IN.values():
        check(name, definition)
        assert definition.text
    assert len(BUILT_IN) == len(WATCHES) + 4


def test_they_are_made_once_and_left_as_people_have_them(catalog: Catalog) -> None:
    assert bring_built_in(catalog, (1, 10)) == len(BUILT_IN)
    catalog.edit_rule("no-data", is_enabled=False, name="Silent", position=(1, 20), by="anna")
    before = catalog.list_rules()
    assert all(each.is_built_in for each in before)
    assert bring_built_in(catalog, (1, 30)) == 0
    assert catalog.list_rules() == before


def test_one_of_that_name_is_left_alone(catalog: Catalog) -> None:
    mine = RuleDefinition(severity="P3", scope=RuleScope(all=True), condition=Stuck(for_s=60))
    catalog.add_rule("A device is lost", mine, position=(1, 1), by="anna")
    bring_built_in(catalog, (1, 10))
    assert catalog.get_rule("device-lost").name == "A device is lost (device-lost)"
    found = catalog.rule_named("A device is lost")
    assert found is not None
    assert found.definition == mine
