"""Three properties of the codec.

1. Round trip: decode(encode(packet)) is the packet, for every packet, property and version.
2. Totality: any bytes give packets or RemoteProtocolError, nothing else; and what was accepted can be sent.
3. Split invariance: any way of cutting the same bytes gives the same packets and the same error.
"""

from __future__ import annotations

import contextlib

from hypothesis import event, given
from hypothesis import strategies as st

from appliance.core.errors import RemoteProtocolError
from broker.mqtt.codec import PacketReader, decode, encode
from broker.mqtt.packets import Connect, Packet, Sender, Version

from .mqtt_strategies import packets, version_and

PACKET_BYTES_MAX = 20_000


def read_all(
    data: list[bytes], version: Version | None, sender: Sender | None
) -> tuple[list[Packet], int | None, int]:
    """Packets, reason code of the error if any, and the largest amount held between calls."""
    reader = PacketReader(version, packet_bytes_max=PACKET_BYTES_MAX, sender=sender)
    found: list[Packet] = []
    held = 0
    for piece in data:
        with contextlib.suppress(RemoteProtocolError):
            found += reader.receive_bytes(piece)
        held = max(held, reader.buffered_bytes)
    return found, None if reader.error is None else reader.error.reason_code, held


def cut(data: bytes, places: list[int]) -> list[bytes]:
    at = sorted({place % (len(data) + 1) for place in places})
    return [data[start:stop] for start, stop in zip([0, *at], [*at, len(data)], strict=True)]


@given(version_and("any"))
def test_round_trip(versioned: tuple[Version, Packet]) -> None:
    version, packet = versioned
    data = encode(packet, version)
    event(type(packet).__name__)
    start = next(at for at in range(1, 5) if data[at] < 0x80) + 1
    assert decode(data[0], data[start:], version) == packet


@given(version_and("connect"))
def test_round_trip_connect(versioned: tuple[Version, Packet]) -> None:
    version, packet = versioned
    reader = PacketReader(packet_bytes_max=PACKET_BYTES_MAX)
    assert reader.receive_bytes(encode(packet, version)) == [packet]
    assert reader.version is version


@given(st.binary(max_size=200), st.sampled_from([None, *Version]), st.sampled_from([None, *Sender]))
def test_any_bytes(data: bytes, version: Version | None, sender: Sender | None) -> None:
    found, code, _ = read_all([data], version, sender)
    assert code is None or 0x81 <= code <= 0xA2
    for packet in found:
        encode(packet, packet.version if isinstance(packet, Connect) else version or Version.MQTT_5)


@given(st.integers(0, 255), st.binary(max_size=100), st.sampled_from(Version))
def test_any_body(first_byte: int, body: bytes, version: Version) -> None:
    """Bodies behind a right length reach further into the decoder than raw bytes do."""
    try:
        packet = decode(first_byte, body, version)
    except RemoteProtocolError as error:
        assert error.hint
        event(f"refused 0x{error.reason_code:02X}")
    else:
        event(type(packet).__name__)
        encode(packet, packet.version if isinstance(packet, Connect) else version)


@given(
    version_and("any") | version_and("connect"),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255))),
)
def test_any_byte_changed(versioned: tuple[Version, Packet], changes: list[tuple[int, int]]) -> None:
    """A good packet with some bytes changed is a packet that may be sent again, or refused."""
    version, packet = versioned
    data = bytearray(encode(packet, version))
    for at, value in changes:
        data[at % len(data)] = value
    start = next((at for at in range(1, min(5, len(data))) if data[at] < 0x80), 4) + 1
    try:
        changed = decode(data[0], bytes(data[start:]), version)
    except RemoteProtocolError:
        return
    encode(changed, changed.version if isinstance(changed, Connect) else version)


@given(
    st.sampled_from(Version).flatmap(lambda v: st.tuples(st.just(v), st.lists(packets(v), max_size=6))),
    st.binary(max_size=20),
    st.lists(st.integers(0, 5_000), max_size=30),
)
def test_any_cut(versioned: tuple[Version, list[Packet]], tail: bytes, places: list[int]) -> None:
    version, sent = versioned
    data = b"".join(encode(packet, version) for packet in sent) + tail
    sender = Sender.SERVER
    whole, code, _ = read_all([data, b""], version, sender)
    parts, same_code, held = read_all([*cut(data, places), b""], version, sender)
    assert (parts, same_code) == (whole, code)
    assert held < PACKET_BYTES_MAX
    bytewise, bytewise_code, _ = read_all([bytes((byte,)) for byte in data], version, sender)
    assert (bytewise, bytewise_code) == (whole, code)
