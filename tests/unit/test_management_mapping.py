"""Topics to devices and prefixes."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.core.errors import ConfigError
from appliance.management.mapping import RouteKind, TopicMapping, TopicRouter, valid_device_id


@pytest.mark.parametrize(
    ("pattern", "topic", "expected"),
    [
        ("dm/{device}/telemetry", "dm/a/telemetry", ("a", None)),
        ("dm/{device}/telemetry", "dm/a/telemetry/x", None),
        ("dm/{device}/telemetry", "dm//telemetry", None),
        ("site/+/dev/{device}/telemetry", "site/9/dev/a/telemetry", ("a", None)),
        ("tele/{device}/SENSOR", "tele/a/STATE", None),
        ("shop/{device}/{metric}", "shop/a/temp", ("a", "temp")),
        ("shop/{device}/{metric}", "shop/a/", None),
        ("x/{device}/#", "x/a", ("a", None)),
        ("x/{device}/#", "x/a/b/c", ("a", None)),
        ("x/{device}/#", "x", None),
        ("+/{device}", "$SYS/a", None),
        ("$own/{device}", "$own/a", ("a", None)),
        ("{device}/t", "$SYS/t", None),
    ],
)
def test_match(pattern: str, topic: str, expected: tuple[str, str | None] | None) -> None:
    assert TopicMapping(pattern=pattern).match(topic) == expected


def test_the_mappings_metric_is_the_prefix() -> None:
    assert TopicMapping(pattern="t/{device}", metric="temp").match("t/a") == ("a", "temp")
    assert TopicMapping(pattern="t/{device}", metric="").match("t/a") == ("a", None)


@pytest.mark.parametrize(
    ("pattern", "options", "because"),
    [
        ("a/b", {}, "exactly one level"),
        ("{device}/{device}", {}, "exactly one level"),
        ("#/{device}", {}, "last level"),
        ("{device}/{metric}/{stream}", {}, "only one level"),
        ("{device}/{metric}", {"metric": "x"}, "as well"),
        ("{device}", {"metric": "a\x07b"}, "control character"),
        ("x{device}", {}, "exactly one level"),
        ("{device}/a+b", {}, "mixes"),
        ("{device}", {"format": "xml"}, "format"),
        ("/".join(["{device}", *"x" * 40]), {}, "levels"),
    ],
)
def test_a_pattern_that_cannot_work_is_refused(pattern: str, options: dict[str, Any], because: str) -> None:
    with pytest.raises(ConfigError, match=because):
        TopicMapping(pattern=pattern, **options)


@pytest.mark.parametrize(
    ("device_id", "valid"), [("a", True), ("é" * 64, True), ("é" * 65, False), ("", False), ("a\n", False), ("a+", False)]
)  # fmt: skip
def test_valid_device_id(device_id: str, valid: bool) -> None:
    assert valid_device_id(device_id) is valid


def test_routes_are_one_object_per_topic_and_the_configurations_come_first() -> None:
    router = TopicRouter([TopicMapping(pattern="dm/{device}/telemetry", metric="mine")], route_count_max=3)
    route = router.route(b"dm/a/telemetry")
    assert (route.kind, route.device, route.prefix) == (RouteKind.TELEMETRY, "a", "mine")
    assert router.route(b"dm/a/telemetry") is route
    assert router.route(b"dm/a/status").kind is RouteKind.STATUS
    assert router.route(b"else").kind is RouteKind.UNMAPPED
    assert router.route(b"dm/a/telemetry/flow").prefix == "flow"  # the cache was full and began anew
    assert router.route(b"dm/a/telemetry") is not route
    assert "dm/a/telemetry" in repr(route)


def test_metric_names() -> None:
    router = TopicRouter()
    plain, stream = router.route(b"dm/a/telemetry"), router.route(b"dm/a/telemetry/s")
    assert plain.metric_name("") is None
    assert plain.metric_name("t") == "t"
    assert stream.metric_name("") == "s"
    assert stream.metric_name("t") == "s.t"
