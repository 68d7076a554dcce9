"""SenML: examples of RFC 8428 §5 and §6, and what is decided where the standard leaves it open."""

from __future__ import annotations

import json
from typing import Any

import pytest

from appliance.management.readings import Reason, Refusal
from appliance.management.senml import points_of_pack

NOW = 1_700_000_000_000


def points(pack: Any, device: str = "dev-1") -> list[dict[str, Any]]:
    found = points_of_pack(json.loads(pack) if isinstance(pack, str) else pack, device, NOW)
    assert not isinstance(found, Refusal), found
    return found


def test_a_single_value_arrives_without_a_time() -> None:
    assert points('[{"n":"urn:dev:ow:10e2073a01080063","u":"Cel","v":23.1}]') == [
        {"values": {"urn:dev:ow:10e2073a01080063": 23.1}}
    ]


def test_several_values_of_one_time_and_of_several() -> None:
    # §5.1.2 and §5.1.3
    pack = """[{"bn":"urn:dev:ow:10e2073a0108006:","bt":1.276020076001e+09, "bu":"A","bver":5, "n":"voltage","u":"V","v":120.1},
     {"n":"current","t":-5,"v":1.2}, {"n":"current","t":-4,"v":1.3}, {"n":"voltage","t":-5,"v":1}]"""
    assert points(pack, "10e2073a0108006") == [
        {"ts": 1_276_020_076_001, "values": {"voltage": 120.1}},
        {"ts": 1_276_020_071_001, "values": {"current": 1.2, "voltage": 1.0}},
        {"ts": 1_276_020_072_001, "values": {"current": 1.3}},
    ]


def test_all_kinds_of_values() -> None:
    # §5.1.5, and the same in CBOR's own kinds
    pack = """[{"bn":"urn:dev:ow:10e2073a01080063:","n":"temp","u":"Cel","v":23.1}, {"n":"label","vs":"Machine Room"},
     {"n":"open","vb":false}, {"n":"nfc-reader","vd":"aGkgCg"}]"""
    expected = {"temp": 23.1, "label": "Machine Room", "open": False, "nfc-reader": "aGkgCg"}
    assert points(pack, "10e2073a01080063") == [{"values": expected}]
    assert points([{-2: "dev-1/", 0: "nfc-reader", 8: b"hi \n"}]) == [{"values": {"nfc-reader": "aGkgCg"}}]


def test_cbor_s_labels_mean_the_same() -> None:
    # §6, the example in CBOR diagnostic notation
    pack = [
        {
            -2: "urn:dev:ow:10e2073a0108006:",
            -3: 1276020076.001,
            -4: "A",
            -1: 5,
            0: "voltage",
            1: "V",
            2: 120.1,
        },
        {0: "current", 6: -5, 2: 1.2},
    ]
    assert points(pack, "10e2073a0108006") == [
        {"ts": 1_276_020_076_001, "values": {"voltage": 120.1}},
        {"ts": 1_276_020_071_001, "values": {"current": 1.2}},
    ]


def test_base_value_and_sums() -> None:
    pack = '[{"bn":"m/","bv":20,"bs":100,"n":"a","v":1,"s":5},{"n":"b","vs":"x"},{"n":"c","s":2}]'
    assert points(pack) == [
        {"values": {"m/a": 21.0, "m/a.sum": 105.0, "m/b": "x", "m/b.sum": 100.0, "m/c.sum": 102.0}}
    ]
    assert points('[{"n":"energy","s":1.5}]') == [{"values": {"energy.sum": 1.5}}]


def test_times_below_2_28_are_relative_to_arrival_and_uncertain() -> None:
    assert points('[{"n":"a","t":-10.5,"v":1},{"n":"b","v":2},{"n":"c","t":268435455,"v":3},{"n":"d","t":268435456,"v":4}]') == [
        {"ts": NOW - 10_500, "q": "est", "values": {"a": 1.0}},
        {"values": {"b": 2.0}},
        {"ts": NOW + 268_435_455_000, "q": "est", "values": {"c": 3.0}},
        {"ts": 268_435_456_000, "values": {"d": 4.0}},
    ]  # fmt: skip


def test_a_base_time_holds_for_the_records_behind_it() -> None:
    pack = '[{"bt":1700000000},{"n":"a","v":1},{"bt":1700000100,"n":"a","v":2},{"n":"a","t":1,"v":3}]'
    assert [point["ts"] for point in points(pack)] == [
        1_700_000_000_000,
        1_700_000_100_000,
        1_700_000_101_000,
    ]


@pytest.mark.parametrize(
    ("base", "device", "metric"),
    [
        ("urn:dev:ow:pump-1:", "pump-1", "t"),
        ("pump-1/", "pump-1", "t"),
        ("pump-1", "pump-1", "t"),
        ("site/pump-1:", "pump-1", "t"),
        ("xpump-1/", "pump-1", "xpump-1/t"),
        ("pump-1/out/", "pump-1", "pump-1/out/t"),
        ("other/", "pump-1", "other/t"),
    ],
)
def test_a_base_name_that_ends_with_the_device_is_left_out(base: str, device: str, metric: str) -> None:
    assert points([{"bn": base, "n": "t", "v": 1}], device) == [{"values": {metric: 1.0}}]


def test_a_name_that_is_only_the_base_is_kept_whole() -> None:
    assert points([{"bn": "urn:dev:ow:pump-1", "v": 1}], "pump-1") == [{"values": {"urn:dev:ow:pump-1": 1.0}}]


def test_fields_that_need_not_be_understood_are_left_out() -> None:
    assert points([{"n": "a", "v": 1, "ut": 5, "u": "Cel", "new": {}}]) == [{"values": {"a": 1.0}}]
    assert points([]) == []


@pytest.mark.parametrize(
    "record",
    [
        1, {"n": "a"}, {"n": "a", "v": 1, "vs": "x"}, {"v": 1}, {"n": "", "v": 1}, {"n": "-a", "v": 1}, {"n": "a b", "v": 1},
        {"n": "ä", "v": 1}, {"n": "x" * 257, "v": 1}, {"n": 5, "v": 1}, {"n": "a", "v": "1"}, {"n": "a", "v": True},
        {"n": "a", "vb": 1}, {"n": "a", "vs": 1}, {"n": "a", "vd": 1}, {"n": "a", "v": 1, "t": "now"}, {"n": "a", "v": 1, "must_": 1},
        {"n": "a", "v": 1, 99: 1}, {"bver": 11, "n": "a", "v": 1}, {"bver": 0, "n": "a", "v": 1}, {"bver": True, "n": "a", "v": 1},
        {"n": "a", "v": 10**400}, {"n": "a", "v": 1.7e308}, {"bn": None, "n": "a", "v": 1}, {"n": "a", "v": None},
    ],
)  # fmt: skip
def test_a_record_that_is_none_refuses_the_pack(record: object) -> None:
    found = points_of_pack([{"n": "good", "v": 1}, record], "dev-1", NOW)
    assert isinstance(found, Refusal)
    assert found.reason is Reason.BAD_SENML


def test_a_pack_is_an_array_and_bounded() -> None:
    for pack, reason in (({}, Reason.BAD_SENML), ([{"n": "a", "v": 1}] * 10_001, Reason.TOO_MANY_POINTS)):
        found = points_of_pack(pack, "dev-1", NOW)
        assert isinstance(found, Refusal)
        assert found.reason is reason
