"""The bag of properties, and its bytes."""

from __future__ import annotations

import pytest

from appliance.core.errors import LocalProtocolError, RemoteProtocolError
from broker.mqtt.constants import PacketType
from broker.mqtt.properties import Properties, PropertyId, Value, decode_properties, encode_properties
from broker.mqtt.property_table import WILL, Carrier

P = PropertyId


def test_empty_is_shared() -> None:
    assert decode_properties(b"", PacketType.PUBLISH) is Properties.EMPTY
    assert not Properties.EMPTY
    assert Properties() == Properties.EMPTY
    assert encode_properties(Properties.EMPTY) == b""
    assert repr(Properties.EMPTY) == "Properties.EMPTY"


def test_lookup_by_id_and_by_name() -> None:
    bag = Properties({P.RECEIVE_MAXIMUM: 5, P.REASON_STRING: "r"}, (("k", "v"),))
    assert bag[P.RECEIVE_MAXIMUM] == bag["receive_maximum"] == bag.get("receive_maximum") == 5
    assert bag.get(P.TOPIC_ALIAS) is None
    with pytest.raises(KeyError):
        bag[P.TOPIC_ALIAS]
    assert P.REASON_STRING in bag
    assert P.TOPIC_ALIAS not in bag
    assert P.USER_PROPERTY in bag
    assert P.USER_PROPERTY not in Properties.EMPTY
    assert len(bag) == 3
    assert dict(bag.items()) == {P.RECEIVE_MAXIMUM: 5, P.REASON_STRING: "r"}
    assert repr(bag) == "<Properties receive maximum=5, reason string='r', 'k': 'v'>"


def test_typed_lookup_gives_defaults() -> None:
    bag = Properties({P.RECEIVE_MAXIMUM: 5, P.REASON_STRING: "r", P.CORRELATION_DATA: b"c"})
    assert bag.integer(P.RECEIVE_MAXIMUM, 65_535) == 5
    assert bag.integer(P.TOPIC_ALIAS_MAXIMUM, 7) == 7
    assert bag.integer(P.REASON_STRING, 7) == 7
    assert (bag.text(P.REASON_STRING), bag.text(P.RECEIVE_MAXIMUM), bag.text(P.CONTENT_TYPE)) == (
        "r",
        None,
        None,
    )
    assert (bag.binary(P.CORRELATION_DATA), bag.binary(P.REASON_STRING)) == (b"c", None)
    assert bag.subscription_identifiers == ()
    assert Properties({P.SUBSCRIPTION_IDENTIFIER: (1, 2)}).subscription_identifiers == (1, 2)
    assert Properties({P.SUBSCRIPTION_IDENTIFIER: 1}).subscription_identifiers == ()


def test_equality_and_hash() -> None:
    one = Properties({P.CONTENT_TYPE: "a", P.TOPIC_ALIAS: 1}, (("k", "v"),))
    same = Properties({P.TOPIC_ALIAS: 1, P.CONTENT_TYPE: "a"}, (("k", "v"),))
    assert one == same
    assert hash(one) == hash(same)
    assert one != Properties({P.TOPIC_ALIAS: 1}, (("k", "v"),))
    assert one != Properties({P.TOPIC_ALIAS: 1, P.CONTENT_TYPE: "a"})
    assert one != {"topic_alias": 1}


def test_without_and_with_values() -> None:
    bag = Properties({P.TOPIC_ALIAS: 1, P.CONTENT_TYPE: "a"}, (("k", "v"),))
    assert bag.without(P.TOPIC_ALIAS) == Properties({P.CONTENT_TYPE: "a"}, (("k", "v"),))
    assert bag.without(P.TOPIC_ALIAS, P.CONTENT_TYPE, P.USER_PROPERTY) is Properties.EMPTY
    assert bag.with_values({P.TOPIC_ALIAS: 2}) == Properties(
        {P.TOPIC_ALIAS: 2, P.CONTENT_TYPE: "a"}, (("k", "v"),)
    )
    assert bag[P.TOPIC_ALIAS] == 1


