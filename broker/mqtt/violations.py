"""How a broken rule becomes an error: the peer's mistake or ours.

Every rule of this room is written once and told by its `fail` argument whose mistake it would be:
`remote` while decoding, `local` while encoding.
"""

from __future__ import annotations

from typing import Protocol

from appliance.core.errors import LocalProtocolError, ProtocolError, RemoteProtocolError
from broker.mqtt.reason_codes import ReasonCode


class Fail(Protocol):
    """Makes the error; `limit` names the limit that was exceeded, where it was one, and becomes the error's code."""

    def __call__(
        self, message: str, reason_code: ReasonCode, /, limit: str | None = None
    ) -> ProtocolError: ...


def remote(message: str, reason_code: ReasonCode, /, limit: str | None = None) -> RemoteProtocolError:
    """The peer sent it: the connection ends with this reason code."""
    return RemoteProtocolError(
        message,
        reason_code=int(reason_code),
        code=limit,
        hint="The peer's MQTT library sent it; update that library or look at what it was given.",
    )


def local(message: str, reason_code: ReasonCode, /, limit: str | None = None) -> LocalProtocolError:
    """We were about to send it; nothing has left."""
    return LocalProtocolError(
        message,
        code=limit,
        hint=f"This is a mistake in Homeport (a peer would answer {reason_code.name}); please report it.",
    )
