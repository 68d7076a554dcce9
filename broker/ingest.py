"""What a bridge brings in: messages from the control socket into the open block, and the word when they are on disk.

They are records of the kind SERVER_PUBLISH, of a client and principal that are the bridge's name, `bridge/NAME`: no device can be
called that, so nobody else's records are mistaken for them. Whoever may open the control socket may publish to any
topic; its folder is private to Homeport's user.

While the disk is too full for what devices publish (held_back.py), what bridges bring waits too, in its order: the other broker is
not acknowledged and keeps it.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import trio

from appliance.core.errors import RemoteProtocolError
from appliance.core.limits import INGEST_RECORD_COUNT_MAX, INGEST_REQUEST_COUNT_MAX, PACKET_BYTES_HARD_MAX
from storage.log.columns import FLAG_KEPT_COPY, Kind

from .mqtt.codec import decode_properties
from .mqtt.topics import validate_topic_name
from .open_block import PendingRecord

PRINCIPAL: Final = re.compile(r"bridge/[a-z0-9-]{1,32}")
LOOK_INTERVAL_S: Final = 0.5
FLAG_BITS: Final = 0b0111 | FLAG_KEPT_COPY
"""QoS and RETAIN, as in the fixed header (DUP is of one connection), and whether it may be a copy that the other broker kept."""


class Plane(Protocol):
    """What is needed of the data plane."""

    def record(self, pending: PendingRecord) -> None: ...
    def wake(self) -> None: ...


class Ingest:
    """See the module's docstring.

    Args:
        is_held: Whether the disk is too full for messages from outside now.
    Attributes:
        plane: Set once it is made.
        messages: Taken since the start.
    """

    plane: Plane

    def __init__(self, is_held: Callable[[], bool] = lambda: False) -> None:
        self._is_held = is_held
        self._held: deque[list[PendingRecord]] = deque()
        """Requests that wait for space; INGEST_REQUEST_COUNT_MAX bounds them with all others."""
        self._waiting: dict[str, int] = {}
        """Principal → requests whose records are not on disk yet, whoever asked and may be gone since."""
        self._settling: dict[str, list[Callable[[], None]]] = {}
        self.messages = 0

    def publish(self, principal: str, records: Sequence[object], done: Callable[[int], None]) -> None:
        """Append messages, in order; `done` is called with the last one's sequence when all of them are on disk.

        Args:
            records: Of each [topic bytes, payload bytes, flags, packet identifier or 0, property bytes].
        Raises:
            RemoteProtocolError: not that, a topic or properties that MQTT does not allow, or too many; nothing was appended.
        """
        if PRINCIPAL.fullmatch(principal) is None:
            raise RemoteProtocolError(f"{principal!r} is not a bridge's name.")
        if not 1 <= len(records) <= INGEST_RECORD_COUNT_MAX:
            raise RemoteProtocolError(f"{len(records)} records in one request.")
        if sum(self._waiting.values()) >= INGEST_REQUEST_COUNT_MAX:
            raise RemoteProtocolError("Too many requests wait for the disk.")
        pending = [self._record(principal, record) for record in records]
        self._waiting[principal] = self._waiting.get(principal, 0) + 1

        def then(seq: int) -> None:
            self.messages += len(pending)
            self._waiting[principal] -= 1
            done(seq)
            if not self._waiting[principal]:
                del self._waiting[principal]
                for settled in self._settling.pop(principal, ()):
                    settled()

        pending[-1].then = then
        self._held.append(pending)
        self.look_again()

    @property
    def held_count(self) -> int:
        """Requests that wait because the disk is too full."""
        return len(self._held)

    def look_again(self) -> None:
        """Append what was held back, if there is space for it now."""
        if self._is_held():
            return
        while self._held:
            for record in self._held.popleft():
                self.plane.record(record)
            self.plane.wake()

    async def run(self) -> None:
        """Look again now and then, until cancelled."""
        while True:
            await trio.sleep(LOOK_INTERVAL_S)
            self.look_again()

    def settle(self, principal: str, done: Callable[[], None]) -> None:
        """Have `done` called when nothing of a bridge waits for the disk: from then on the log says what was appended.

        Raises:
            RemoteProtocolError: too many ask.
        """
        if principal not in self._waiting:
            done()
            return
        waiting = self._settling.setdefault(principal, [])
        if len(waiting) >= INGEST_REQUEST_COUNT_MAX:
            raise RemoteProtocolError("Too many wait for the same bridge.")
        waiting.append(done)

    def _record(self, principal: str, record: object) -> PendingRecord:
        match record:
            case [
                bytes(topic),
                bytes(payload),
                int(flags),
                int(packet_id),
                bytes(properties),
            ] if flags & ~FLAG_BITS == 0 and 0 <= packet_id <= 0xFFFF and flags >> 1 & 3 < 3:
                validate_topic_name(topic)
                decode_properties(properties)
                if len(payload) + len(topic) + len(properties) > PACKET_BYTES_HARD_MAX:
                    raise RemoteProtocolError("A record is larger than the largest packet.")
                return PendingRecord(
                    Kind.SERVER_PUBLISH,
                    (principal, principal),
                    topic=topic,
                    payload=payload,
                    flags=flags,
                    properties=properties,
                    packet_id=packet_id,
                )
        raise RemoteProtocolError("A record is not [topic, payload, flags, packet identifier, properties].")
