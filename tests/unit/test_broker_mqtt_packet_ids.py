"""A set of packet identifiers, against Python's; and what the publish parser makes of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from broker.mqtt.batch import Batch
from broker.mqtt.packet_ids import DIGEST_COUNT_MAX, PACKET_ID_MAX, PacketIds, message_digest
from tests.protocol import builder
from tests.unit.test_broker_mqtt_publish_parser import Rig

NUMBERS = st.one_of(st.sampled_from([1, 7, 8, 9, PACKET_ID_MAX]), st.integers(1, PACKET_ID_MAX))


@given(st.lists(st.tuples(st.booleans(), NUMBERS), max_size=40))
def test_it_is_a_set(steps: list[tuple[bool, int]]) -> None:
    ids, model = PacketIds(), set[int]()
    for is_added, number in steps:
        if is_added:
            ids.add(number)
            model.add(number)
        else:
            assert ids.discard(number) == (number in model)
            model.discard(number)
        assert len(ids) == len(model)
        assert (number in ids) == (number in model)
    assert list(ids) == sorted(model)


def test_which_message_an_identifier_stands_for() -> None:
    ids = PacketIds()
    one, other = message_digest(b"t", b"1"), message_digest(b"t1", b"")
    assert one != other
    assert not ids.is_of(5, one)
    ids.add(5, one)
    assert ids.is_of(5, one)
    ids.add(5, other)
    assert (ids.is_of(5, one), ids.is_of(5, other), len(ids)) == (False, True, 1)
    ids.add(6)
    assert list(ids.items()) == [(5, other), (6, None)]
    ids.discard(5)
    assert not ids.is_of(5, other)


def test_digests_are_bounded_and_the_oldest_goes() -> None:
    ids = PacketIds()
    for number in range(1, DIGEST_COUNT_MAX + 3):
        ids.add(number, number)
    assert not ids.is_of(2, 2)
    assert ids.is_of(3, 3)
    assert 2 in ids


def test_exactly_once() -> None:
    """What has an identifier that was not released and DUP, or the same content, is one of before; all are to be answered."""
    rig = Rig(version=5)
    first = builder.publish("t", b"1", qos=2, packet_id=7, properties=b"")
    again = builder.publish("t", b"1", qos=2, dup=True, packet_id=7, properties=builder.puser("k", "v"))
    rig.parse(first + again + again)
    assert rig.batch.payloads == [b"1"]
    assert rig.batch.properties == {}
    assert rig.parser.repeated == [b"\0\7", b"\0\7"]
    assert rig.batch.qos2_count == 1
    rig.parse(first)
    assert rig.batch.payloads == [b"1"], "the same without DUP"
    assert rig.parser.repeated == [b"\0\7"] * 3
    rig.parse(builder.publish("t", b"2", qos=2, packet_id=7, properties=b""))
    rig.parse(builder.publish("u", b"2", qos=2, packet_id=7, properties=b""))
    assert rig.batch.payloads == [b"1", b"2", b"2"], "another content or topic is another message"
    rig.parse(first)
    assert rig.batch.payloads == [b"1", b"2", b"2", b"1"], "the identifier stands for the newest"
    assert rig.parser.unreleased.discard(7)
    rig.parse(again)
    assert rig.batch.payloads[4:] == [b"1"], "one of before that was released is done"
    rig.parse(builder.publish("t", b"2", qos=1, dup=True, packet_id=7, properties=b""))
    assert len(rig.batch.payloads) == 6


def test_repeated_without_dup_fill_the_block_all_the_same() -> None:
    """Each may bring its topic into the block."""
    rig = Rig(version=5)
    packets = [
        builder.publish("t" * 400 + str(n), b"", qos=2, packet_id=n, properties=b"") for n in range(1, 50)
    ]
    rig.parse(b"".join(packets))
    rig.batch = Batch()
    rig.batch.mark_time(1)
    rig.parse(b"".join(packets))
    assert rig.batch.payloads == []
    assert rig.batch.body_bytes >= 49 * 400


def test_a_repeated_message_brings_no_topic_into_the_batch() -> None:
    """Its bytes are counted nowhere: topics of 64 KiB with an identifier that was taken before would fill the memory."""
    rig = Rig(version=5)
    taken = [builder.publish("t", b"", qos=2, packet_id=n, properties=b"") for n in (1, 2)]
    rig.parse(b"".join(taken))
    rig.batch = Batch()
    rig.batch.mark_time(2000)
    for topic in ("t", "x" * 60_000, "y" * 60_000, "t"):
        rig.parse(builder.publish(topic, b"", qos=2, dup=True, packet_id=2, properties=b""))
    assert rig.batch.topics == []
    assert len(rig.parser.repeated) == 4
    rig.parse(builder.publish("t", b"new", qos=2, packet_id=1, properties=b""))
    assert rig.topics() == [b"t"]
