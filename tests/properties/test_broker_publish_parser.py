"""The publish parser against the codec: two independent readers of the same bytes.

1. Agreement: on streams of valid packets, and of packets with bytes changed, for 3.1.1 and 5, the parser finds the
   publishes that `PacketReader` finds, and an error where that finds one or finds what this release refuses.
2. However the bytes are cut and however full the batches are, the records are the same.
3. The short way of a packet that comes alone (`parse_single`) finds what the long way finds.
4. Totality: any bytes give records or RemoteProtocolError, nothing else, and a block that can be read again.
"""

from __future__ import annotations

from hypothesis import event, example, given
from hypothesis import strategies as st

from appliance.management.access import Principal
from broker.mqtt.codec import encode
from broker.mqtt.constants import Version
from broker.mqtt.packets import Packet, Publish
from broker.mqtt.property_table import PropertyId
from tests.protocol import builder

from .mqtt_strategies import packets, publishes
from .publish_model import (
    ALIAS_MAX,
    OWN,
    POLICY,
    SITE,
    assert_agreement,
    assert_same,
    by_codec,
    pieces,
    run,
)

VERSIONS = st.sampled_from([Version.MQTT_3_1_1, Version.MQTT_5])


@st.composite
def plain_publishes(draw: st.DrawFn, version: Version) -> Publish:
    """Publishes as devices send them: few topics, few aliases, most of which stand for something."""
    packet = draw(publishes(version))
    topic = draw(st.sampled_from(["dm/a/telemetry", "dm/a/t", "x", "dm/b/telemetry", packet.topic or "y"]))
    properties = packet.properties.without(PropertyId.TOPIC_ALIAS, PropertyId.SUBSCRIPTION_IDENTIFIER)
    alias = draw(st.sampled_from([0, 0, 1, 1, 2, ALIAS_MAX, ALIAS_MAX + 1]))
    if alias and version is Version.MQTT_5:
        properties = properties.with_values({PropertyId.TOPIC_ALIAS: alias})
        topic = draw(st.sampled_from(["", topic]))
    return Publish(
        topic=topic,
        payload=packet.payload,
        qos=packet.qos,
        dup=packet.dup,
        retain=packet.retain,
        packet_id=packet.packet_id,
        properties=properties,
    )


@st.composite
def streams(draw: st.DrawFn) -> tuple[Version, bytes]:
    version = draw(VERSIONS)
    kinds = st.one_of(
        plain_publishes(version), plain_publishes(version), plain_publishes(version), packets(version)
    )
    several: list[Packet] = draw(st.lists(kinds, max_size=8))
    data = bytearray(b"".join(encode(packet, version) for packet in several))
    for place, value in draw(st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), max_size=3)):
        if data:
            data[place % len(data)] = value
    if draw(st.booleans()) and data:
        del data[draw(st.integers(0, len(data) - 1)) :]
    return version, bytes(data)


CUTS = st.lists(st.integers(0, 5000), max_size=8)
SLACKS = st.lists(st.integers(0, 800), min_size=1, max_size=6)


ALIASED = builder.publish("a", b"x", properties=builder.p16(0x23, 1))


@given(streams())
@example((Version.MQTT_3_1_1, builder.packet(0x30, b"\xff\xff\xff\xff", b"payload")))
@example((Version.MQTT_3_1_1, builder.packet(0x30, builder.text("a"), b"x", length_bytes=3)))
@example((Version.MQTT_5, builder.packet(0x30, builder.text("a"), b"\0x", length_bytes=3)))
@example((Version.MQTT_5, builder.publish("", b"x", properties=b"")))
@example((Version.MQTT_5, ALIASED + builder.publish("", b"y", properties=builder.p16(0x23, 1))))
@example((Version.MQTT_5, ALIASED + builder.publish("", b"y", properties=b"")))
@example((Version.MQTT_5, builder.publish("t" * 513, b"x", properties=builder.p16(0x23, 1))))
@example((Version.MQTT_3_1_1, builder.publish("$SYS", b"x")))
def test_agreement_with_the_codec(stream: tuple[Version, bytes]) -> None:
    version, data = stream
    expected, is_broken = assert_agreement(version, data)
    event(f"{version.name}, {'broken' if is_broken else 'whole'}, {min(len(expected), 3)} publishes or more")


