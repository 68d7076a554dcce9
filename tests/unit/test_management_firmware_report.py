"""What a device says that it runs: read, bounded, compared."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.management.firmware_report import (
    FirmwareReport,
    digest_of,
    number_of,
    parse_details,
    parse_status,
    parse_twin,
    text_of,
    truth_of,
)
from tests.execution_kit import NEW_DIGEST, OLD_DIGEST

STATUS: dict[str, Any] = {
    "state": "online",
    "boot_id": "5f0c",
    "session": "9a41",
    "seq": 3,
    "hw": "rev2",
    "fw": {"version": "1.4.2", "digest": f"sha256:{OLD_DIGEST}", "slot": "A", "confirmed": True, "epoch": 1},
}


def test_a_whole_status() -> None:
    assert parse_status("d", STATUS, 77) == FirmwareReport(
        device_id="d",
        version="1.4.2",
        digest=OLD_DIGEST,
        slot="A",
        is_confirmed=True,
        epoch=1,
        boot_id="5f0c",
        session="9a41",
        seq=3,
        hw="rev2",
        at_ms=77,
        source="status",
    )


@pytest.mark.parametrize(
    "firmware", [None, "1.0", [], {}, {"version": 1.5}, {"version": "x" * 65}, {"digest": "sha256:zz"}]
)
def test_a_status_that_says_nothing_usable(firmware: object) -> None:
    assert parse_status("d", {"fw": firmware}, 0) is None


def test_members_that_make_no_sense_are_left_empty() -> None:
    found = parse_status(
        "d",
        {
            "seq": -1,
            "boot_id": ["x"],
            "fw": {"version": "1", "confirmed": "perhaps", "epoch": 1.5, "slot": "s" * 33},
        },
        0,
    )
    assert found == FirmwareReport(device_id="d", version="1")


@pytest.mark.parametrize(
    ("said", "kept"), [("passed", "passed"), ("failed", "failed"), ("unknown", ""), (True, "")]
)
def test_self_test(said: object, kept: str) -> None:
    found = parse_status("d", {"fw": {"version": "1", "self_test": said}}, 0)
    assert found is not None
    assert found.self_test == kept


def test_a_twin_has_boot_and_hardware_beside_it_or_in_it() -> None:
    beside = parse_twin("d", {"fw": {"version": "1"}, "boot_id": "b", "hw": "h", "led": True}, 5)
    within = parse_twin("d", {"fw": {"version": "1", "boot_id": "b", "hw": "h"}}, 5)
    assert beside == within
    assert beside is not None
    assert (beside.boot_id, beside.hw, beside.source) == ("b", "h", "twin")
    assert parse_twin("d", {"fw": "1.0"}, 5) is None


def test_details_name_a_digest_or_a_version() -> None:
    by_digest = parse_details("d", {"running": NEW_DIGEST.upper(), "version": "2.0", "boot_id": "b"}, 5)
    assert by_digest is not None
    assert (by_digest.digest, by_digest.version, by_digest.boot_id, by_digest.source) == (
        NEW_DIGEST,
        "2.0",
        "b",
        "job",
    )
    by_version = parse_details("d", {"running": "2.0"}, 5)
    assert by_version is not None
    assert (by_version.digest, by_version.version) == ("", "2.0")
    assert parse_details("d", {"running": ""}, 5) is None
    assert parse_details("d", {"running": 5}, 5) is None


def test_running_is_by_digest_where_both_know_it() -> None:
    report = FirmwareReport(device_id="d", version="2.0", digest=NEW_DIGEST)
    assert report.runs("other", NEW_DIGEST)
    assert not report.runs("2.0", OLD_DIGEST)
    assert report.runs("2.0", "")
    assert not FirmwareReport(device_id="d", digest=NEW_DIGEST).runs("", "")


def test_a_report_is_itself_by_boot_session_and_number() -> None:
    assert FirmwareReport(device_id="d", boot_id="b", session="s", seq=4).key == ("b", "s", 4)


def test_bounds_of_texts_and_numbers() -> None:
    assert text_of("ab", 2) == "ab"
    assert text_of("abc", 2) == ""
    assert text_of("a\n", 5) == ""
    assert text_of(12, 5) == "12"
    assert text_of(2**64, 50) == ""
    assert text_of(True, 5) == ""
    assert number_of("12", 20) == 12
    assert number_of("21", 20) is None
    assert number_of("1" * 20, 10**30) is None
    assert number_of(True, 20) is None
    assert number_of(-1, 20) is None
    assert truth_of("true") is True
    assert truth_of("false") is False
    assert truth_of("maybe") is None
    assert truth_of(1) is None
    assert digest_of(f"sha256:{'A' * 64}") == "a" * 64
    assert digest_of(f"md5:{'a' * 64}") == ""
    assert digest_of(None) == ""
