"""Requests among publishes: however the bytes are cut, the same ones are put aside, in order, and none of them is in the batch."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from broker.mqtt.batch import Batch
from broker.mqtt.packets import PublishedRequest
from broker.mqtt.publish_parser import PublishParser, Stop
from broker.publish_check import keep_publish_properties
from tests.protocol import builder

REQUEST = "dm/provision/default/request"
CORRELATION = b"\x09\x00\x02ab"
ALIAS = b"\x23\x00\x01"


@st.composite
def packets(draw: st.DrawFn, version: int) -> list[bytes]:
    """Publishes of a device, ordinary ones and requests, with and without alias and properties."""
    made, has_alias = [], False
    for packet_id in range(1, draw(st.integers(1, 8)) + 1):
        is_request, qos = draw(st.booleans()), draw(st.integers(0, 2))
        topic, properties = (REQUEST if is_request else draw(st.sampled_from(["dm/a/t", "dm/b/t"]))), b""
        if version == 5:
            properties = draw(st.sampled_from([b"", CORRELATION]))
            if is_request and draw(st.booleans()):
                topic, has_alias, properties = "" if has_alias else topic, True, properties + ALIAS
        payload = draw(st.binary(max_size=300))
        made.append(
            builder.publish(
                topic,
                payload,
                qos=qos,
                packet_id=packet_id if qos else None,
                properties=properties if version == 5 else None,
            )
        )
    return made


def read(data: bytes, version: int, cuts: list[int]) -> tuple[list[PublishedRequest], list[bytes]]:
    """The requests, and the payloads of the batch, of bytes that come in pieces."""
    parser = PublishParser(
        has_properties=version == 5,
        packet_bytes_max=100_000,
        admit_topic=lambda _topic: True,
        keep_properties=lambda raw: keep_publish_properties(raw, 16),
        is_request=lambda topic: topic == REQUEST.encode(),
    )
    batch, waiting, began = Batch(), b"", 0
    batch.mark_time(1)
    for end in [*sorted(cuts), len(data)]:
        waiting, began = waiting + data[began:end], max(began, end)
        before = len(batch)
        pos, stop = parser.parse(waiting, 0, batch)
        assert stop is Stop.NEED_MORE
        if len(batch) > before:
            batch.close_run(batch.client_slot(("c", "p")), len(batch) - before, wire_bytes=pos)
        waiting = waiting[pos:]
    assert not waiting
    assert REQUEST.encode() not in batch.topics
    return parser.requests, list(batch.payloads)


@given(st.data(), st.sampled_from([4, 5]))
def test_any_way_of_cutting_gives_the_same(data: st.DataObject, version: int) -> None:
    made = data.draw(packets(version))
    whole = b"".join(made)
    cuts = data.draw(st.lists(st.integers(0, len(whole)), max_size=6))
    requests, payloads = read(whole, version, [])
    assert read(whole, version, cuts) == (requests, payloads)
    assert len(requests) + len(payloads) == len(made)
    for request in requests:
        assert request.topic == REQUEST.encode()
        assert request.properties in (b"", CORRELATION)
        assert bool(request.packet_id) == bool(request.first & 0x06)
