"""The codec's public names in one place: encode, decode, the reader of a stream and the two errors."""

from __future__ import annotations

from appliance.core.errors import LocalProtocolError, RemoteProtocolError
from broker.mqtt.decoding import connect_version, decode
from broker.mqtt.encoding import encode
from broker.mqtt.properties import Properties, decode_properties, encode_properties
from broker.mqtt.reader import PacketReader

__all__ = [
    "LocalProtocolError",
    "PacketReader",
    "RemoteProtocolError",
    "connect_version",
    "decode",
    "decode_properties",
    "decode_publish_properties",
    "encode",
    "encode_properties",
]


def decode_publish_properties(raw: bytes) -> Properties:
    """Properties of a PUBLISH from their bytes, without the length in front.

    Raises:
        RemoteProtocolError: as `decode_properties` does.
    """
    return decode_properties(raw)
