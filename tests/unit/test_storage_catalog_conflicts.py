"""Conflicts are listed, looked at and decided; what was decided stays to be seen for a while."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import Conflict, NotFound, UsageError
from storage.catalog import conflicts as module
from tests.merge_kit import SiteNode, converge


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[SiteNode, SiteNode]]:
    clock = ManualClock()
    nodes = SiteNode(tmp_path, 1, clock), SiteNode(tmp_path, 2, clock)
    yield nodes
    for node in nodes:
        node.close()


def contradict(site: tuple[SiteNode, SiteNode], *device_ids: str) -> None:
    one, two = site
    for device_id in device_ids:
        one.catalog.add_device(device_id)
    converge(one, two)
    for device_id in device_ids:
        one.catalog.edit_device(device_id, tags=("a",))
        two.clock.advance(1)
        two.catalog.edit_device(device_id, tags=("b",))
        converge(one, two)


def test_pages_have_the_newest_first(site: tuple[SiteNode, SiteNode]) -> None:
    contradict(site, "pump-1", "pump-2", "pump-3")
    catalog = site[0].catalog
    first = catalog.list_conflicts(limit=2)
    assert [each.key for each in first.conflicts] == ["pump-3", "pump-2"]
    second = catalog.list_conflicts(limit=2, cursor=first.next_cursor)
    assert ([each.key for each in second.conflicts], second.next_cursor) == (["pump-1"], None)
    assert catalog.count_conflicts() == 3
    with pytest.raises(UsageError):
        catalog.list_conflicts(limit=0)
    with pytest.raises(NotFound):
        catalog.list_conflicts(cursor="nothing")


def test_a_decision_is_made_once_among_what_there_is(site: tuple[SiteNode, SiteNode]) -> None:
    contradict(site, "pump-1")
    catalog = site[0].catalog
    (conflict,) = catalog.list_conflicts().conflicts
    assert catalog.get_conflict(conflict.conflict_id) == conflict
    with pytest.raises(UsageError) as wrong:
        catalog.resolve_conflict(conflict.conflict_id, 2, by="ada")
    assert wrong.value.code == "conflict_choice"
    catalog.resolve_conflict(conflict.conflict_id, 1, by="ada")
    assert catalog.get_device("pump-1").tags == ("a",)
    with pytest.raises(Conflict) as again:
        catalog.resolve_conflict(conflict.conflict_id, 1, by="ada")
    assert again.value.code == "conflict_resolved"
    with pytest.raises(NotFound):
        catalog.resolve_conflict("nothing", 0, by="ada")
    entries = catalog.rows("SELECT object_id FROM audit WHERE action = 'conflict.resolve'")
    assert [row["object_id"] for row in entries] == ["devices/pump-1/tags"]


def test_the_conflict_of_a_row_that_is_deleted_is_over(site: tuple[SiteNode, SiteNode]) -> None:
    one, two = site
    one.catalog.add_user("root", role="admin", password_hash="$argon2id$x")
    one.catalog.add_user("ada", role="viewer", password_hash="$argon2id$x")
    converge(one, two)
    one.catalog.set_role("ada", "operator", None)
    two.catalog.set_role("ada", "installer", None)
    converge(one, two)
    assert one.catalog.count_conflicts() == 1
    one.catalog.remove_user("ada")
    converge(one, two)
    assert one.catalog.count_conflicts() == two.catalog.count_conflicts() == 0


def test_of_those_that_are_decided_the_newest_are_kept(
    site: tuple[SiteNode, SiteNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CONFLICT_KEPT_COUNT_MAX", 1)
    contradict(site, "pump-1", "pump-2")
    one, two = site
    for conflict in one.catalog.list_conflicts().conflicts:
        one.catalog.resolve_conflict(conflict.conflict_id, 0, by="ada")
    two.hear(one)
    assert [each.key for each in two.catalog.list_conflicts(state="resolved").conflicts] == ["pump-2"]
