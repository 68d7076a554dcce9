"""Hypothesis strategies for every MQTT packet that the specification allows, per version."""

from __future__ import annotations

from hypothesis import strategies as st

from broker.mqtt.constants import PacketType
from broker.mqtt.packets import (
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Subscription,
    Unsuback,
    Unsubscribe,
    Version,
    Will,
)
from broker.mqtt.properties import Properties, PropertyId, Value
from broker.mqtt.property_table import PROPERTY_RULES, WILL, Carrier, Kind
from broker.mqtt.reason_codes import ALLOWED
from broker.mqtt.topics import is_shared_filter

VERSIONS = st.sampled_from(Version)
PACKET_IDS = st.integers(1, 0xFFFF)
QOS = st.integers(0, 2)
CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
TEXT = st.text(CHARACTERS, max_size=12)
BINARY = st.binary(max_size=12)
LEVEL = st.text(
    st.one_of(st.sampled_from("ab$/"), st.characters(exclude_categories=["Cs"], exclude_characters="\0+#"))
)
TOPICS = st.builds("/".join, st.lists(LEVEL, min_size=1, max_size=4)).filter(
    lambda t: t and t.count("/") < 32
)
FILTERS = st.builds(
    lambda levels, tail: "/".join(levels + tail),
    st.lists(st.one_of(st.just("+"), st.sampled_from(["", "a", "b", "$SYS", "é"])), min_size=1, max_size=4),
    st.sampled_from([[], ["#"]]),
).filter(bool) | st.just("#")
SHARED_FILTERS = st.builds(lambda name, rest: f"$share/{name}/{rest}", st.sampled_from(["g", "a b"]), FILTERS)


def _value(key: PropertyId) -> st.SearchStrategy[Value]:
    rule = PROPERTY_RULES[key]
    if key is PropertyId.RESPONSE_TOPIC:
        return TOPICS
    if rule.kind is Kind.TEXT:
        return TEXT
    if rule.kind is Kind.BINARY:
        return BINARY
    bounds = {Kind.U8: 0xFF, Kind.U16: 0xFFFF, Kind.U32: 0xFFFF_FFFF, Kind.VARINT: 268_435_455}
    number = st.integers(rule.least, min(rule.most, bounds[rule.kind]))
    return st.tuples(number) if rule.kind is Kind.VARINT else number


@st.composite
def properties(draw: st.DrawFn, carrier: Carrier, version: Version, *required: PropertyId) -> Properties:
    """Any bag this packet may carry; always the empty one before MQTT 5."""
    if version is not Version.MQTT_5:
        return Properties.EMPTY
    keys = [
        key for key, rule in PROPERTY_RULES.items() if carrier in rule.carriers and rule.kind is not Kind.PAIR
    ]
    chosen = set(draw(st.lists(st.sampled_from(keys), unique=True, max_size=5))) if keys else set()
    chosen |= set(required)
    if PropertyId.AUTHENTICATION_DATA in chosen:
        chosen.add(PropertyId.AUTHENTICATION_METHOD)
    values = {PropertyId(key): draw(_value(PropertyId(key))) for key in sorted(chosen)}
    if carrier is PacketType.PUBLISH and PropertyId.SUBSCRIPTION_IDENTIFIER in values:
        more = draw(st.lists(st.integers(1, 268_435_455), min_size=1, max_size=3))
        values[PropertyId.SUBSCRIPTION_IDENTIFIER] = tuple(more)
    user = tuple(draw(st.lists(st.tuples(TEXT, TEXT), max_size=3)))
    return Properties(values, user)


@st.composite
def connects(draw: st.DrawFn, version: Version) -> Connect:
    clean_start = draw(st.booleans())
    username = draw(st.none() | TEXT)
    may_have_password = username is not None or version is Version.MQTT_5
    will = None
    if draw(st.booleans()):
        will = Will(
            topic=draw(TOPICS),
            payload=draw(BINARY),
            qos=draw(QOS),
            retain=draw(st.booleans()),
            properties=draw(properties(WILL, version)),
        )
    may_be_empty = version is Version.MQTT_5 or (version is Version.MQTT_3_1_1 and clean_start)
    return Connect(
        client_id=draw(TEXT if may_be_empty else TEXT.filter(bool)),
        clean_start=clean_start,
        keep_alive_s=draw(st.integers(0, 0xFFFF)),
        username=username,
        password=draw(st.none() | BINARY) if may_have_password else None,
        will=will,
        version=version,
        is_bridge=version is not Version.MQTT_5 and draw(st.booleans()),
        properties=draw(properties(PacketType.CONNECT, version)),
    )


@st.composite
def publishes(draw: st.DrawFn, version: Version) -> Publish:
    qos = draw(QOS)
    bag = draw(properties(PacketType.PUBLISH, version))
    return Publish(
        topic=draw(TOPICS | st.just("")) if PropertyId.TOPIC_ALIAS in bag else draw(TOPICS),
        payload=draw(st.binary(max_size=300)),
        qos=qos,
        retain=draw(st.booleans()),
        dup=draw(st.booleans()) if qos else False,
        packet_id=draw(PACKET_IDS) if qos else None,
        properties=bag,
    )


