"""Topic names and filters; the cases of MQTT 5.0 §4.7 and §4.8.2, with the specification's own examples."""

from __future__ import annotations

import pytest

from appliance.core.errors import LocalProtocolError, RemoteProtocolError
from broker.mqtt.reason_codes import ReasonCode
from broker.mqtt.topics import (
    SharedFilter,
    is_shared_filter,
    matches,
    parse_shared,
    validate_topic_filter,
    validate_topic_name,
)
from broker.mqtt.violations import local

SPECIFICATION = [
    # §4.7.1.2 multi-level wildcard
    ("sport/tennis/player1/#", "sport/tennis/player1", True),
    ("sport/tennis/player1/#", "sport/tennis/player1/ranking", True),
    ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", True),
    ("sport/#", "sport", True),
    ("#", "anything/at/all", True),
    ("#", "/", True),
    # §4.7.1.3 single-level wildcard
    ("sport/tennis/+", "sport/tennis/player1", True),
    ("sport/tennis/+", "sport/tennis/player2", True),
    ("sport/tennis/+", "sport/tennis/player1/ranking", False),
    ("sport/+", "sport", False),
    ("sport/+", "sport/", True),
    ("+", "sport", True),
    ("+/tennis/#", "sport/tennis/x", True),
    ("sport/+/player1", "sport/tennis/player1", True),
    ("+/+", "/finance", True),
    ("/+", "/finance", True),
    ("+", "/finance", False),
    # §4.7.2 topics beginning with $
    ("#", "$SYS/broker", False),
    ("+/monitor/Clients", "$SYS/monitor/Clients", False),
    ("$SYS/#", "$SYS/broker", True),
    ("$SYS/#", "$SYS", True),
    ("$SYS/monitor/+", "$SYS/monitor/Clients", True),
    ("+", "$", False),
    ("#", "a/$SYS", True),
    ("a/+", "a/$SYS", True),
    # §4.7.3 semantics
    ("ACCOUNTS", "Accounts", False),
    ("Accounts payable", "Accounts payable", True),
    ("/finance", "finance", False),
    ("finance/", "finance", False),
    ("a//b", "a//b", True),
    ("a/+/b", "a//b", True),
    ("a/b", "a/b/c", False),
    ("a/b/c", "a/b", False),
    ("A/\ufeffb", "A/b", False),
    # §4.8.2 shared subscriptions match as their filter does
    ("$share/g/sport/+", "sport/x", True),
    ("$share/g/#", "$SYS/x", False),
    ("$share/g/$SYS/#", "$SYS/x", True),
    ("$share", "$share", True),
]


@pytest.mark.parametrize(("topic_filter", "topic", "expected"), SPECIFICATION)
def test_matches(topic_filter: str, topic: str, expected: bool) -> None:
    assert matches(topic_filter, topic) is expected


def test_name_from_bytes() -> None:
    assert validate_topic_name("a/é".encode()) == "a/é"
    with pytest.raises(RemoteProtocolError) as caught:
        validate_topic_name(b"\xff")
    assert caught.value.reason_code == ReasonCode.MALFORMED_PACKET


@pytest.mark.parametrize("bad", ["", "+", "a/#", "/".join("x" * 33), "é" * 32_768])
def test_name_refused(bad: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        validate_topic_name(bad)
    assert caught.value.reason_code == ReasonCode.TOPIC_NAME_INVALID
    with pytest.raises(LocalProtocolError):
        validate_topic_name(bad, local)


def test_name_with_nul() -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        validate_topic_name("a\0")
    assert caught.value.reason_code == ReasonCode.MALFORMED_PACKET


def test_name_as_long_as_can_be() -> None:
    assert validate_topic_name("x" * 65_535)


@pytest.mark.parametrize(
    "bad", ["", "a#", "#/a", "+a", "a+/b", "##", "$share/g", "$share//a", "$share/g/", "x" * 65_536]
)
def test_filter_refused(bad: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        validate_topic_filter(bad)
    assert caught.value.reason_code == ReasonCode.TOPIC_FILTER_INVALID


@pytest.mark.parametrize("good", ["#", "+", "+/#", "a/b", "$share/g/+", "$share"])
def test_filter_accepted(good: str) -> None:
    assert validate_topic_filter(good) == good


def test_share_prefix_means_nothing_before_5() -> None:
    assert validate_topic_filter("$share/+/a", shared=False) == "$share/+/a"


@pytest.mark.parametrize(
    ("topic_filter", "expected"),
    [
        ("$share/g/a/b", SharedFilter("g", "a/b")),
        ("$share/g//", SharedFilter("g", "/")),
        ("$share/g", None),
        ("$share//a", None),
        ("$share/g/", None),
        ("a/b", None),
    ],
)
def test_parse_shared(topic_filter: str, expected: SharedFilter | None) -> None:
    assert parse_shared(topic_filter) == expected


def test_is_shared_filter() -> None:
    assert is_shared_filter("$share/g")
    assert not is_shared_filter("$share")