@given(streams(), CUTS, SLACKS)
def test_cuts_and_fullness_change_nothing(
    stream: tuple[Version, bytes], cuts: list[int], slacks: list[int]
) -> None:
    version, data = stream
    assert_same(run(version, pieces(data, cuts), slacks), run(version, [data]))


@st.composite
def alternations(draw: st.DrawFn) -> tuple[Version, list[bytes]]:
    """Short publishes of few shapes and now and then another packet, a byte changed here and there; each is a piece."""
    version = draw(VERSIONS)
    payloads = st.sampled_from([b"", b"\0", b"21.5", b"x" * 104, b"x" * 105, b"x" * 130])
    packet_ids = st.sampled_from([1, 2, 0x100, 0xFFFF])
    aliases = st.sampled_from([b"", b"", builder.p16(0x23, 1)] if version is Version.MQTT_5 else [None])
    several = [
        bytearray(
            builder.publish(
                topic, payload, qos=qos, packet_id=packet_id if qos else None, properties=properties
            )
        )
        for topic, payload, qos, packet_id, properties in draw(
            st.lists(
                st.tuples(
                    st.sampled_from(["dm/a/t", "dm/a/t", "x"] + [""] * (version is Version.MQTT_5)),
                    payloads,
                    st.sampled_from([1, 1, 1, 0]),
                    packet_ids,
                    aliases,
                ),
                max_size=10,
            )
        )
    ]
    for number, place, value in draw(
        st.lists(st.tuples(st.integers(0, 9), st.integers(0, 14), st.integers(0, 255)), max_size=2)
    ):
        if number < len(several) and place < len(several[number]):
            several[number][place] = value
    return version, [bytes(packet) for packet in several]


@given(alternations(), SLACKS)
@example((Version.MQTT_3_1_1, [builder.publish("x", b"1", qos=1, packet_id=1)] * 3), [30])
@example((Version.MQTT_5, [builder.publish("x", b"", qos=1, packet_id=1, properties=b"")] * 3), [500])
def test_the_short_way_is_the_long_way(stream: tuple[Version, list[bytes]], slacks: list[int]) -> None:
    version, several = stream
    alone, together = run(version, several, slacks), run(version, [b"".join(several)])
    event(f"{min(alone.single_count, 3)} or more came the short way")
    assert alone.records == together.records
    assert alone.refused == together.refused
    assert (alone.error and alone.error.reason_code) == (together.error and together.error.reason_code)


def test_the_short_way_is_taken() -> None:
    several = [builder.publish("x", b"%d" % n, qos=1, packet_id=n) for n in range(1, 10)]
    assert run(Version.MQTT_3_1_1, several).single_count == 8, "all but the first"
    refused = [builder.publish("dm/b/t", b"1", qos=1, packet_id=n, properties=b"") for n in range(1, 4)]
    assert run(Version.MQTT_5, refused, principal=OWN).single_count == 0


@given(VERSIONS, st.binary(max_size=300), CUTS, SLACKS, st.sampled_from([SITE, OWN]))
def test_any_bytes(
    version: Version, data: bytes, cuts: list[int], slacks: list[int], principal: Principal
) -> None:
    plane = run(version, pieces(data, cuts), slacks, principal)
    assert plane.error is None or 0x81 <= plane.error.reason_code <= 0xA2


@given(
    VERSIONS,
    st.lists(st.tuples(st.sampled_from([0x30, 0x32, 0x3A]), st.binary(max_size=60)), max_size=8),
    SLACKS,
)
def test_any_publish_bodies(version: Version, bodies: list[tuple[int, bytes]], slacks: list[int]) -> None:
    """Right lengths reach further than raw bytes do; nobody gets a record under a topic that is not their own."""
    data = b"".join(builder.packet(first, body) for first, body in bodies)
    expected, _ = by_codec(data, version)
    assert run(version, [data], slacks).records == [
        r for r in expected if POLICY.may_publish(SITE, r[0].decode())
    ]
    own = run(version, [data], slacks, OWN)
    assert all(record[0].startswith(b"dm/a/") for record in own.records)
