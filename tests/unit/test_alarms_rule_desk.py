"""Rules by file: made, changed, left as they are, and all of them or none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.alarms.rule_desk import filed, import_rules
from appliance.core.clock import ManualClock
from appliance.core.errors import LimitExceeded
from appliance.management.rule import RuleDefinition, RuleScope
from appliance.management.rule_conditions import Threshold
from appliance.management.rule_file import FORMAT, FiledRule, RuleFile
from storage.catalog import Catalog
from storage.catalog import rules as table


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = Catalog.open(tmp_path / "catalog.db", clock=ManualClock(), node_id=bytes(16))
    yield opened
    opened.close()


def rule(name: str, limit: float = 80, *, is_enabled: bool = True) -> FiledRule:
    definition = RuleDefinition(
        severity="P2", scope=RuleScope(all=True), metric="t", condition=Threshold(is_="above", limit=limit)
    )
    return FiledRule(name=name, is_enabled=is_enabled, definition=definition)


def file(*rules: FiledRule) -> RuleFile:
    return RuleFile(homeport_rules=FORMAT, rules=rules)


def test_a_file_makes_changes_and_leaves_alone(catalog: Catalog) -> None:
    first = import_rules(catalog, file(rule("A"), rule("B"), rule("C")), position=(1, 10), by="anna")
    assert first.made == ("A", "B", "C")
    again = import_rules(
        catalog, file(rule("A"), rule("B", 90), rule("C", is_enabled=False)), position=(1, 20), by="ben"
    )
    assert (again.made, again.changed, again.unchanged) == ((), ("B", "C"), ("A",))
    assert [each.version for each in catalog.list_rules()] == [1, 2, 1]
    assert [each.from_seq for each in catalog.list_rule_versions()] == [10, 10, 10, 20, 20]


def test_what_goes_out_comes_in_again(catalog: Catalog) -> None:
    rules = (rule("A"), rule("B", 7, is_enabled=False))
    import_rules(catalog, file(*rules), position=(1, 1), by="anna")
    assert tuple(filed(catalog.list_rules())) == rules


def test_all_or_none(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "RULE_COUNT_MAX", 1)
    with pytest.raises(LimitExceeded):
        import_rules(catalog, file(rule("A"), rule("B")), position=(1, 1), by="anna")
    assert catalog.list_rules() == []
