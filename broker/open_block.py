"""The block that is being gathered: its columns, and who waits for it to be on disk."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from storage.log.columns import FLAG_KEPT_COPY, Kind

from .mqtt.batch import Batch

if TYPE_CHECKING:
    from .connection import Connection
    from .kept_copies import KeptCopies


@dataclass(slots=True)
class PendingRecord:
    """A session record or a will that waits for its place in a block.

    `then` is called when it is on disk, with its sequence number. `received_at_ms` is when a message was received that
    came from elsewhere; None: now.
    """

    kind: Kind
    client: tuple[str, str]
    topic: bytes = b""
    payload: bytes = b""
    flags: int = 0
    properties: bytes = b""
    packet_id: int = 0
    then: Callable[[int], None] | None = None
    received_at_ms: int | None = None


class OpenBlock:
    """See the module's docstring.

    Invariant: `publishers` has an entry for each of the batch's client runs: the connection, or None where a record is
    the broker's own.
    """

    __slots__ = ("batch", "is_full", "is_refused", "publishers", "since_mono_ms", "thens")

    def __init__(self, mono_ms: int, *, is_refused: bool = False) -> None:
        self.batch = Batch()
        self.is_refused = is_refused
        """It is never written: what is parsed into it is refused (held_back.py)."""
        self.is_full = False
        """Something waits that has no room: the next block is its."""
        self.since_mono_ms = mono_ms
        """When there was nothing in it."""
        self.publishers: list[Connection | None] = []
        self.thens: list[tuple[int, Callable[[int], None]]] = []

    def __len__(self) -> int:
        return len(self.batch)

    def mark_time(self, now_ms: int, mono_ms: int) -> None:
        """Say when the records that follow were received."""
        if not len(self.batch):
            self.since_mono_ms = mono_ms
        self.batch.mark_time(now_ms)

    def add_pending(self, pending: deque[PendingRecord]) -> None:
        """Take records from the left for as long as there is room."""
        batch = self.batch
        while pending:
            record = pending[0]
            wire_bytes = len(record.payload) + len(record.topic) + len(record.properties)
            if len(batch) and not batch.has_room(wire_bytes):
                self.is_full = True
                return
            pending.popleft()
            now_ms = batch.time_marks[-1][1] if record.received_at_ms is not None else 0
            if record.received_at_ms is not None:
                batch.mark_time(record.received_at_ms)
            index = batch.add(
                record.kind,
                record.client,
                topic=record.topic,
                payload=record.payload,
                flags=record.flags,
                properties=record.properties,
                packet_id=record.packet_id,
            )
            if record.received_at_ms is not None:
                batch.mark_time(now_ms)
            self.publishers.append(None)
            if record.then is not None:
                self.thens.append((index, record.then))

    def close_run(self, connection: Connection, before: int, wire_bytes: int, now_mono_ms: int) -> int:
        """Say that the records from `before` on are a connection's.

        Args:
            wire_bytes: What they took on the wire.
        Returns:
            How many they are.
        """
        batch = self.batch
        if connection.batch_identity is not batch.identity:
            connection.batch_identity = batch.identity
            connection.client_slot = batch.client_slot(connection.client)
        count = len(batch.payloads) - before
        batch.close_run(connection.client_slot, count, wire_bytes)
        self.publishers.append(connection)
        if connection.kept_copies is not None:
            self._mark_kept_copies(connection.kept_copies, before, now_mono_ms)
        return count

    def _mark_kept_copies(self, kept: KeptCopies, before: int, now_mono_ms: int) -> None:
        """Mark those of the records from `before` on that may be copies which another broker kept."""
        batch = self.batch
        retained = batch.retained
        for index in retained[bisect_left(retained, before) :]:
            topic = batch.topics[batch.topic_index[index]]
            if kept.may_be_copy(topic, batch.payloads[index], now_mono_ms):
                batch.flags[index] |= FLAG_KEPT_COPY