Acknowledging = type[Puback] | type[Pubrec] | type[Pubrel] | type[Pubcomp]
ACKNOWLEDGING: list[tuple[PacketType, Acknowledging]] = [
    (PacketType.PUBACK, Puback),
    (PacketType.PUBREC, Pubrec),
    (PacketType.PUBREL, Pubrel),
    (PacketType.PUBCOMP, Pubcomp),
]


@st.composite
def acknowledgements(draw: st.DrawFn, version: Version) -> Packet:
    kind, make = draw(st.sampled_from(ACKNOWLEDGING))
    return make(
        packet_id=draw(PACKET_IDS),
        reason_code=draw(st.sampled_from(sorted(ALLOWED[kind]))) if version is Version.MQTT_5 else 0,
        properties=draw(properties(kind, version)),
    )


@st.composite
def subscriptions(draw: st.DrawFn, version: Version) -> Subscription:
    topic_filter = draw(FILTERS | SHARED_FILTERS)
    if version is not Version.MQTT_5:
        return Subscription(topic_filter=topic_filter, qos=draw(QOS))
    return Subscription(
        topic_filter=topic_filter,
        qos=draw(QOS),
        no_local=draw(st.booleans()) and not is_shared_filter(topic_filter),
        retain_as_published=draw(st.booleans()),
        retain_handling=draw(st.integers(0, 2)),
    )


@st.composite
def subscribes(draw: st.DrawFn, version: Version) -> Subscribe:
    return Subscribe(
        packet_id=draw(PACKET_IDS),
        subscriptions=tuple(draw(st.lists(subscriptions(version), min_size=1, max_size=4))),
        properties=draw(properties(PacketType.SUBSCRIBE, version)),
    )


@st.composite
def unsubscribes(draw: st.DrawFn, version: Version) -> Unsubscribe:
    return Unsubscribe(
        packet_id=draw(PACKET_IDS),
        topic_filters=tuple(draw(st.lists(FILTERS | SHARED_FILTERS, min_size=1, max_size=4))),
        properties=draw(properties(PacketType.UNSUBSCRIBE, version)),
    )


@st.composite
def answers(draw: st.DrawFn, version: Version) -> Packet:
    """What only a server sends."""
    is_5 = version is Version.MQTT_5
    kind = draw(
        st.sampled_from([PacketType.CONNACK, PacketType.SUBACK, PacketType.UNSUBACK, PacketType.PINGRESP])
    )
    if kind is PacketType.PINGRESP:
        return Pingresp()
    codes = sorted(ALLOWED[kind])
    bag = draw(properties(kind, version))
    if kind is PacketType.CONNACK:
        code = draw(st.sampled_from(codes if is_5 else range(6)))
        may_be_present = code == 0 and version is not Version.MQTT_3_1
        return Connack(
            session_present=may_be_present and draw(st.booleans()), reason_code=code, properties=bag
        )
    if kind is PacketType.SUBACK:
        codes = codes if is_5 else [0, 1, 2, 0x80]
        many = draw(st.lists(st.sampled_from(codes), min_size=1, max_size=4))
        return Suback(packet_id=draw(PACKET_IDS), reason_codes=tuple(many), properties=bag)
    many = draw(st.lists(st.sampled_from(codes), min_size=1, max_size=4)) if is_5 else []
    return Unsuback(packet_id=draw(PACKET_IDS), reason_codes=tuple(many), properties=bag)


@st.composite
def disconnects(draw: st.DrawFn, version: Version) -> Disconnect:
    if version is not Version.MQTT_5:
        return Disconnect()
    code = draw(st.sampled_from(sorted(ALLOWED[PacketType.DISCONNECT])))
    return Disconnect(reason_code=code, properties=draw(properties(PacketType.DISCONNECT, version)))


@st.composite
def auths(draw: st.DrawFn) -> Auth:
    if draw(st.booleans()):
        return Auth()
    bag = draw(properties(PacketType.AUTH, Version.MQTT_5, PropertyId.AUTHENTICATION_METHOD))
    return Auth(reason_code=draw(st.sampled_from([0x00, 0x18, 0x19])), properties=bag)


def packets(version: Version) -> st.SearchStrategy[Packet]:
    """Any packet but CONNECT."""
    several: list[st.SearchStrategy[Packet]] = [
        publishes(version),
        acknowledgements(version),
        subscribes(version),
        unsubscribes(version),
        answers(version),
        disconnects(version),
        st.just(Pingreq()),
    ]
    if version is Version.MQTT_5:
        several.append(auths())
    return st.one_of(several)


def version_and(make: str) -> st.SearchStrategy[tuple[Version, Packet]]:
    """A version and one of its packets (`any`) or a CONNECT (`connect`)."""
    chosen = {"any": packets, "connect": connects}[make]
    return VERSIONS.flatmap(lambda version: st.tuples(st.just(version), chosen(version)))
