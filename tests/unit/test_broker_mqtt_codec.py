"""The public names of the codec."""

from __future__ import annotations

import pytest

from appliance.core.errors import RemoteProtocolError
from broker.mqtt import codec
from broker.mqtt.properties import Properties, PropertyId


def test_every_public_name_is_there() -> None:
    for name in codec.__all__:
        assert callable(getattr(codec, name))


def test_publish_properties() -> None:
    assert codec.decode_publish_properties(b"\x01\x01") == Properties(
        {PropertyId.PAYLOAD_FORMAT_INDICATOR: 1}
    )
    with pytest.raises(RemoteProtocolError):
        codec.decode_publish_properties(b"\x21\x00\x01")
