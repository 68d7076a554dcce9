"""What the other broker says when it does not want us, in words and with what to do about it."""

from __future__ import annotations

from typing import Final

from appliance.core.errors import Unavailable
from broker.mqtt.reason_codes import ReasonCode

HINTS: Final[dict[int, str]] = {
    ReasonCode.UNSUPPORTED_PROTOCOL_VERSION: "Set version to what the other broker speaks.",
    ReasonCode.CLIENT_IDENTIFIER_NOT_VALID: "Set client_id to one that the other broker allows.",
    ReasonCode.BAD_USER_NAME_OR_PASSWORD: "Look at user_name and at the first line of password_file.",
    ReasonCode.NOT_AUTHORIZED: "Give the bridge's user the right to connect, publish and subscribe at the other broker.",
    ReasonCode.SERVER_UNAVAILABLE: "Wait; or see whether the other broker takes persistent sessions.",
    ReasonCode.BANNED: "Ask who runs the other broker.",
    ReasonCode.SESSION_TAKEN_OVER: "Something else connects with the same client_id: give each bridge one of its own.",
    ReasonCode.QUOTA_EXCEEDED: "The other broker has no room for more: see its disk and its limits.",
    ReasonCode.PACKET_TOO_LARGE: "Raise the other broker's maximum packet size, or [broker] packet_bytes_max here.",
    ReasonCode.SERVER_MOVED: "Set address to where the other broker is now.",
    ReasonCode.USE_ANOTHER_SERVER: "Set address to where the other broker is now.",
}
TOPICS_HINT: Final = "Give the bridge's user the right to subscribe to it at the other broker."


def code_of(reason_code: int) -> str:
    """A stable name: `bridge_not_authorized`."""
    try:
        return f"bridge_{ReasonCode(reason_code).name.lower()}"
    except ValueError:
        return f"bridge_reason_{reason_code}"


def refusal(text: str, reason_code: int | None) -> Unavailable:
    """The error for a connection that the remote has ended, or that has broken.

    Args:
        reason_code: Of MQTT 5; None where the remote has said nothing.
    """
    if reason_code is None:
        return Unavailable(
            text, hint="Look at the network and at the other broker's log.", code="bridge_connection_lost"
        )
    try:
        words = ReasonCode(reason_code).name.replace("_", " ").lower()
    except ValueError:
        words = f"reason code {reason_code}"
    return Unavailable(
        f"{text} ({words})",
        hint=HINTS.get(reason_code, "Look at the other broker's log."),
        code=code_of(reason_code),
    )
