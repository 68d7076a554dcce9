"""Who hears what happens in bodies."""

from __future__ import annotations

from typing import Protocol

from appliance.management.row_change import RowChange
from replication.membership.events import Became
from storage.replicas.streams import StreamHead, StreamId

from .body import Body
from .frames import Frame


class Observer(Protocol):
    """Whoever judges what happens."""

    def became(self, body: Body, event: Became) -> None: ...

    def acknowledged(self, body: Body, frame: Frame) -> None: ...

    def stored(self, body: Body, stream: StreamId, head: StreamHead) -> None: ...

    def safe(self, body: Body, from_seq: int, to_seq: int) -> None: ...

    def claimed(self, body: Body) -> None: ...

    def changed(self, body: Body, change: RowChange) -> None: ...
