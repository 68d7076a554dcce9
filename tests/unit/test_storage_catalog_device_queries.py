"""Finding devices, by what and within which scope."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import NotFound, UsageError
from appliance.management.permissions import Scope
from storage.catalog import Catalog


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = Catalog.open(tmp_path / "catalog.db", clock=ManualClock(), node_id=bytes(16))
    for group_id in ("north", "south"):
        opened.add_group(group_id)
    opened.add_device("d1", groups=("north",), tags=("roof", "old"), serial="SN-1")
    opened.add_device("d2", groups=("north", "south"), tags=("roof",), kind="application")
    opened.add_device("d3", groups=("south",), serial="sn-1")
    opened.add_device("d4")
    opened.note_first_contact(["w1"], at_ms=1)
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({}, ["d1", "d2", "d3", "d4", "w1"]),
        ({"groups": ["north"]}, ["d1", "d2"]),
        ({"groups": ["north", "south"]}, ["d1", "d2", "d3"]),
        ({"tags": ["roof"]}, ["d1", "d2"]),
        ({"tags": ["roof", "old"]}, ["d1"]),
        ({"serial": "SN-1"}, ["d1"]),
        ({"q": "sn-"}, ["d1", "d3"]),
        ({"kind": "application"}, ["d2"]),
        ({"states": ["waiting"]}, ["w1"]),
        ({"scope": frozenset({"south"})}, ["d2", "d3"]),
        ({"scope": frozenset({"south"}), "groups": ["north"]}, ["d2"]),
        ({"scope": frozenset({"south"}), "ids": ["d1", "d3"]}, ["d3"]),
        ({"scope": frozenset()}, []),
    ],
)
def test_filters_and_counts_agree(catalog: Catalog, chosen: dict[str, Any], expected: list[str]) -> None:
    assert [device.device_id for device in catalog.list_devices(**chosen).devices] == expected
    assert catalog.count_devices(**chosen) == len(expected)


@pytest.mark.parametrize(
    ("scope", "visible"),
    [(None, True), (frozenset({"north"}), True), (frozenset({"south"}), False), (frozenset(), False)],
)
def test_a_device_outside_a_scope_is_not_there(catalog: Catalog, scope: Scope, visible: bool) -> None:
    assert (catalog.find_device("d1", scope=scope) is not None) is visible
    if not visible:
        with pytest.raises(NotFound) as refused:
            catalog.get_device("d1", scope=scope)
        assert refused.value.code == "device_unknown"


def test_counts_and_ids_keep_to_a_scope(catalog: Catalog) -> None:
    scope = frozenset({"south"})
    assert catalog.count_by_state(scope=scope) == {
        "active": 2,
        "waiting": 0,
        "rejected": 0,
        "decommissioned": 0,
    }
    assert catalog.device_ids(scope=scope) == ["d2", "d3"]
    assert catalog.device_ids(states=("waiting",)) == ["w1"]


@pytest.mark.parametrize("limit", [0, 1001])
def test_pages_are_bounded(catalog: Catalog, limit: int) -> None:
    with pytest.raises(UsageError):
        catalog.list_devices(limit=limit)
