"""What broker and node say to each other over the control socket: msgpack maps with a length in front.

Frame: u32 big-endian length (≤ CONTROL_FRAME_BYTES_MAX), then a msgpack map with the key `t`. The first message of
each side is `hello` with its protocol version; an unknown `t` is ignored, so that either side may be newer.

    broker → node   hello {version}, grew {epoch, next_seq}, statistics {…}, first_contact {user_names}
    node → broker   hello {version}, kick {client_id}, revoke {principal}, access_changed {principal}
"""

from __future__ import annotations

from typing import Any, Final

import msgpack

from appliance.core.errors import RemoteProtocolError

CONTROL_VERSION: Final = 1
CONTROL_FRAME_BYTES_MAX: Final = 1024 * 1024
LENGTH_BYTES: Final = 4


def encode_message(kind: str, **fields: Any) -> bytes:
    """One message with its length."""
    body: bytes = msgpack.packb({"t": kind, **fields})
    assert len(body) <= CONTROL_FRAME_BYTES_MAX
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


class MessageReader:
    """Cuts received bytes into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def receive_bytes(self, data: bytes) -> list[dict[str, Any]]:
        """Messages that are complete now.

        Raises:
            RemoteProtocolError: a frame is too long or is no message.
        """
        self._buffer += data
        messages: list[dict[str, Any]] = []
        while len(self._buffer) >= LENGTH_BYTES:
            length = int.from_bytes(self._buffer[:LENGTH_BYTES], "big")
            if length > CONTROL_FRAME_BYTES_MAX:
                raise RemoteProtocolError(f"A control frame of {length} bytes is longer than allowed.")
            end = LENGTH_BYTES + length
            if len(self._buffer) < end:
                break
            try:
                message = msgpack.unpackb(bytes(self._buffer[LENGTH_BYTES:end]))
            except (ValueError, TypeError) as error:
                raise RemoteProtocolError(f"A control frame is not msgpack: {error}") from error
            if not isinstance(message, dict) or not isinstance(message.get("t"), str):
                raise RemoteProtocolError("A control frame is not a message.")
            del self._buffer[:end]
            messages.append(message)
        return messages
