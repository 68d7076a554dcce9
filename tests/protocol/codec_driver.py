"""Feeds raw bytes to our codec, the way a connection does."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.core.errors import RemoteProtocolError
from broker.mqtt.codec import PacketReader, decode
from broker.mqtt.packets import Packet, Sender, Version

PACKET_BYTES_MAX = 1_000_000


def accept(data: bytes, version: int | None = None, sender: Sender | None = None) -> Packet:
    """The one packet in `data`. `version` None reads as a server does before CONNECT."""
    reader = PacketReader(
        None if version is None else Version(version), packet_bytes_max=PACKET_BYTES_MAX, sender=sender
    )
    packets = reader.receive_bytes(data)
    assert reader.error is None
    assert reader.buffered_bytes == 0
    assert len(packets) == 1
    return packets[0]


def from_client(data: bytes, version: int) -> Packet:
    return accept(data, version, Sender.CLIENT)


def from_server(data: bytes, version: int) -> Packet:
    return accept(data, version, Sender.SERVER)


def refuse(data: bytes, version: int | None = None, sender: Sender | None = None) -> int:
    """The reason code with which `data` is refused."""
    with pytest.raises(RemoteProtocolError) as caught:
        accept(data, version, sender)
    assert caught.value.hint
    return caught.value.reason_code


def refuse_client(data: bytes, version: int) -> int:
    return refuse(data, version, Sender.CLIENT)


def refuse_server(data: bytes, version: int) -> int:
    return refuse(data, version, Sender.SERVER)


def accept_from_either(data: bytes) -> Any:
    """One packet of MQTT 5, whichever side may send it."""
    first = next(at for at in range(1, 5) if data[at] < 0x80)
    return decode(data[0], data[first + 1 :], Version.MQTT_5)


def refuse_from_either(data: bytes) -> int:
    with pytest.raises(RemoteProtocolError) as caught:
        accept_from_either(data)
    return caught.value.reason_code
