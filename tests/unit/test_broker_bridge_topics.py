"""broker/bridge/topics.py"""

from __future__ import annotations

import pytest

from broker.bridge.topics import TopicRule, incoming, outgoing

RULES = (
    TopicRule(topic_filter="dm/#", qos=1, remote_prefix="site-7/"),
    TopicRule(topic_filter="+/alarm", qos=2, local_prefix="plant/", remote_prefix="alarms/"),
    TopicRule(topic_filter="dm/+/urgent", qos=2),
)


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ("dm/d1/telemetry", ("site-7/dm/d1/telemetry", 1)),
        ("dm", ("site-7/dm", 1)),
        ("plant/a/alarm", ("alarms/a/alarm", 2)),
        ("dm/d1/urgent", ("dm/d1/urgent", 2)),
        ("a/alarm", None),
        ("other", None),
        ("$SYS/dm", None),
    ],
)
def test_where_a_local_topic_goes(topic: str, expected: tuple[str, int] | None) -> None:
    assert outgoing(RULES, topic) == expected


@pytest.mark.parametrize(
    ("topic", "expected"),
    [("site-7/dm/d1", "dm/d1"), ("alarms/a/alarm", "plant/a/alarm"), ("dm/x", None), ("alarms/a/b", None)],
)
def test_what_the_remotes_topic_is_here(topic: str, expected: str | None) -> None:
    assert incoming(RULES[:2], topic) == expected


def test_what_is_only_the_prefix_without_its_slash_does_not_cross() -> None:
    rule = TopicRule(topic_filter="#", qos=0, local_prefix="a/", remote_prefix="b/")
    assert outgoing((rule,), "a/x") == ("b/x", 0)
    assert outgoing((rule,), "a") is None
    assert incoming((rule,), "b/x") == "a/x"
    assert incoming((rule,), "b") is None


def test_a_wildcard_first_does_not_match_the_brokers_own_topics() -> None:
    assert outgoing((TopicRule(topic_filter="#", qos=0),), "$SYS/broker/uptime") is None
