"""What a PUBLISH from a client must be."""

from __future__ import annotations

import pytest

from appliance.core.errors import RemoteProtocolError
from appliance.management.access import AccessPolicy, Principal
from broker.publish_check import admit_topic, is_request, keep_publish_properties
from tests.protocol import builder

DEVICE = Principal(name="d1")
POLICY = AccessPolicy(["site/+/{device}/telemetry"])


@pytest.mark.parametrize("topic", [b"dm/d1/telemetry", b"site/x/d1/telemetry"])
def test_its_own_topics(topic: bytes) -> None:
    assert admit_topic(topic, DEVICE, POLICY, has_properties=False)


@pytest.mark.parametrize("topic", [b"dm/d2/telemetry", b"dm/d1", b"$SYS/x", b"site/x/d2/telemetry"])
def test_topics_of_others(topic: bytes) -> None:
    assert not admit_topic(topic, DEVICE, POLICY, has_properties=True)
    with pytest.raises(RemoteProtocolError) as caught:
        admit_topic(topic, DEVICE, POLICY, has_properties=False)
    assert caught.value.reason_code == 0x87
    assert "dm/<device id>/" in caught.value.hint


@pytest.mark.parametrize(
    ("topic", "code"),
    [(b"a/+", 0x90), (b"#", 0x90), (b"\xff", 0x81), (b"a\0", 0x81), (b"/" * 40, 0x90)],
)
def test_what_is_no_topic_name(topic: bytes, code: int) -> None:
    for has_properties in (False, True):
        with pytest.raises(RemoteProtocolError) as caught:
            admit_topic(topic, DEVICE, POLICY, has_properties)
        assert caught.value.reason_code == code


def test_an_empty_topic() -> None:
    """Where MQTT 5 allows one, the parser has put the alias's topic in its place."""
    for has_properties in (False, True):
        with pytest.raises(RemoteProtocolError) as caught:
            admit_topic(b"", DEVICE, POLICY, has_properties)
        assert caught.value.reason_code == 0x90


def test_properties_go_through_as_they_came() -> None:
    raw = builder.puser("traceparent", "00-1") + builder.p8(0x01, 1) + builder.ptext(0x08, "answer/here")
    assert keep_publish_properties(raw, 16) == (raw, 0)
    assert keep_publish_properties(b"", 16) == (b"", 0)


def test_a_topic_alias_ends_here() -> None:
    """It means something between this client and us alone (MQTT 5.0 §3.3.2.3.4)."""
    alias, others = (
        builder.p16(0x23, 16),
        builder.p8(0x01, 1) + builder.puser("b", "2") + builder.puser("a", "1"),
    )
    assert keep_publish_properties(alias, 16) == (b"", 16)
    assert keep_publish_properties(alias + others, 16) == (others, 16)
    assert keep_publish_properties(others + alias, 16) == (others, 16)
    with pytest.raises(RemoteProtocolError, match="above the maximum of 0"):
        keep_publish_properties(builder.p16(0x23, 1), 0)


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (builder.p16(0x23, 0), 0x94),
        (builder.p16(0x23, 17), 0x94),
        (builder.p16(0x23, 1) * 2, 0x82),
        (builder.pvar(0x0B, 1), 0x82),
        (builder.p8(0x01, 1) * 2, 0x82),
        (builder.p32(0x11, 1), 0x81),
        (b"\x26\0", 0x81),
    ],
)
def test_properties_that_are_refused(raw: bytes, code: int) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        keep_publish_properties(raw, 16)
    assert caught.value.reason_code == code


def test_requests() -> None:
    topic = b"dm/provision/default/request"
    assert is_request(topic, DEVICE, POLICY)
    assert not is_request(b"dm/provision/default/accepted", DEVICE, POLICY)
    assert not is_request(b"dm/d1/telemetry", DEVICE, POLICY)
    assert not is_request(topic, Principal(name="$local", kind="application", access="site"), POLICY)
    with pytest.raises(RemoteProtocolError):
        is_request(b"dm/provision/+/request", DEVICE, POLICY)
