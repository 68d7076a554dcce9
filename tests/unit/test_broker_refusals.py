"""What a client is told whose CONNECT is refused."""

from __future__ import annotations

import pytest

from appliance.core.errors import RemoteProtocolError
from appliance.core.limits import REASON_STRING_LENGTH_MAX
from broker.mqtt.codec import decode
from broker.mqtt.packets import Connack, Connect
from broker.mqtt.property_table import PropertyId
from broker.refusals import UnreadableConnect, packet_bytes_max, reason_string, refusal
from tests.protocol import builder


def connect(version: int, properties: bytes = b"") -> Connect:
    packet = builder.connect(
        "c", version=version, name="MQIsdp" if version == 3 else "MQTT", properties=properties
    )
    decoded = decode(packet[0], packet[2:], None)
    assert isinstance(decoded, Connect)
    return decoded


def error(code: int) -> RemoteProtocolError:
    return RemoteProtocolError("what was wrong", reason_code=code)


@pytest.mark.parametrize("version", [3, 4])
@pytest.mark.parametrize(("code", "word"), [(0x85, 2), (0x88, 3), (0x89, 3), (0x86, 4), (0x87, 5)])
def test_the_words_of_3(version: int, code: int, word: int) -> None:
    assert refusal(error(code), connect(version), tells_why=True) == builder.connack(0, word)


@pytest.mark.parametrize("version", [3, 4])
def test_3_has_no_word(version: int) -> None:
    """3.1.1 [MQTT-3.2.2-6]: closed without a CONNACK."""
    assert refusal(error(0x82), connect(version), tells_why=True) == b""


def test_5_is_told_why() -> None:
    told = builder.connack(0, 0x85, builder.ptext(0x1F, "what was wrong"))
    assert refusal(error(0x85), connect(5), tells_why=True) == told
    assert refusal(error(0x86), connect(5), tells_why=False) == builder.connack(0, 0x86, b"")
    assert refusal(error(0x93), connect(5), tells_why=True) == b"", "a code that is not CONNACK's"


def test_what_an_error_quotes_is_cut() -> None:
    """A message that repeats a long topic, escaped, would be longer than a string of MQTT can be."""
    quoting = RemoteProtocolError(repr("\1" * 65_000) + "\0", reason_code=0x87)
    packet = refusal(quoting, connect(5), tells_why=True)
    assert len(packet) < 4 * REASON_STRING_LENGTH_MAX
    assert reason_string("a\0b") == "a?b"
    whole = "x" * REASON_STRING_LENGTH_MAX
    assert reason_string(whole) == whole
    assert reason_string(whole + "x") == whole[:-1] + "…"


def test_5_is_told_no_more_than_it_takes() -> None:
    whole = len(builder.connack(0, 0x85, builder.ptext(0x1F, "what was wrong")))
    for bytes_max, expected in ((whole, whole), (whole - 1, 5), (5, 5), (4, 0)):
        client = connect(5, builder.p32(0x27, bytes_max))
        assert packet_bytes_max(client) == bytes_max
        assert len(refusal(error(0x85), client, tells_why=True)) == expected
    assert packet_bytes_max(connect(5)) is None


def test_one_that_could_not_be_read() -> None:
    """The version stands in front of what was wrong; how much the client takes may be behind it."""
    for version, code, expected in (
        (5, 0x81, builder.connack(0, 0x81, b"")),
        (5, 0x85, builder.connack(0, 0x85, b"")),
        (4, 0x85, builder.connack(0, 2)),
        (4, 0x81, b""),
    ):
        body = builder.connect("c", version=version)[2:]
        assert refusal(UnreadableConnect(error(code), body), None, tells_why=True) == expected


def test_one_of_another_version() -> None:
    body = builder.connect("c", version=7)[2:]
    unreadable = UnreadableConnect(error(0x84), body)
    assert unreadable.version is None
    assert refusal(unreadable, None, tells_why=True) == builder.connack(0, 1)
    assert refusal(error(0x82), None, tells_why=True) == b"", "no CONNECT at all"


def test_what_is_said_is_a_connack() -> None:
    packet = refusal(error(0x87), connect(5), tells_why=True)
    decoded = decode(packet[0], packet[2:], connect(5).version)
    assert isinstance(decoded, Connack)
    assert decoded.properties.text(PropertyId.REASON_STRING) == "what was wrong"
    assert not decoded.session_present
