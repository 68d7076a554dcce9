"""Every delivery is accounted for, however its bytes are cut; packets are made by our codec, which the generator doesn't use."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.mqtt.codec import encode
from broker.mqtt.packets import Publish, Suback, Version
from broker.mqtt.properties import Properties
from broker.mqtt.property_table import PropertyId
from device_fw_sim.load.deliveries import Deliveries, Expected, Tally
from device_fw_sim.load.ledger import DeliveryLedger
from device_fw_sim.load.ring import MARK

TOPICS = {0: b"t/0", 1: b"t/1", 2: b"t/2"}
PADDING = b"padding"


def tally() -> Tally:
    return Tally([0] * len(TOPICS), set(), array("Q"))


def subscriber(
    qos: int = 1,
    version: int = 4,
    *,
    ledger: DeliveryLedger | None = None,
    counts: Tally | None = None,
) -> Deliveries:
    ledger = ledger or DeliveryLedger(TOPICS, is_shared=False)
    return Deliveries(Expected(TOPICS, PADDING, qos, version), ledger, counts or tally())


def publish(
    publisher: int,
    number: int,
    *,
    packet_id: int = 1,
    qos: int = 1,
    version: int = 4,
    due_ns: int = 0,
    properties: Properties | None = None,
    is_dup: bool = False,
) -> bytes:
    packet = Publish(
        topic=TOPICS[publisher].decode(),
        payload=MARK.pack(publisher, number, due_ns) + PADDING,
        qos=qos,
        packet_id=packet_id if qos else None,
        dup=is_dup,
        properties=properties or Properties(),
    )
    return encode(packet, Version(version))


@given(
    st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.booleans()), max_size=30),
    st.lists(st.integers(1, 60), max_size=20),
    st.sampled_from([0, 1, 2]),
    st.sampled_from([4, 5]),
)
def test_any_cut_gives_the_same(
    messages: list[tuple[int, bool, bool]], cuts: list[int], qos: int, version: int
) -> None:
    """In every form: DUP flags, properties (MQTT 5), PINGRESP in between."""
    counts = tally()
    ledger = DeliveryLedger(TOPICS, is_shared=False)
    found = subscriber(qos, version, ledger=ledger, counts=counts)
    numbers = [0] * len(TOPICS)
    data, wanted, pings = b"", b"", 0
    for packet_id, (publisher, is_odd, has_ping) in enumerate(messages, 1):
        odd = Properties({PropertyId.CONTENT_TYPE: "x"}) if is_odd and version == 5 else None
        data += publish(
            publisher,
            numbers[publisher],
            packet_id=packet_id,
            qos=qos,
            version=version,
            due_ns=40,
            properties=odd,
            is_dup=is_odd and qos > 0,
        )
        numbers[publisher] += 1
        wanted += {0: b"", 1: b"\x40\x02", 2: b"\x50\x02"}[qos] + (
            packet_id.to_bytes(2, "big") if qos else b""
        )
        if has_ping:
            data, pings = data + b"\xd0\x00", pings + 1
    answers, position = b"", 0
    for size in (*cuts, len(data)):
        answers += found.receive_bytes(data[position : position + size], 100)
        position += size
    assert (found.problem, found.ping_responses, answers) == (None, pings, wanted)
    assert counts.by_publisher == numbers
    assert counts.total == ledger.delivered == len(messages) == len(counts.ages_ns)
    assert set(counts.ages_ns) <= {60}
    assert counts.waited_for == {publisher for publisher, *_ in messages}
    assert (ledger.missing(numbers), ledger.duplicate, ledger.late) == (0, 0, 0)
    assert found.unreleased_count == (len(messages) if qos == 2 else 0)


def test_missing_twice_and_late_are_told_apart() -> None:
    ledger, counts = DeliveryLedger(TOPICS, is_shared=False), tally()
    found = subscriber(ledger=ledger, counts=counts)
    for number in (0, 2, 2, 1, 4):
        assert found.receive_bytes(publish(0, number), 0) == b"\x40\x02\x00\x01"
    assert (ledger.missing([5, 0, 0]), ledger.duplicate, ledger.late) == (1, 1, 1)
    assert counts.by_publisher == [4, 0, 0]


def test_members_of_a_shared_subscription_take_turns_but_keep_the_order() -> None:
    ledger, counts = DeliveryLedger(TOPICS, is_shared=True), tally()
    one, two = (subscriber(ledger=ledger, counts=counts) for _ in range(2))
    one.receive_bytes(publish(0, 1), 0)
    two.receive_bytes(publish(0, 0) + publish(0, 2), 0)
    assert (ledger.missing([3, 0, 0]), ledger.late, one.out_of_order, two.out_of_order) == (0, 0, 0, 0)
    one.receive_bytes(publish(0, 4) + publish(0, 3), 0)
    two.receive_bytes(publish(0, 4), 0)
    assert (one.out_of_order, ledger.duplicate) == (1, 1)


def test_an_exchange_of_qos_2_ends_with_pubcomp() -> None:
    found = subscriber(2)
    assert found.receive_bytes(publish(0, 0, qos=2, packet_id=9), 0) == b"\x50\x02\x00\x09"
    assert found.unreleased_count == 1
    assert found.receive_bytes(b"\x62\x02\x00\x09", 0) == b"\x70\x02\x00\x09"
    assert found.unreleased_count == 0


@pytest.mark.parametrize("version", [4, 5])
def test_suback_is_remembered(version: int) -> None:
    found = subscriber(version=version)
    found.receive_bytes(encode(Suback(packet_id=1, reason_codes=(2,)), Version(version)), 0)
    assert found.subscribed_code == 2


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (publish(0, 0).replace(b"t/0", b"t/1"), "never published so"),
        (publish(0, 0).replace(PADDING, b"paddinG"), "never published so"),
        (publish(0, 0, qos=2), "QoS 1 agreed"),
        (b"\x30\x05\x00\x03t/0", "can't be read"),
        (b"\xe0\x00", "disconnected"),
        (b"\x40\x02\x00\x01", "nobody asked"),
        (b"\x32\xff\xff\xff\xff", "malformed"),
    ],
)
def test_anything_else_is_a_problem(data: bytes, said: str) -> None:
    found = subscriber()
    found.receive_bytes(data, 0)
    assert found.problem is not None
    assert said in found.problem


def test_a_property_length_without_an_end_is_a_problem() -> None:
    found = subscriber(0, 5)
    body = b"\x00\x03t/0" + b"\xff" * 4 + MARK.pack(0, 0, 0) + PADDING
    found.receive_bytes(bytes((0x30, len(body))) + body, 0)
    assert found.problem is not None
    assert "can't be read" in found.problem


@given(st.lists(st.binary(max_size=40), max_size=10), st.sampled_from([0, 1, 2]), st.sampled_from([4, 5]))
def test_any_bytes_at_all_raise_nothing(pieces: list[bytes], qos: int, version: int) -> None:
    found = subscriber(qos, version)
    for piece in pieces:
        found.receive_bytes(piece, 0)
