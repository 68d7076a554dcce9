"""Twins in the catalog: both sides, versions over deletion, bounds, what of it is audited."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import Conflict, LimitExceeded, NotFound, UsageError
from appliance.core.limits_twins import TWIN_COUNT_MAX
from appliance.management.audit import SYSTEM, Act, Actor
from appliance.management.twin import SectionChange, TwinChange
from storage.catalog import Catalog, Change

PERSON = Act(action="twin.edit", actor=Actor(name="ada", kind="user"))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(now_ms=1_700_000_000_000)


@pytest.fixture
def catalog(tmp_path: Path, clock: ManualClock) -> Iterator[Catalog]:
    opened = Catalog.open(tmp_path / "catalog.db", clock=clock, node_id=bytes(16))
    yield opened
    opened.close()


def desired(version: int | None = None, **values: object) -> TwinChange:
    return TwinChange(desired=SectionChange(values=values), version=version)


def reported(version: int | None = None, **values: object) -> TwinChange:
    return TwinChange(reported=SectionChange(values=values), version=version)


def test_a_twin_is_made_by_the_first_change_of_either_side(catalog: Catalog, clock: ManualClock) -> None:
    with pytest.raises(NotFound):
        catalog.get_twin("pump", "")
    first = catalog.update_twin("pump", "", desired(rate_s=5))
    assert (first.before.twin.is_there, first.after.twin.version) == (False, 1)
    clock.advance(1_500)
    second = catalog.update_twin("pump", "", reported(rate_s=10, mode="eco"))
    assert second.after == catalog.get_twin("pump", "")
    kept = second.after
    assert (kept.twin.version, kept.twin.delta) == (2, {"rate_s": 5})
    assert (kept.desired_set_at_ms, kept.reported_at_ms) == (1_700_000_000_000, 1_700_000_001_500)
    assert kept.twin.reported_at == {"rate_s": 1_700_000_001, "mode": 1_700_000_001}
    assert kept.desired_version == first.after.desired_version > 0
    assert catalog.update_twin("pump", "", desired(x=1)).after.desired_version > kept.desired_version
    other = catalog.update_twin("pump", "config", reported(a=1))
    assert other.after.desired_version == 0
    assert other.after.twin.version == 1
    assert [each.name for each in catalog.list_twins("pump")] == ["", "config"]
    assert catalog.list_twins("pump-2") == []


def test_who_saw_another_version_changes_nothing(catalog: Catalog) -> None:
    catalog.update_twin("pump", "", desired(a=1))
    with pytest.raises(Conflict):
        catalog.update_twin("pump", "", desired(0, a=2))
    assert catalog.get_twin("pump", "").twin.desired == {"a": 1}
    catalog.update_twin("pump", "", desired(1, a=2))


def test_a_deleted_twin_goes_on_counting(catalog: Catalog) -> None:
    catalog.update_twin("pump", "", desired(a=1))
    catalog.update_twin("pump", "", reported(a=1))
    with pytest.raises(Conflict):
        catalog.delete_twin("pump", "", version=1)
    gone = catalog.delete_twin("pump", "", version=2)
    assert (gone.before.twin.version, gone.after.twin.version, gone.after.twin.is_there) == (2, 3, False)
    assert catalog.list_twins("pump") == []
    with pytest.raises(NotFound):
        catalog.delete_twin("pump", "")
    assert catalog.update_twin("pump", "", reported(b=1)).after.twin.version == 4
    assert catalog.get_twin("pump", "").twin.desired == {}


def test_a_device_has_sixteen_and_what_deleted_ones_leave_is_bounded(catalog: Catalog) -> None:
    for number in range(TWIN_COUNT_MAX):
        catalog.update_twin("pump", f"t{number}", reported(a=1))
    with pytest.raises(LimitExceeded) as full:
        catalog.update_twin("pump", "one-more", reported(a=1))
    assert full.value.code == "twin_count"
    catalog.update_twin("pump-2", "one-more", reported(a=1))
    for number in range(100):
        catalog.delete_twin("pump", "t0" if number == 0 else f"u{number - 1}")
        catalog.update_twin("pump", f"u{number}", desired(a=1))
    found = catalog.row("SELECT count(*) FROM twin_reports WHERE device_id = 'pump'")
    assert found is not None
    assert found[0] <= 2 * TWIN_COUNT_MAX
    assert len(catalog.list_twins("pump")) == TWIN_COUNT_MAX


def test_a_bad_name_is_refused_before_anything_is_read(catalog: Catalog) -> None:
    with pytest.raises(UsageError):
        catalog.find_twin("pump", "a/b")


def test_twins_that_want_something_are_found_for_many_devices(catalog: Catalog) -> None:
    catalog.update_twin("b", "x", desired(a=1))
    catalog.update_twin("b", "", desired(a=2))
    catalog.update_twin("a", "", desired(a=3))
    catalog.update_twin("a", "none", reported(a=3))
    catalog.update_twin("c", "", desired(a=4))
    catalog.update_twin("d", "", TwinChange(desired=SectionChange()))
    found = catalog.wanted_twins(["b", "a", "d"])
    assert [(each.device_id, each.name, each.twin.desired) for each in found] == [
        ("a", "", {"a": 3}),
        ("b", "", {"a": 2}),
        ("b", "x", {"a": 1}),
    ]


def test_what_people_set_is_in_the_audit_with_its_values_and_what_devices_say_is_not(
    catalog: Catalog,
) -> None:
    with catalog.transaction(PERSON):
        catalog.update_twin("pump", "", desired(a=1))
    with catalog.transaction(PERSON):
        catalog.update_twin("pump", "", desired(a=2))
    with catalog.transaction(Act(action="device.report", actor=SYSTEM)):
        catalog.update_twin("pump", "", TwinChange(desired=SectionChange(values={"a": None})))
        catalog.update_twin("pump", "", reported(a=2))
    entries = catalog.rows(
        "SELECT actor, action, object_kind, object_id, before, after FROM audit ORDER BY seq"
    )
    assert [tuple(each)[:4] for each in entries] == [("ada", "twin.edit", "twin", "pump")] * 2
    assert '{\\"a\\":1}' in entries[1]["before"]
    assert '{\\"a\\":2}' in entries[1]["after"]


def test_who_listens_to_changes_hears_of_reports_too(catalog: Catalog) -> None:
    with catalog.transaction():
        catalog.update_twin("pump", "config", reported(a=2))
    assert list(catalog.last_changes) == [Change("twin_reports", "pump")]
    with catalog.transaction():
        catalog.update_twin("pump", "config", desired(a=2))
    assert list(catalog.last_changes) == [Change("twins", "pump/config"), Change("twin_reports", "pump")]
