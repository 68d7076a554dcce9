"""Rules in the catalog: as they are now, and from which record on each version holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import Conflict, LimitExceeded, NotFound, StorageError, UsageError
from appliance.management.rule import RuleDefinition, RuleScope
from appliance.management.rule_conditions import Stuck, Threshold
from storage.catalog import Catalog
from storage.catalog import rules as module
from storage.catalog.rules import WrittenRule


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def catalog(tmp_path: Path, clock: ManualClock) -> Iterator[Catalog]:
    opened = Catalog.open(tmp_path / "catalog.db", clock=clock, node_id=bytes(16))
    yield opened
    opened.close()


def above(limit: float) -> RuleDefinition:
    return RuleDefinition(
        severity="P2", scope=RuleScope(all=True), metric="t", condition=Threshold(is_="above", limit=limit)
    )


def add(catalog: Catalog, name: str = "Warm", limit: float = 80, **options: object) -> WrittenRule:
    return catalog.add_rule(name, above(limit), position=(1, 100), by="anna", **options)  # type: ignore[arg-type]


def held(catalog: Catalog, *, after: int = 0) -> list[tuple[int, int, int, bool]]:
    """number, version, from_seq, whether it is evaluated."""
    return [
        (each.number, each.version, each.from_seq, each.definition is not None)
        for each in catalog.list_rule_versions(after=after)
    ]


def test_a_rule_comes_back_whole(catalog: Catalog, clock: ManualClock) -> None:
    made = add(catalog, random_bytes=lambda n: b"\x01" * n)
    assert (made.rule_id, made.name, made.version, made.created_by) == ("010101010101", "Warm", 1, "anna")
    assert made.is_enabled
    assert not made.is_built_in
    assert catalog.list_rules() == [made]
    assert made.as_rule().definition == above(80)
    clock.advance(5)
    edited = catalog.edit_rule(made.rule_id, definition=above(90), position=(1, 200), by="ben")
    assert (edited.version, edited.definition, edited.created_by) == (2, above(90), "anna")
    assert edited.row_version > made.row_version
    assert edited.updated_at_ms == made.updated_at_ms + 5
    (first, second) = catalog.list_rule_versions()
    assert (first.definition, second.definition, second.changed_by) == (above(80), above(90), "ben")
    assert held(catalog) == [(1, 1, 100, True), (2, 2, 200, True)]
    assert held(catalog, after=1) == [(2, 2, 200, True)]


def test_another_name_is_no_new_version_and_nothing_is_nothing(catalog: Catalog) -> None:
    made = add(catalog)
    renamed = catalog.edit_rule(made.rule_id, name="Hot", position=(1, 200), by="anna")
    assert (renamed.name, renamed.version) == ("Hot", 1)
    assert [each.name for each in catalog.rule_history(made.rule_id)] == ["Hot", "Warm"]
    same = catalog.edit_rule(made.rule_id, name="Hot", definition=above(80), position=(1, 300), by="anna")
    assert same == renamed
    assert len(held(catalog)) == 2


def test_switched_off_is_not_evaluated_and_comes_back_as_the_same_version(catalog: Catalog) -> None:
    made = add(catalog)
    catalog.edit_rule(made.rule_id, is_enabled=False, position=(1, 200), by="anna")
    catalog.edit_rule(made.rule_id, is_enabled=True, position=(1, 300), by="anna")
    assert held(catalog) == [(1, 1, 100, True), (2, 1, 200, False), (3, 1, 300, True)]
    off = add(catalog, "Later", is_enabled=False)
    assert not off.is_enabled
    assert held(catalog, after=3) == [(4, 1, 100, False)]


def test_a_removed_rule_is_over_from_there_and_its_history_stays(catalog: Catalog) -> None:
    made = add(catalog)
    catalog.remove_rule(made.rule_id, position=(1, 400), by="anna")
    assert catalog.list_rules() == []
    assert held(catalog) == [(1, 1, 100, True), (2, 1, 400, False)]
    assert [each.version for each in catalog.rule_history(made.rule_id)] == [1, 1]
    with pytest.raises(NotFound, match="no rule"):
        catalog.get_rule(made.rule_id)
    with pytest.raises(NotFound, match="no rule"):
        catalog.remove_rule(made.rule_id, position=(1, 1), by="")


def test_what_came_with_homeport_can_be_switched_off_and_not_removed(catalog: Catalog) -> None:
    made = add(catalog, built_in_id="no-data")
    assert (made.rule_id, made.is_built_in) == ("no-data", True)
    with pytest.raises(Conflict) as refused:
        catalog.remove_rule("no-data", position=(1, 200), by="anna")
    assert refused.value.code == "rule_built_in"
    assert not catalog.edit_rule("no-data", is_enabled=False, position=(1, 200), by="anna").is_enabled


def test_a_name_is_there_once(catalog: Catalog) -> None:
    add(catalog)
    other = add(catalog, "Cold")
    with pytest.raises(Conflict) as refused:
        add(catalog)
    assert refused.value.code == "rule_name_taken"
    with pytest.raises(Conflict, match="a rule “Warm” already"):
        catalog.edit_rule(other.rule_id, name="Warm", position=(1, 1), by="")
    assert catalog.rule_named("Cold") == other
    assert catalog.rule_named("Wet") is None


def test_what_makes_no_sense_changes_nothing(catalog: Catalog) -> None:
    with pytest.raises(UsageError):
        add(catalog, "")
    made = add(catalog)
    with pytest.raises(UsageError):
        catalog.edit_rule(made.rule_id, name="\n", position=(1, 2), by="")
    assert len(held(catalog)) == 1


def test_there_are_so_many_and_no_more(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RULE_COUNT_MAX", 2)
    monkeypatch.setattr(module, "RULE_VERSION_COUNT_MAX", 3)
    made = add(catalog)
    add(catalog, "Cold")
    with pytest.raises(LimitExceeded) as refused:
        add(catalog, "Wet")
    assert refused.value.code == "rule_count"
    assert catalog.forget_rule_versions(10_000) == 0
    catalog.edit_rule(made.rule_id, definition=above(1), position=(1, 200), by="")
    with pytest.raises(LimitExceeded) as refused:
        catalog.edit_rule(made.rule_id, definition=above(2), position=(1, 300), by="")
    assert refused.value.code == "rule_version_count"
    assert catalog.get_rule(made.rule_id).definition == above(1)
    assert catalog.forget_rule_versions(199) == 0
    assert catalog.forget_rule_versions(200) == 1
    assert catalog.edit_rule(made.rule_id, definition=above(2), position=(1, 300), by="").version == 3


def test_a_rule_of_a_newer_homeport_is_said_to_be_one(catalog: Catalog) -> None:
    made = add(catalog)
    with catalog.transaction():
        catalog.execute(
            'UPDATE rules SET definition = \'{"severity": "P0"}\', origin = ?, hlc = ? WHERE rule_id = ?',
            (catalog.origin, catalog.hlc, made.rule_id),
        )
    with pytest.raises(StorageError) as refused:
        catalog.list_rules()
    assert refused.value.code == "rule_unreadable"


def test_those_of_a_kind_that_are_switched_on(catalog: Catalog) -> None:
    made = add(catalog)
    add(catalog, "Off", is_enabled=False)
    stuck = RuleDefinition(severity="P3", scope=RuleScope(all=True), condition=Stuck(for_s=60))
    catalog.add_rule("Stuck", stuck, position=(1, 1), by="anna")
    assert catalog.rules_of_kind("threshold") == [made]
    assert [each.name for each in catalog.rules_of_kind("stuck")] == ["Stuck"]
    assert catalog.rules_of_kind("node") == []
