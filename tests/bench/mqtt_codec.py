"""Microseconds per packet of our codec, of amqtt's and of paho's: the table of broker/mqtt/DESIGN.md.

Run by hand: `python -m tests.bench.mqtt_codec`. The best of five rounds counts, since everything else only adds.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from timeit import repeat
from typing import Any

from amqtt.adapters import BufferReader
from amqtt.mqtt import packet_class
from amqtt.mqtt.packet import MQTTFixedHeader
from amqtt.mqtt.puback import PubackPacket
from amqtt.mqtt.publish import PublishPacket
from paho.mqtt import _packet as paho_packet
from paho.mqtt.enums import MQTTProtocolVersion

from broker.mqtt.codec import PacketReader, decode, encode
from broker.mqtt.packets import Connect, Puback, Publish, Version, Will
from broker.mqtt.properties import Properties, PropertyId
from broker.mqtt.subscriptions import SubscriptionTree

ROUNDS = 20_000
TOPIC = "dm/dev-0001/telemetry"
PAYLOAD = (
    b'{"temperature":21.5,"humidity":40,"pressure":1013.2,"battery":3.71,"seq":12345,"boot_id":"a1b2c3d4"}'
)
STREAM_PACKETS = 100


def microseconds(call: Callable[[], object], *, rounds: int = ROUNDS) -> float:
    """Of one call."""
    return min(repeat(call, number=rounds, repeat=5)) / rounds * 1e6


def body_of(data: bytes) -> bytes:
    return data[next(at for at in range(1, 5) if data[at] < 0x80) + 1 :]


def through_reader(data: bytes, version: Version) -> float:
    """Of one packet in a stream of them."""
    reader = PacketReader(version, packet_bytes_max=100_000)
    stream = data * STREAM_PACKETS
    rounds = ROUNDS // STREAM_PACKETS
    return microseconds(lambda: reader.receive_bytes(stream), rounds=rounds) / STREAM_PACKETS


def ours(version: Version) -> dict[str, float]:
    publish = Publish(topic=TOPIC, payload=PAYLOAD, qos=1, packet_id=3)
    data = encode(publish, version)
    body = body_of(data)
    puback = encode(Puback(packet_id=9), version)
    connect = Connect(
        client_id="dev-0001",
        username="dev-0001",
        password=bytes(32),
        keep_alive_s=60,
        version=version,
        will=Will(topic="dm/dev-0001/status", payload=b"lost"),
    )
    connect_body = body_of(encode(connect, version))
    return {
        "PUBLISH make": microseconds(lambda: Publish(topic=TOPIC, payload=PAYLOAD, qos=1, packet_id=3)),
        "PUBLISH encode": microseconds(lambda: encode(publish, version)),
        "PUBLISH make and encode": microseconds(
            lambda: encode(Publish(topic=TOPIC, payload=PAYLOAD, qos=1, packet_id=3), version)
        ),
        "PUBLISH decode": microseconds(lambda: decode(data[0], body, version)),
        "PUBLISH through the reader": through_reader(data, version),
        "PUBACK make and encode": microseconds(lambda: encode(Puback(packet_id=9), version)),
        "PUBACK decode": microseconds(lambda: decode(0x40, b"\0\x09", version)),
        "PUBACK through the reader": through_reader(puback, version),
        "CONNECT encode": microseconds(lambda: encode(connect, version)),
        "CONNECT decode": microseconds(lambda: decode(0x10, connect_body, version)),
    }


def with_properties() -> dict[str, float]:
    values: dict[PropertyId, int | str | bytes | tuple[int, ...]] = {
        PropertyId.MESSAGE_EXPIRY_INTERVAL: 60,
        PropertyId.CONTENT_TYPE: "application/json",
    }
    packet = Publish(topic="a", properties=Properties(values, (("traceparent", "00-1-2-3"),)))
    data = encode(packet, Version.MQTT_5)
    body = body_of(data)
    return {
        "PUBLISH with three properties encode": microseconds(lambda: encode(packet, Version.MQTT_5)),
        "PUBLISH with three properties decode": microseconds(lambda: decode(data[0], body, Version.MQTT_5)),
    }


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("amqtt waited for a buffer")


def amqtt_decode(data: bytes) -> Any:
    reader = BufferReader(data)
    header = run(MQTTFixedHeader.from_stream(reader))
    return run(packet_class(header).from_stream(reader, fixed_header=header))


def amqtt() -> dict[str, float]:
    built = PublishPacket.build(TOPIC, PAYLOAD, 3, False, 1, False)
    publish, puback = built.to_bytes(), PubackPacket.build(9).to_bytes()
    return {
        "PUBLISH encode": microseconds(built.to_bytes),
        "PUBLISH make and encode": microseconds(
            lambda: PublishPacket.build(TOPIC, PAYLOAD, 3, False, 1, False).to_bytes()
        ),
        "PUBLISH decode": microseconds(lambda: amqtt_decode(publish)),
        "PUBACK make and encode": microseconds(lambda: PubackPacket.build(9).to_bytes()),
        "PUBACK decode": microseconds(lambda: amqtt_decode(puback)),
    }


def paho() -> dict[str, float]:
    data = encode(Publish(topic=TOPIC, payload=PAYLOAD, qos=1, packet_id=3), Version.MQTT_5)
    body = body_of(data)
    return {
        "PUBLISH decode": microseconds(
            lambda: paho_packet.decode_publish(data[0], body, MQTTProtocolVersion.MQTTv5)
        )
    }


def tree() -> dict[str, float]:
    subscriptions: SubscriptionTree[int] = SubscriptionTree()
    for number in range(10_000):
        subscriptions.add(f"dm/dev-{number:05}/cmd/#", number, 0)
    subscriptions.add("dm/+/telemetry", "app", 0)
    subscriptions.add("#", "all", 0)
    fresh = iter(f"dm/dev-{number % 10_000:05}/telemetry/{number}" for number in range(10 * ROUNDS))
    return {
        "match, cached": microseconds(lambda: subscriptions.match("dm/dev-00077/telemetry")),
        "match, not cached": microseconds(lambda: subscriptions.match(next(fresh))),
    }


def main() -> None:
    columns = {
        "3.1.1": ours(Version.MQTT_3_1_1),
        "5.0": ours(Version.MQTT_5) | with_properties(),
        "amqtt 3.1.1": amqtt(),
        "paho 5.0": paho(),
        "tree": tree(),
    }
    rows = list(dict.fromkeys(row for column in columns.values() for row in column))
    print(f"{'µs':38}" + "".join(f"{name:>13}" for name in columns))
    for row in rows:
        cells = (f"{column[row]:13.2f}" if row in column else " " * 13 for column in columns.values())
        print(f"{row:38}" + "".join(cells))


if __name__ == "__main__":
    main()
