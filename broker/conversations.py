"""Node and devices, put together: requests and their answers, what is said unasked, and who listens to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from appliance.core.clock import Clock

from .direct_messages import DirectMessages
from .limit_counts import LimitCounts
from .places import Places
from .pushes import Pushes
from .requests import Requests

if TYPE_CHECKING:
    from .control import ControlServer
    from .data_plane import DataPlane
    from .listening import Listening
    from .state.sessions import Sessions


class Conversations:
    """See the module's docstring."""

    def __init__(
        self, sessions: Sessions, listening: Listening, places: Places, limits: LimitCounts, clock: Clock
    ) -> None:
        self._direct = DirectMessages(sessions.router)
        self.requests = Requests(places, limits, clock, self._direct)
        self.pushes = Pushes(sessions, self._direct)
        self.listening = listening

    def attach_plane(self, plane: DataPlane) -> None:
        """Say whose connections they are."""
        self._direct.plane = self.requests.plane = self.pushes.plane = plane

    def attach_node(self, node: ControlServer) -> None:
        """Say who reaches the node."""
        self.requests.node = self.listening.node = node

    def statistics(self) -> dict[str, Any]:
        """Counters and gauges, as a map of msgpack's types."""
        return {
            "requests": self.requests.statistics(),
            "requests_waiting": self.requests.waiting_counts(),
            "pushes": self.pushes.statistics(),
            "listening": len(self.listening),
        }