def test_bytes_keep_order_and_put_user_properties_last() -> None:
    bag = Properties({P.SUBSCRIPTION_IDENTIFIER: (5, 128), P.PAYLOAD_FORMAT_INDICATOR: 1}, (("k", "v"),))
    assert encode_properties(bag) == b"\x0b\x05\x0b\x80\x01\x01\x01\x26\x00\x01k\x00\x01v"


def test_bytes_of_each_type() -> None:
    bag = Properties(
        {P.MESSAGE_EXPIRY_INTERVAL: 1, P.TOPIC_ALIAS: 2, P.CONTENT_TYPE: "t", P.CORRELATION_DATA: b"c"}
    )
    data = b"\x02\x00\x00\x00\x01\x23\x00\x02\x03\x00\x01t\x09\x00\x01c"
    assert encode_properties(bag) == data
    assert decode_properties(data) == bag


@pytest.mark.parametrize(
    ("values", "carrier"),
    [
        ({P.TOPIC_ALIAS: 1}, PacketType.CONNECT),
        ({P.WILL_DELAY_INTERVAL: 1}, PacketType.PUBLISH),
        ({P.USER_PROPERTY: "k"}, PacketType.PUBLISH),
        ({P.TOPIC_ALIAS: 0}, PacketType.PUBLISH),
        ({P.TOPIC_ALIAS: 65_536}, PacketType.PUBLISH),
        ({P.TOPIC_ALIAS: "1"}, PacketType.PUBLISH),
        ({P.TOPIC_ALIAS: b"1"}, PacketType.PUBLISH),
        ({P.CONTENT_TYPE: 1}, PacketType.PUBLISH),
        ({P.CONTENT_TYPE: b"text"}, WILL),
        ({P.CONTENT_TYPE: "\ud800"}, WILL),
        ({P.CORRELATION_DATA: "text"}, WILL),
        ({P.SUBSCRIPTION_IDENTIFIER: ()}, PacketType.PUBLISH),
        ({P.SUBSCRIPTION_IDENTIFIER: ()}, PacketType.SUBSCRIBE),
        ({P.SUBSCRIPTION_IDENTIFIER: (0,)}, PacketType.PUBLISH),
        ({P.SUBSCRIPTION_IDENTIFIER: 1}, PacketType.PUBLISH),
        ({P.TOPIC_ALIAS: (1, 2)}, PacketType.PUBLISH),
        ({P.SUBSCRIPTION_IDENTIFIER: (1, 2)}, PacketType.SUBSCRIBE),
        ({P.RESPONSE_TOPIC: "a/#"}, PacketType.PUBLISH),
        ({P.AUTHENTICATION_DATA: b"d"}, PacketType.AUTH),
        ({P.MESSAGE_EXPIRY_INTERVAL: -1}, PacketType.PUBLISH),
        ({P.MESSAGE_EXPIRY_INTERVAL: 1 << 32}, PacketType.PUBLISH),
    ],
)
def test_encode_refuses(values: dict[PropertyId, Value], carrier: Carrier) -> None:
    with pytest.raises(LocalProtocolError):
        encode_properties(Properties(values), carrier)


def test_encode_refuses_too_many_user_properties() -> None:
    with pytest.raises(LocalProtocolError, match="More than 64"):
        encode_properties(Properties(user=(("k", "v"),) * 65))


def test_decode_names_the_property_and_the_packet() -> None:
    with pytest.raises(RemoteProtocolError, match="Property topic alias does not belong in CONNECT"):
        decode_properties(b"\x23\x00\x01", PacketType.CONNECT)
    with pytest.raises(RemoteProtocolError, match="Property 0x7F does not belong in WILL"):
        decode_properties(b"\x7f", WILL)
