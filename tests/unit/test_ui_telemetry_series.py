"""Which devices and metrics names mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.core.errors import NotAuthorized, NotFound, UsageError
from storage.catalog import Catalog
from tests.acts import ACT
from tests.node_kit import Live, Value, running_node
from ui.telemetry_series import find_devices, metrics_of, require_seen, series_of


def _live(**metrics: str) -> Live:
    return Live(
        values={
            device: {name: Value(metric=name, value=1.0) for name in names.split()}
            for device, names in metrics.items()
        }
    )


async def test_devices_by_name_and_wildcard_within_the_scope(tmp_path: Path) -> None:
    def write(catalog: Catalog) -> None:
        catalog.add_group("hall", name="")
        for device, groups in (("pump-1", ["hall"]), ("pump-2", []), ("fan-1", ["hall"]), ("a*", [])):
            catalog.add_device(device, groups=groups)

    async with running_node(tmp_path) as node:
        await node.catalog.write(write, by=ACT)
        services, hall = node.services, frozenset({"hall"})
        assert await find_devices(services, ["pump-2", "pump-*"], None, count_max=9) == ["pump-2", "pump-1"]
        assert await find_devices(services, [], None, count_max=9) == ["a*", "fan-1", "pump-1", "pump-2"]
        assert await find_devices(services, ["a*"], None, count_max=9) == ["a*"]
        assert await find_devices(services, ["*"], hall, count_max=9) == ["fan-1", "pump-1"]
        assert await find_devices(services, [], frozenset({"none"}), count_max=9) == []
        for name, scope in (("pump-2", hall), ("nobody", None), ("x*", None), ("pump-2*", hall)):
            with pytest.raises(NotFound) as unknown:
                await find_devices(services, [name], scope, count_max=9)
            assert unknown.value.code == "device_unknown"
        with pytest.raises(UsageError, match="That are 4 devices"):
            await find_devices(services, ["*"], None, count_max=3)
        with pytest.raises(UsageError) as refused:
            await find_devices(services, ["*"] * 11, None, count_max=9)
        assert refused.value.code == "wildcard_count_too_large"
        await require_seen(services, ["pump-2"], None)
        await require_seen(services, ["pump-1", "fan-1"], hall)
        with pytest.raises(NotAuthorized):
            await require_seen(services, ["pump-1", "pump-2"], hall)


def test_metrics_a_device_has_and_those_only_the_store_may_know() -> None:
    live = _live(a="celsius volts", b="celsius hall*")
    assert series_of(live, ["b", "a"], []) == [
        ("b", "celsius"),
        ("b", "hall*"),
        ("a", "celsius"),
        ("a", "volts"),
    ]
    assert series_of(live, ["a", "b"], ["volts"]) == [("a", "volts")]
    assert series_of(live, ["a", "b"], ["v*"]) == [("a", "volts")]
    assert series_of(live, ["a", "b"], ["hall*"]) == [("b", "hall*")]
    assert series_of(live, ["a", "b"], ["gone"]) == [("a", "gone"), ("b", "gone")]
    assert series_of(live, ["a"], ["x*"]) == []
    with pytest.raises(UsageError) as refused:
        series_of(live, ["a", "b"], [], count_max=3)
    assert refused.value.code == "series_count_too_large"


async def test_metrics_of_an_export_never_turn_into_all_of_them() -> None:
    live = _live(a="celsius volts", b="celsius")
    assert await metrics_of(live, ["a", "b"], []) == []
    assert await metrics_of(live, ["a", "b"], ["gone", "c*"]) == ["gone", "celsius"]
    assert await metrics_of(live, ["b"], ["x*"]) == ["x*"]
