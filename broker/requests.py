"""Requests of devices (management/request_topics.py): handed to the node, and its answers sent to whoever asked.

Theory of operation. The publish parser puts a request aside, so it is in no block and no subscriber gets it. It is acknowledged at
once, which says that it will be answered: over the control socket the node is asked, and the messages that it says go to the connection
that asked, as PUBLISHes of QoS 0 that no subscription is needed for. What can't be asked is answered here: the node is away or takes too
long, or there are too many. A connection that ends is not answered, and where it asked for blocks of a file the node is told to stop; requests are made so that they can be made
again.

The broker does not look into a request. Each service has its own desk (request_desk.py), so that who asks for blocks of a file
keeps up nobody's twin. Bounded: the size of a request, how many wait, in all and of a connection, how often one asks, for how long it waits, and what
the answers are. Connections that enrol are closed after PROVISIONING_CONNECTION_MS.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final, Protocol

import structlog
import trio

from appliance.core.clock import Clock
from appliance.core.limits import PROVISIONING_CONNECTION_MS
from appliance.core.limits_requests import (
    REQUEST_ANSWER_MESSAGE_COUNT_MAX,
    REQUEST_LIMITS,
    REQUEST_TURNED_AWAY_COUNT_MAX,
    REQUEST_WAITING_BYTES_MAX,
)
from appliance.management.request_refusals import Refusal, refusal_message
from appliance.management.request_topics import parse

from .direct_messages import DirectMessages, Outcome
from .limit_counts import Limit, LimitCounts
from .mqtt.codec import decode_properties
from .mqtt.packets import PublishedRequest
from .mqtt.property_table import PropertyId
from .mqtt.reason_codes import ReasonCode
from .places import Places
from .request_desk import RequestDesk, Waiting
from .session_records import CloseReason

if TYPE_CHECKING:
    from .connection import Connection
    from .data_plane import DataPlane

LOOK_INTERVAL_S: Final = 0.5
RETRY_FIRST_S: Final = 5
RETRY_SPREAD_S: Final = 25
"""Devices that are told to come back do so over this time, not all at the same moment."""
QOS_1: Final = 0x02
QOS_2: Final = 0x04
PUBACK: Final = b"\x40\x02"
PUBREC: Final = b"\x50\x02"
ANSWER_TOO_LARGE: Final = Refusal(
    code="answer_too_large", message="The answer is larger than you take: raise your maximum packet size."
)

log = structlog.get_logger(__name__)


class Node(Protocol):
    """Who answers (control.ControlServer)."""

    def request(self, fields: dict[str, Any]) -> bool:
        """Have a request answered by `Requests.reply`; False where nobody can now."""

    def call_off(self, numbers: Sequence[int]) -> None:
        """Have nobody work on these any more."""


class NoNode:
    """For a broker that has no control socket."""

    def request(self, fields: dict[str, Any]) -> bool:
        return False

    def call_off(self, numbers: Sequence[int]) -> None:
        return


class Requests:
    """See the module's docstring. `plane` and `node` are set once they are made."""

    plane: DataPlane
    node: Node = NoNode()

    def __init__(self, places: Places, limits: LimitCounts, clock: Clock, direct: DirectMessages) -> None:
        self._places = places
        self._limits = limits
        self._clock = clock
        self._direct = direct
        self._desks = {service: RequestDesk(limits) for service, limits in REQUEST_LIMITS.items()}
        self._waiting_bytes = 0
        self._seen: dict[Connection, int] = {}
        self._number = 0

    def statistics(self) -> dict[str, dict[str, int]]:
        """Counts since the start, by service."""
        return {service: asdict(desk.counts) for service, desk in self._desks.items()}

    def waiting_counts(self) -> dict[str, int]:
        """Requests that the node has not answered yet, by service."""
        return {service: len(desk) for service, desk in self._desks.items()}

    # --- called by the data plane -----------------------------------------------------------------------------

    def take(self, connection: Connection) -> bool:
        """Take the requests that a connection's parser has put aside; False where that has closed the connection."""
        requests, turned_away = connection.parser.requests, 0
        for request in requests:
            if request.first & QOS_1:
                connection.outbox.append(PUBACK + request.packet_id)
            elif request.first & QOS_2:
                connection.outbox.append(PUBREC + request.packet_id)
            turned_away += not self._ask(connection, request)
        requests.clear()
        if turned_away > REQUEST_TURNED_AWAY_COUNT_MAX:
            self._limits.reached(Limit.REQUEST_TURNED_AWAY_COUNT_MAX)
            self.plane.close(
                connection,
                CloseReason.PROTOCOL_ERROR,
                ReasonCode.QUOTA_EXCEEDED,
                "it does not wait for its answers",
            )
            return False
        self.plane.mark_dirty(connection)
        return True

    def _ask(self, connection: Connection, request: PublishedRequest) -> bool:
        """Ask the node, or say at once why not."""
        text, payload = request.topic.decode(), request.payload
        topic = parse(text)
        assert topic is not None
        desk = self._desks[topic.service]
        desk.counts.taken += 1
        self._number += 1
        now_ms = self._clock.mono_ms()
        waiting = Waiting(
            connection, topic, payload, _correlation(request.properties), now_ms + desk.limits.timeout_ms
        )
        problem = desk.problem(connection, len(payload), now_ms)
        if problem is not None:
            limit, refusal = problem
            self._limits.reached(limit)
            desk.counts.turned_away += 1
            self._refuse(desk, waiting, refusal)
            return False
        if len(desk) >= desk.limits.waiting_count_max:
            self._limits.reached(Limit.REQUEST_WAITING_COUNT_MAX)
            self._say_unavailable(desk, waiting, "Too many devices ask at the same moment.")
            return False
        if self._waiting_bytes + len(payload) > REQUEST_WAITING_BYTES_MAX:
            self._limits.reached(Limit.REQUEST_WAITING_BYTES_MAX)
            self._say_unavailable(desk, waiting, "Too much is asked at the same moment.")
            return False
        principal = connection.principal
        is_asked = self.node.request(
            {
                "id": self._number,
                "topic": text,
                "payload": payload,
                "client_id": connection.client_id,
                "address": connection.address,
                "principal": {"name": principal.name, "kind": principal.kind, "proof": principal.proof},
            }
        )
        if not is_asked:
            self._say_unavailable(desk, waiting, "The node is away.")
            return False
        desk.add(self._number, waiting)
        self._waiting_bytes += len(payload)
        return True

    # --- called by the control socket -------------------------------------------------------------------------

    def reply(self, number: int, messages: Sequence[tuple[str, bytes]], *, is_accepted: bool) -> None:
        """The node has answered; an answer that comes too late is for nobody any more."""
        for desk in self._desks.values():
            waiting = self._pop(desk, number)
            if waiting is None:
                continue
            if is_accepted:
                desk.counts.accepted += 1
            else:
                desk.counts.rejected += 1
            self._send(desk, waiting, messages)
            self.plane.wake()
            return

    def node_left(self) -> None:
        """Whoever waits is told so: what the node has done of it, it finds when it is asked again."""
        for desk in self._desks.values():
            for number in desk.numbers():
                self._give_up(desk, number, "The node went away before it answered.")

    async def run(self) -> None:
        """Tell who waits too long, and close who enrols for too long. Runs until cancelled."""
        while True:
            await trio.sleep(LOOK_INTERVAL_S)
            self.look()

    def look(self) -> None:
        """What `run` does from time to time."""
        now_ms = self._clock.mono_ms()
        for desk in self._desks.values():
            for number in desk.overdue(now_ms):
                self._give_up(desk, number, "The node did not answer in time.")
            desk.forget_full(now_ms)
            if desk.limits.is_called_off and (left := desk.left()):
                for number in left:
                    self._pop(desk, number)
                desk.counts.called_off += len(left)
                self.node.call_off(left)
        self._direct.look()
        self._seen = {each: self._seen.get(each, now_ms) for each in self._places.provisioning}
        for connection, since_ms in self._seen.items():
            if now_ms - since_ms >= PROVISIONING_CONNECTION_MS:
                self._limits.reached(Limit.PROVISIONING_CONNECTION_MS)
                text = f"enrolling takes {PROVISIONING_CONNECTION_MS // 1000} s at most"
                self.plane.close(connection, CloseReason.KICKED, ReasonCode.MAXIMUM_CONNECT_TIME, text)
                self.plane.wake()

    # --- answers ----------------------------------------------------------------------------------------------

    def _pop(self, desk: RequestDesk, number: int) -> Waiting | None:
        waiting = desk.pop(number)
        if waiting is not None:
            self._waiting_bytes -= len(waiting.asked)
        return waiting

    def _give_up(self, desk: RequestDesk, number: int, why: str) -> None:
        waiting = self._pop(desk, number)
        assert waiting is not None
        self._say_unavailable(desk, waiting, why)
        self.plane.wake()

    def _say_unavailable(self, desk: RequestDesk, waiting: Waiting, why: str) -> None:
        desk.counts.unavailable += 1
        retry_s = RETRY_FIRST_S + self._number % RETRY_SPREAD_S
        refusal = Refusal(code="unavailable", message=f"{why} Try again in {retry_s} s.", retry_s=retry_s)
        self._refuse(desk, waiting, refusal)

    def _refuse(self, desk: RequestDesk, waiting: Waiting, refusal: Refusal) -> None:
        topic, payload = refusal_message(waiting.topic, refusal, waiting.asked)
        connection = waiting.connection
        identifiers = self._direct.identifiers(connection, topic) if connection.fd >= 0 else ()
        sent = self._direct.send(
            connection, topic, payload, correlation=waiting.correlation, identifiers=identifiers
        )
        desk.counts.unheard += sent is not Outcome.SENT

    def _send(self, desk: RequestDesk, waiting: Waiting, messages: Sequence[tuple[str, bytes]]) -> None:
        """Send an answer's messages; in place of those that the client does not take, once, that they are too large."""
        limits, connection = desk.limits, waiting.connection
        identifiers: dict[str, tuple[int, ...]] = {}
        """By topic: a file's blocks have all the same."""
        size_bytes = sum(len(payload) for _, payload in messages)
        is_too_large = (
            size_bytes > limits.answer_bytes_max or len(messages) > REQUEST_ANSWER_MESSAGE_COUNT_MAX
        )
        if is_too_large:
            messages = ()
        for topic, payload in messages:
            sent = Outcome.TOO_LARGE
            if len(payload) <= limits.message_bytes_max:
                if topic not in identifiers:
                    identifiers[topic] = self._direct.identifiers(connection, topic)
                sent = self._direct.send(
                    connection,
                    topic,
                    payload,
                    correlation=waiting.correlation,
                    identifiers=identifiers[topic],
                )
            if sent is Outcome.TOO_LARGE:
                is_too_large = True
            elif sent is Outcome.NO_ROOM:
                self._limits.reached(Limit.REQUEST_ANSWERS_UNSENT_BYTES_MAX)
            if sent in (Outcome.GONE, Outcome.NO_ROOM):
                desk.counts.unheard += 1
                return
        if is_too_large:
            log.warning(
                "an answer is larger than its client takes", client_id=connection.client_id,
                topic=str(waiting.topic), bytes=size_bytes, hint="Raise the client's maximum packet size.",
            )  # fmt: skip
            self._refuse(desk, waiting, ANSWER_TOO_LARGE)


def _correlation(properties: bytes) -> bytes | None:
    """What an MQTT 5 client wants to know its answer by (§3.3.2.3.6)."""
    if not properties:
        return None
    found = decode_properties(properties).get(PropertyId.CORRELATION_DATA)
    return found if isinstance(found, bytes) else None
