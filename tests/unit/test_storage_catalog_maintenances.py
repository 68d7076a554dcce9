"""Maintenances as rows: what may be planned, what is on when, ending early."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import Conflict, LimitExceeded, NotFound, UsageError
from appliance.core.limits_updates import DAY_MS
from appliance.management.rule import RuleScope
from storage.catalog import maintenances as module
from storage.catalog.catalog import Catalog
from storage.catalog.maintenances import Maintenance

NOW_MS = 1_772_000_000_000
HOUR_MS = 3_600_000


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW_MS)


@pytest.fixture
def catalog(tmp_path: Path, clock: ManualClock) -> Iterator[Catalog]:
    opened = Catalog.open(tmp_path / "catalog.db", clock=clock, node_id=b"n" * 16)
    with opened.transaction():
        opened.add_group("hall")
        opened.add_device("d9")
    yield opened
    opened.close()


def add(catalog: Catalog, maintenance_id: str = "m1", **changes: Any) -> Maintenance:
    values: dict[str, Any] = {
        "scope": RuleScope(groups=("hall",), except_=("d9",)),
        "reason": "new boiler",
        "from_at_ms": NOW_MS,
        "until_at_ms": NOW_MS + HOUR_MS,
        "by": "anna",
        **changes,
    }
    with catalog.transaction():
        return catalog.add_maintenance(maintenance_id, **values)


def test_one_comes_back(catalog: Catalog) -> None:
    made = add(catalog)
    assert made.scope == RuleScope(groups=("hall",), except_=("d9",))
    assert (made.reason, made.created_by, made.created_at_ms) == ("new boiler", "anna", NOW_MS)
    assert catalog.get_maintenance("m1") == made
    with pytest.raises(NotFound) as caught:
        catalog.get_maintenance("m2")
    assert caught.value.code == "maintenance_unknown"


def test_planned_running_and_over(catalog: Catalog, clock: ManualClock) -> None:
    add(catalog, "now")
    add(catalog, "later", from_at_ms=NOW_MS + HOUR_MS, until_at_ms=NOW_MS + 3 * HOUR_MS)
    assert [each.maintenance_id for each in catalog.list_maintenances()] == ["later", "now"]
    assert [each.maintenance_id for each in catalog.list_maintenances(states=["running"])] == ["now"]
    assert [each.maintenance_id for each in catalog.running_maintenances(NOW_MS)] == ["now"]
    clock.advance(HOUR_MS)
    assert [each.maintenance_id for each in catalog.running_maintenances(clock.now_ms())] == ["later"]
    assert [each.maintenance_id for each in catalog.list_maintenances(states=["over"])] == ["now"]
    assert catalog.get_maintenance("now").state(clock.now_ms()) == "over"
    assert catalog.get_maintenance("later").state(NOW_MS) == "planned"
    with catalog.transaction():
        assert catalog.remove_old_maintenances(clock.now_ms() + 1) == 1


def test_ended_early(catalog: Catalog, clock: ManualClock) -> None:
    add(catalog, "now")
    add(catalog, "later", from_at_ms=NOW_MS + HOUR_MS, until_at_ms=NOW_MS + 2 * HOUR_MS)
    clock.advance(60_000)
    for maintenance_id in ("now", "later"):
        with catalog.transaction():
            ended = catalog.end_maintenance(maintenance_id)
        assert ended.state(clock.now_ms()) == "over"
        with pytest.raises(Conflict) as caught, catalog.transaction():
            catalog.end_maintenance(maintenance_id)
        assert caught.value.code == "maintenance_over"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"scope": RuleScope()}, "all devices, or for devices"),
        ({"scope": RuleScope(all=True, groups=("g",))}, "all devices, or for devices"),
        ({"scope": RuleScope(devices=tuple(map(str, range(1_001))))}, "at most 1000"),
        ({"reason": ""}, "1 to 500 characters"),
        ({"reason": "x" * 501}, "1 to 500 characters"),
        ({"reason": "a\nb"}, "in one line"),
        ({"until_at_ms": NOW_MS}, "is already"),
        ({"from_at_ms": NOW_MS + 2 * HOUR_MS}, "before it begins"),
        ({"until_at_ms": NOW_MS + 32 * DAY_MS}, "31 days"),
        ({"from_at_ms": NOW_MS + 367 * DAY_MS, "until_at_ms": NOW_MS + 368 * DAY_MS}, "366 days"),
    ],
)
def test_what_makes_no_sense_is_refused(catalog: Catalog, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        add(catalog, **changes)
    assert caught.value.code == "maintenance_invalid"
    assert caught.value.hint


@pytest.mark.parametrize(
    ("scope", "code"),
    [
        (RuleScope(all=True, except_=("d8",)), "device_unknown"),
        (RuleScope(devices=("d9", "d8")), "device_unknown"),
        (RuleScope(groups=("hal",)), "group_unknown"),
        (RuleScope(tags=("press",)), "tag_unknown"),
    ],
)
def test_a_name_that_means_nothing_is_refused(catalog: Catalog, scope: RuleScope, code: str) -> None:
    with pytest.raises(NotFound) as caught:
        add(catalog, scope=scope)
    assert caught.value.code == code


def test_there_are_not_too_many(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAINTENANCE_COUNT_MAX", 1)
    add(catalog)
    with pytest.raises(LimitExceeded) as caught:
        add(catalog, "m2")
    assert caught.value.code == "maintenance_count"
