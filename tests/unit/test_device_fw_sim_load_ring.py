"""Slices of rings are the packets that were meant, read by our codec, which the generator doesn't use."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.mqtt.codec import PacketReader
from broker.mqtt.packets import Publish, Sender, Version
from device_fw_sim.load.payloads import telemetry_payloads
from device_fw_sim.load.ring import MARK, MarkedRing, PlainRing, Ring, StampedRing, padding

COUNT = 8


def read(data: bytes, version: int) -> list[Publish]:
    reader = PacketReader(Version(version), packet_bytes_max=100_000, sender=Sender.CLIENT)
    packets = reader.receive_bytes(data)
    assert all(isinstance(packet, Publish) for packet in packets)
    return [packet for packet in packets if isinstance(packet, Publish)]


@given(st.integers(0, 100), st.integers(1, COUNT), st.sampled_from([0, 1, 2]), st.sampled_from([4, 5]))
def test_a_marked_slice_says_whose_which_and_how_old(number: int, count: int, qos: int, version: int) -> None:
    ring = MarkedRing("a/b", COUNT, qos, version, publisher=7, padding=b"pad")
    found = read(ring.take(number, count, 1_000, 10.0), version)
    for index, packet in enumerate(found):
        assert packet.payload == MARK.pack(7, number + index, 1_000 + index * 10) + b"pad"
        assert packet.qos == qos
        assert packet.packet_id == ((number + index) % COUNT + 1 if qos else None)
    assert len(found) == count


def test_a_marked_packet_that_was_not_due_carries_now() -> None:
    ring = MarkedRing("a", COUNT, 1, 4, publisher=0, padding=b"")
    first, second = (MARK.unpack(read(ring.take(number, 1, 0, 0.0), 4)[0].payload) for number in (0, 1))
    assert 0 < first[2] <= second[2]


def test_what_was_taken_does_not_change_with_the_ring() -> None:
    ring = MarkedRing("a", 1, 1, 4, publisher=0, padding=b"")
    taken = ring.take(0, 1, 5, 0.0)
    ring.take(1, 1, 6, 0.0)
    assert MARK.unpack(read(taken, 4)[0].payload) == (0, 0, 5)


@pytest.mark.parametrize("number", [0, 5, 8, 21])
def test_plain_and_stamped_slices_go_round(number: int) -> None:
    payloads = [b"%03d" % index for index in range(COUNT)]
    rings: list[Ring] = [
        PlainRing("a", payloads, 1, 4),
        StampedRing("a", telemetry_payloads(COUNT, "b", 1), 1, 4),
    ]
    for ring in rings:
        data = ring.take(number, 6, 0, 0.0)
        assert len(data) == 6 * ring.packet_bytes
        ids = [packet.packet_id for packet in read(data, 4)]
        assert ids == [(number + index) % COUNT + 1 for index in range(6)]


def test_padding_fills_up_to_the_size_and_comes_from_the_seed() -> None:
    assert padding(16, 1) == b""
    assert len(padding(100, 1)) == 84
    assert padding(100, 1) == padding(100, 1) != padding(100, 2)
