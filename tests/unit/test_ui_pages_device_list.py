"""Filters of the list of devices."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.management.firmware_report import FirmwareReport
from storage.catalog import Catalog
from tests.acts import ACT
from tests.execution_kit import firmware
from tests.node_kit import running_node
from ui.pages.device_list import Filter, ids_by_presence, read_list

NOW_MS = 1_700_000_000_000


@dataclass(frozen=True, kw_only=True)
class Live:
    device_id: str = "a"
    presence: str = "online"
    presence_since_ms: int | None = NOW_MS - 5_000
    presence_reason: str = ""
    last_seen_at_ms: int | None = NOW_MS - 1_000
    last_reading_at_ms: int | None = NOW_MS - 1_000
    address: str = "192.0.2.1:5"
    watermark_at_ms: int | None = None
    watermark_received_at_ms: int | None = None
    expect_ms: int | None = None
    clock_offset_ms: int | None = None
    firmware: FirmwareReport | None = None


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, Filter()),
        ({"state": "lost", "q": " pump ", "after": "x"}, Filter(state="lost", text="pump", after="x")),
        ({"state": "nonsense"}, Filter()),
        ({"state": "rejected"}, Filter(state="rejected")),
    ],
)
def test_a_filter_is_what_the_url_says(query: dict[str, str], expected: Filter) -> None:
    assert Filter.of_query(query) == expected


def test_a_filter_goes_back_into_the_url() -> None:
    chosen = Filter(state="lost", text="a&b", after="x")
    assert chosen.query() == "?state=lost&q=a%26b"
    assert chosen.query(after="y") == "?state=lost&q=a%26b&after=y"
    assert chosen.query(state="") == "?q=a%26b"


def test_presences_are_counted_and_unknown_ones_are_left_out() -> None:
    live = {
        "a": Live(),
        "b": Live(presence="never_seen"),
        "c": Live(presence="odd"),
        "d": Live(presence="lost"),
    }
    assert ids_by_presence(live) == {"online": ["a"], "sleeping": [], "offline": [], "lost": ["d"]}


async def test_devices_that_run_a_version_are_found_with_what_else_is_asked(tmp_path: Path) -> None:
    runs = {
        "a": Live(device_id="a", firmware=firmware("0" * 64, device_id="a", version="1.0")),
        "b": Live(device_id="b", presence="lost", firmware=firmware("0" * 64, device_id="b", version="1.0")),
        "c": Live(device_id="c", firmware=firmware("1" * 64, device_id="c", version="2.0")),
        "d": Live(device_id="d"),
    }
    async with running_node(tmp_path) as node:

        def fill(catalog: Catalog) -> None:
            for device_id in (*runs, "e"):
                catalog.add_device(device_id)

        await node.catalog.write(fill, by=ACT)
        for query, shown in (
            ({"fw": "1.0"}, ["a", "b"]),
            ({"fw": "1.0", "state": "lost"}, ["b"]),
            ({"fw": "1.0", "state": "never_seen"}, []),
            ({"state": "never_seen"}, ["e"]),
            ({"fw": "3.0"}, []),
        ):
            chosen = Filter.of_query(query)
            assert chosen.narrows
            found = await read_list(node.catalog, runs, chosen, scope=None)
            assert [device.device_id for device in found.devices] == shown, query
    assert Filter(firmware="1.0").query() == "?fw=1.0"
