"""What runs on devices as rows, and what is known bad."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import NotFound
from appliance.management.firmware_report import FirmwareReport
from storage.catalog.catalog import Catalog
from storage.catalog.device_firmware import KnownBad
from tests.execution_kit import NEW_DIGEST, NOW_MS, an_execution, firmware


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = Catalog.open(tmp_path / "catalog.db", clock=ManualClock(), node_id=b"n" * 16)
    yield opened
    opened.close()


def keep(catalog: Catalog, *reports: FirmwareReport) -> None:
    with catalog.transaction():
        for report in reports:
            catalog.save_device_firmware(report, NOW_MS - 5)


@pytest.mark.parametrize("is_confirmed", [True, False, None])
def test_a_report_comes_back(catalog: Catalog, is_confirmed: bool | None) -> None:
    report = firmware(is_confirmed=is_confirmed, epoch=3, hw="rev2", slot="B", source="twin")
    keep(catalog, report)
    found = catalog.device_firmware("pump-1")
    assert found is not None
    assert found.report == report
    assert found.booted_at_ms == NOW_MS - 5
    assert catalog.device_firmware("other") is None


def test_the_newest_counts_and_all_can_be_read(catalog: Catalog) -> None:
    keep(catalog, firmware(boot="A"), firmware(boot="B"), firmware(device_id="a"))
    assert [each.report.device_id for each in catalog.all_device_firmware()] == ["a", "pump-1"]
    found = catalog.device_firmware("pump-1")
    assert found is not None
    assert found.report.boot_id == "B"


def test_times_move_with_the_clock(catalog: Catalog) -> None:
    keep(catalog, firmware())
    with catalog.transaction():
        catalog.shift_device_firmware(10)
    found = catalog.device_firmware("pump-1")
    assert found is not None
    assert (found.report.at_ms, found.booted_at_ms) == (NOW_MS + 10, NOW_MS + 5)


def fell_back(catalog: Catalog, device_id: str) -> list[KnownBad]:
    with catalog.transaction():
        return catalog.add_known_bad(
            device_id, NEW_DIGEST, execution_id="e1", reason="It fell back.", now_ms=NOW_MS
        )


def test_known_bad_for_the_device_that_fell_back(catalog: Catalog) -> None:
    keep(catalog, firmware(hw="rev2"), firmware(device_id="b", hw="rev2"))
    (added,) = fell_back(catalog, "pump-1")
    assert (added.device_id, added.hw, added.digest, added.reason) == (
        "pump-1",
        "",
        NEW_DIGEST,
        "It fell back.",
    )
    assert catalog.known_bad("pump-1", NEW_DIGEST) == added
    assert catalog.known_bad("pump-1", "0" * 64) is None
    assert catalog.known_bad("b", NEW_DIGEST) is None
    assert fell_back(catalog, "pump-1") == []


def test_two_of_a_kind_speak_for_all_of_it(catalog: Catalog) -> None:
    keep(
        catalog, *(firmware(device_id=name, hw="rev2") for name in "abc"), firmware(device_id="x", hw="rev3")
    )
    fell_back(catalog, "a")
    added = fell_back(catalog, "b")
    assert [each.hw for each in added] == ["", "rev2"]
    found = catalog.known_bad("c", NEW_DIGEST)
    assert found is not None
    assert found.hw == "rev2"
    assert catalog.known_bad("x", NEW_DIGEST) is None
    own = catalog.known_bad("a", NEW_DIGEST)
    assert own is not None
    assert own.device_id == "a", "its own way back says more"


def test_two_of_many_that_tried_do_not(catalog: Catalog) -> None:
    names = [f"d{number}" for number in range(50)]
    keep(catalog, *(firmware(device_id=name, hw="rev2") for name in names))
    with catalog.transaction():
        for name in names:
            catalog.insert_execution(
                replace(an_execution(slot_touched=True), execution_id=name, device_id=name)
            )
    fell_back(catalog, "d0")
    fell_back(catalog, "d1")
    assert catalog.known_bad("d2", NEW_DIGEST) is None
    fell_back(catalog, "d2")
    assert catalog.known_bad("d3", NEW_DIGEST) is not None, "3 of 50 are 6 %"


def test_a_device_of_no_known_hardware_speaks_for_itself(catalog: Catalog) -> None:
    fell_back(catalog, "a")
    fell_back(catalog, "b")
    assert catalog.known_bad("c", NEW_DIGEST) is None


def test_forgiven(catalog: Catalog) -> None:
    keep(catalog, firmware(device_id="a", hw="rev2"), firmware(device_id="b", hw="rev2"))
    fell_back(catalog, "a")
    fell_back(catalog, "b")
    assert len(catalog.list_known_bad()) == 3
    assert len(catalog.list_known_bad(digest="0" * 64)) == 0
    with catalog.transaction():
        catalog.forgive_device("a", NEW_DIGEST)
        assert catalog.forgive_known_bad(f"hw:rev2/{NEW_DIGEST}").hw == "rev2"
        with pytest.raises(NotFound) as error:
            catalog.forgive_known_bad("nothing")
    assert error.value.code == "known_bad_unknown"
    assert catalog.known_bad("a", NEW_DIGEST) is None
    assert catalog.known_bad("b", NEW_DIGEST) is not None
