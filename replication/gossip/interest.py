"""Which streams a node has to do with, so that in a large fleet it isn't told of all the others. Pure.

Theory of operation: who is to hold whose streams follows from the roster (fleet_view.py), so everybody knows whom a statement "this node
has so much of that stream" is good for: the stream's writer, who is to hold it, and whoever holds or asks for it though it is not to.
They are told at once, hop by hop along the way that the copy took. Nobody else is, but in one case: where a writer and a holder of
its stream have had no link to each other for APART_MS, the way between them isn't known. Then their statements are *wide*: everybody passes them on, a few at
a time, so that whoever asks for the stream knows in which direction it lies, and the writer hears of its copy whatever the path.

In a small fleet, and of a relay, everybody has to do with everything.
"""

from __future__ import annotations

from typing import Final

from replication.gossip.fleet_view import FleetView
from replication.gossip.state import Core, PeerState
from storage.replicas.streams import StreamId

APART_MS: Final = 30_000
"""Writer and holder without a link for so long: a box that begins again is back before, and nobody else need hear of it."""


class Interest:
    """See the module."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._apart_ms: dict[str, int] = {}
        self._wide: dict[str, None] = {}

    @property
    def is_everybodys(self) -> bool:
        """Whether all have to do with all streams."""
        return self._core.fleet.is_small

    def is_ours(self, stream: StreamId) -> bool:
        """Whether this node has to do with a stream."""
        core = self._core
        return self.is_everybodys or stream.node_id == core.node_id or core.is_wanted(stream)

    def is_theirs(self, state: PeerState, stream: StreamId, fleet: FleetView | None = None) -> bool:
        """Whether a peer has to do with a stream, in the fleet as it is or as it was."""
        fleet = fleet or self._core.fleet
        return (
            fleet.is_small
            or state.node_id == stream.node_id
            or stream in state.heads
            or stream.node_id in state.news
            or fleet.is_holder(state.node_id, stream.node_id)
        )

    def is_wide(self, stream: StreamId) -> bool:
        """Whether what is told here of a stream is for everybody: its writer and one of its holders, we among them, are apart."""
        if self.is_everybodys:
            return True
        if stream.node_id != self._core.node_id:
            return stream.node_id in self._wide
        return any(node_id in self._wide for node_id in self._core.fleet.holders)

    def is_long_apart(self, node_id: str) -> bool:
        """Whether a node to which no link leads may be looked for anywhere: in a small fleet at once."""
        return self.is_everybodys or node_id in self._wide or node_id in self._core.passing

    def look(self, now_ms: int) -> list[str]:
        """Looks who is linked; each second is often enough.

        Returns:
            Nodes with which it is otherwise than when it was looked last: what is told of their streams, and of ours, is told again.
        """
        core = self._core
        if self.is_everybodys:
            self._apart_ms, self._wide = {}, {}
            return []
        fleet = core.fleet
        names = [name for name in (*fleet.origins, *fleet.holders) if name not in core.peers]
        self._apart_ms = {name: self._apart_ms.get(name, now_ms) for name in names}
        before = self._wide
        self._wide = {name: None for name, since in self._apart_ms.items() if now_ms - since >= APART_MS}
        return [name for name in self._wide if name not in before]
