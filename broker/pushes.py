"""What the node says to a device unasked: to the open connections of that device that have subscribed to it, and to nobody else.

Nothing of it is logged, queued or remembered: the node knows what is due, and says it again when the device listens
(listening.py). A connection that does not take what it has been sent gets no more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import trio

from appliance.core.errors import UsageError
from appliance.core.limits_requests import PUSH_MESSAGE_COUNT_MAX, PUSH_TOGETHER_COUNT_MAX

from .direct_messages import DirectMessages, Outcome, identifiers_of

if TYPE_CHECKING:
    from .data_plane import DataPlane
    from .state.sessions import Sessions


SLICE_COUNT: Final = 16
"""Pushes until others have their turn: of one message each about 0.5 ms."""


class Pushes:
    """See the module's docstring. `plane` is set once it is made."""

    plane: DataPlane

    def __init__(self, sessions: Sessions, direct: DirectMessages) -> None:
        self._sessions = sessions
        self._direct = direct
        self._asked = self._delivered = self._unheard = 0

    def statistics(self) -> dict[str, int]:
        """Counts since the start: messages that the node wanted pushed (asked), copies sent, messages that nobody got (unheard)."""
        return {"asked": self._asked, "delivered": self._delivered, "unheard": self._unheard}

    async def answer(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The question `push`: `{pushes: [[principal, [[topic, payload], …]], …]}` → `{delivered: [copies sent of each push]}`.

        Raises:
            UsageError: `push_invalid`.
        """
        match fields:
            case {"pushes": [*pushes]} if len(pushes) <= PUSH_TOGETHER_COUNT_MAX:
                delivered = []
                for each in pushes:
                    delivered.append(self._push(each))
                    if len(delivered) % SLICE_COUNT == 0:
                        self.plane.wake()
                        await trio.lowlevel.checkpoint()
            case _:
                raise _invalid()
        self.plane.wake()
        return {"delivered": delivered}

    def _push(self, push: object) -> int:
        match push:
            case [str(principal), [*messages]] if len(messages) <= PUSH_MESSAGE_COUNT_MAX:
                return sum(self._say(principal, message) for message in messages)
            case _:
                raise _invalid()

    def _say(self, principal: str, message: object) -> int:
        match message:
            case [str(topic), bytes(payload)]:
                pass
            case _:
                raise _invalid()
        self._asked += 1
        count = 0
        sessions = self._sessions.of(principal)
        subscribed = self._direct.grants_by_session(topic) if sessions else {}
        for session in sessions:
            connection, grants = session.connection, subscribed.get(id(session))
            if connection is None or connection.is_stuffed or not grants:
                continue
            identifiers = identifiers_of(grants)
            sent = self._direct.send(connection, topic, payload, identifiers=identifiers)
            count += sent is Outcome.SENT
        self._delivered += count
        self._unheard += not count
        return count


def _invalid() -> UsageError:
    return UsageError(
        "A push is a principal and a list of topics with payloads.",
        hint="Restart the appliance, so that both processes are of one version.",
        code="push_invalid",
    )
