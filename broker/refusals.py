"""What a client is told whose CONNECT is refused: a CONNACK in its own version's words, or nothing.

Guarantees that nothing goes out which the version has no word for or the client has no room for. It knows no socket and no
reasons of its own.
"""

from __future__ import annotations

from appliance.core.errors import RemoteProtocolError
from appliance.core.limits import REASON_STRING_LENGTH_MAX

from .mqtt.codec import encode
from .mqtt.constants import PacketType, Version
from .mqtt.decoding import connect_version
from .mqtt.packets import Connack, Connect
from .mqtt.properties import Properties
from .mqtt.property_table import PropertyId
from .mqtt.reason_codes import ALLOWED, connect_return_code


class UnreadableConnect(RemoteProtocolError):  # noqa: N818 - what it is
    """A CONNECT that breaks a rule, though not in its first bytes: the version it speaks is known.

    Args:
        body: All that follows its remaining length.
    """

    def __init__(self, error: RemoteProtocolError, body: bytes) -> None:
        super().__init__(error.message, reason_code=error.reason_code, hint=error.hint, code=error.code)
        try:
            self.version: Version | None = connect_version(body)[0]
        except RemoteProtocolError:
            self.version = None


def reason_string(text: str) -> str:
    """What is told of an error, as MQTT 5 takes it: of any length what was wrong was found in, and whatever stands in it.

    Args:
        text: May repeat what a client sent, such as a topic of 64 KiB.
    """
    text = text.replace("\0", "?")
    if len(text) <= REASON_STRING_LENGTH_MAX:
        return text
    return text[: REASON_STRING_LENGTH_MAX - 1] + "…"


def packet_bytes_max(connect: Connect) -> int | None:
    """The largest packet that a client takes, or None."""
    value = connect.properties.get(PropertyId.MAXIMUM_PACKET_SIZE)
    return value if isinstance(value, int) else None


def refusal(error: RemoteProtocolError, connect: Connect | None, *, tells_why: bool) -> bytes:
    """The CONNACK for a CONNECT that is not accepted.

    Args:
        connect: None where it could not be read.
        tells_why: Whether the error's message may be sent as reason string. Not where somebody asks who they are:
            the reason code says as much as a stranger may know.
    Returns:
        Encoded; b"" where the connection is closed without one: the version has no word for it (MQTT 3.1.1
        [MQTT-3.2.2-6], §3.1.4), or it would be larger than the client takes (MQTT 5.0 [MQTT-3.1.2-24]).
    """
    version = connect.version if connect is not None else None
    if isinstance(error, UnreadableConnect):
        version = error.version
    code: int = error.reason_code
    if version is not Version.MQTT_5:
        word = connect_return_code(code)
        if word is None:
            return b""
        return encode(Connack(session_present=False, reason_code=word), version or Version.MQTT_3_1_1)
    if code not in ALLOWED[PacketType.CONNACK]:
        return b""
    # Whoever's CONNECT could not be read may have said how little it takes, and what it doesn't want to be told.
    room = 0 if connect is None else packet_bytes_max(connect)
    if tells_why and room != 0:
        reason = Properties({PropertyId.REASON_STRING: reason_string(error.message)})
        packet = encode(Connack(session_present=False, reason_code=code, properties=reason), version)
        if room is None or len(packet) <= room:
            return packet
    packet = encode(Connack(session_present=False, reason_code=code), version)
    return packet if not room or len(packet) <= room else b""
