"""Which parts of a site a cloud node may read: a table, and no address that leads elsewhere."""

from __future__ import annotations

import pytest

from appliance.core.errors import Conflict, UsageError
from appliance.management.permissions import RULES
from appliance.management.site_reading import (
    PARTS,
    check_reader,
    is_allowed,
    key_of,
    path_of,
    person_words,
)
from ui.api.routes import ENDPOINTS

NODE = "c0" * 16


def test_every_part_is_a_read_that_a_viewer_may_do() -> None:
    by_path = {endpoint.path: endpoint for endpoint in ENDPOINTS if endpoint.method == "GET"}
    for path in PARTS.values():
        needs = by_path[path].needs
        assert needs is not None
        assert RULES[needs].role == "viewer"
        assert needs in ("devices.read", "telemetry.read", "alarms.read")
        assert not by_path[path].action


def test_a_part_is_where_the_api_has_it() -> None:
    assert path_of("devices", "") == "/devices"
    assert path_of("telemetry", "roof #1?%2f") == "/devices/roof #1?%2f/telemetry"


@pytest.mark.parametrize(
    "part", ["users", "", "/users", "devices/../users", "audit", "settings", "device_export"]
)
def test_nothing_else_can_be_asked(part: str) -> None:
    with pytest.raises(UsageError) as caught:
        path_of(part, "")
    assert caught.value.code == "reading_unknown"


@pytest.mark.parametrize(
    ("part", "device_id"),
    [
        ("device", ""),
        ("devices", "d1"),
        ("device", ".."),
        ("device", "."),
        ("device", "../users"),
        ("device", "d1/newest"),
        ("device", "d" * 300),
    ],
)
def test_a_device_is_one_segment_of_the_address(part: str, device_id: str) -> None:
    with pytest.raises(UsageError) as caught:
        path_of(part, device_id)
    assert caught.value.code == "reading_device"


def test_only_what_says_yes_is_a_grant() -> None:
    assert is_allowed(True)
    assert not any(map(is_allowed, (None, False, 1, "true", [True])))
    assert key_of(NODE) == f"cloud.reading.{NODE}"
    with pytest.raises(AssertionError):
        key_of("../x")


def test_only_a_cloud_node_can_be_let_read() -> None:
    check_reader("cloud", "cloud-1")
    with pytest.raises(Conflict, match="roof is no cloud node"):
        check_reader("edge", "roof")


def test_the_log_names_the_cloud_node_and_the_person() -> None:
    assert person_words("cloud-1", "anna") == "cloud node cloud-1, for anna"
    assert person_words("cloud-1", "") == "cloud node cloud-1, for nobody"
