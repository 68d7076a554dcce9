"""What the node may ask of the broker, and the answers: who has a session, what is retained, and what an operator does
about it.

Answers are maps of msgpack's types and fit one control frame: pages are bounded by rows and by bytes. A list of thousands is
looked through a slice at a time, with the data plane's turns in between. docs/API.md says what the members mean.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from heapq import nlargest, nsmallest
from typing import TYPE_CHECKING, Any, Final, TypeVar

import trio

from appliance.core.clock import Clock
from appliance.core.errors import Conflict, NotFound, Unavailable, UsageError
from appliance.core.limits import (
    BROKER_ANSWER_BYTES_MAX,
    BROKER_PAGE_ITEM_COUNT_MAX,
    CLEAR_TIMEOUT_MS,
    CLIENT_ID_BYTES_MAX,
    RETAINED_PREVIEW_BYTES_MAX,
    TOPIC_BYTES_MAX,
)
from appliance.core.limits_tracing import TRACE_WANTED_MS
from storage.log.columns import Kind

from .delivery import NEVER
from .mqtt.packets import Version
from .open_block import PendingRecord
from .server_publishing import ServerPublishing
from .state.broker_state import FLAG_RETAIN
from .state.retained import RetainedMessage
from .tracer import Tracer

if TYPE_CHECKING:
    from .administration import Administration
    from .data_plane import DataPlane
    from .pushes import Pushes
    from .router import Grant
    from .state.broker_state import BrokerState
    from .state.session import Session

SLICE_COUNT: Final = 2_000
"""Looked at before others have their turn: about 1 ms."""
ROW_OVERHEAD_BYTES: Final = 512
"""Names and numbers of a row, beside its texts."""
VERSIONS: Final = {Version.MQTT_3_1: "3.1", Version.MQTT_3_1_1: "3.1.1", Version.MQTT_5: "5.0"}
STATES: Final = ("", "connected", "away")
NEVER_EXPIRES_S: Final = 0xFFFF_FFFF
"""MQTT 5.0 §3.1.2.11.2."""
BROKER_CLIENT: Final = ("", "")
"""Whose record it is when the broker itself publishes."""
T = TypeVar("T")
Fields = Mapping[str, Any]


class Questions:
    """See the module's docstring."""

    def __init__(
        self,
        plane: DataPlane,
        administration: Administration,
        state: BrokerState,
        pushes: Pushes,
        clock: Clock,
        tracer: Tracer,
    ) -> None:
        self._tracer = tracer
        self._plane = plane
        self._administration = administration
        self._sessions = state.sessions
        self._retained = state.retained
        self._clock = clock
        self._handlers: dict[str, Callable[[Fields], Awaitable[dict[str, Any]]]] = {
            "clients": self._clients,
            "client": self._client,
            "kick": self._kick,
            "end_session": self._end_session,
            "retained": self._retained_page,
            "clear_retained": self._clear_retained,
            "trace_next": self._trace_next,
            "push": pushes.answer,
            "publish": ServerPublishing(plane).answer,
        }

    async def answer(self, question: str, fields: Fields) -> dict[str, Any]:
        """Answer one question.

        Raises:
            UsageError: there is no such question, or a field is not what it has to be.
            NotFound: no such client, no such retained message.
            Unavailable: the disk did not take what was to be done in time.
        """
        handler = self._handlers.get(question)
        if handler is None:
            raise UsageError(
                f"The broker knows no question “{question[:40]}”.",
                hint="Restart the appliance, so that both processes are of one version.",
                code="question_unknown",
            )
        return await handler(fields)

    async def _trace_next(self, fields: Fields) -> dict[str, Any]:
        """Trace the next reading of a device."""
        if not self._tracer.is_on:
            raise Conflict(
                "Tracing is switched off.",
                hint="Set tracing.per_second_max in homeport.toml to more than 0.",
                code="tracing_off",
            )
        self._tracer.want(_text(fields, "device"))
        return {"waits_ms": TRACE_WANTED_MS}

    # --- clients ------------------------------------------------------------------------------------------------

    async def _clients(self, fields: Fields) -> dict[str, Any]:
        """Rows in the order of client ids: the named ones, or a page of those with `q` in id, user name or address, all or
        only the connected ones or those that are away.
        """
        if "client_ids" in fields:
            wanted = _texts(fields, "client_ids")
            found = [session for name in wanted if (session := self._sessions.get(name)) is not None]
            return {"clients": [self._row(session) for session in found], "next_cursor": None}
        q, limit = _text(fields, "q").casefold(), _limit(fields)
        state, cursor = _choice(fields, "state", STATES), _text(fields, "cursor")
        total = 0
        page: list[Session] = []
        for some in _slices(list(self._sessions)):
            matching = [session for session in some if _matches(session, q, state)]
            total += len(matching)
            page += [session for session in matching if session.client_id > cursor]
            page = nsmallest(limit + 1, page, key=lambda session: session.client_id)
            await trio.lowlevel.checkpoint()
        next_cursor = page[limit - 1].client_id if len(page) > limit else None
        # Some may have ended while others had their turn.
        there = [session for session in page[:limit] if self._sessions.get(session.client_id) is session]
        rows = [self._row(session) for session in there]
        return {"clients": rows, "next_cursor": next_cursor, "total": total}

    async def _client(self, fields: Fields) -> dict[str, Any]:
        """One client with its subscriptions."""
        session = self._known(fields)
        subscriptions, is_cut = [], False
        left = BROKER_ANSWER_BYTES_MAX
        for topic_filter, grant in sorted(session.filters.items()):
            left -= len(topic_filter.encode()) + ROW_OVERHEAD_BYTES // 4
            if left < 0:
                is_cut = True
                break
            subscriptions.append(_subscription(topic_filter, grant))
        will, connection = session.will, session.connection
        unanswered = 0 if connection is None else connection.unacknowledged_count
        return {
            **self._row(session),
            "will_topic": None if will is None else will.topic.decode(),
            "will_delay_s": session.will_delay_s(),
            "unacknowledged": unanswered + len(session.unreleased),
            "receive_maximum": None if connection is None else session.outbound.receive_maximum,
            "subscription_list": subscriptions,
            "subscriptions_cut": is_cut,
        }

    async def _kick(self, fields: Fields) -> dict[str, Any]:
        """Close a client's connection; it may come back."""
        session = self._known(fields)
        if not self._administration.kick(session.client_id):
            raise Conflict(
                f"The client “{session.client_id}” is not connected; only its session is there.",
                hint="End the session, if what waits for it is not wanted any more.",
                code="client_away",
            )
        return {"client_id": session.client_id}

    async def _end_session(self, fields: Fields) -> dict[str, Any]:
        """Close a client's connection if it has one, and forget its subscriptions and what waits for it."""
        session = self._known(fields)
        answer = {"client_id": session.client_id, "was_connected": session.connection is not None}
        self._administration.end_session(session.client_id)
        return answer

    def _known(self, fields: Fields) -> Session:
        client_id = _text(fields, "client_id")
        session = self._sessions.get(client_id)
        if session is None:
            raise NotFound(
                f"No client “{client_id}” is connected or has a session.",
                hint="Look at the list of clients: ids are case sensitive.",
                code="client_unknown",
            )
        return session

    def _row(self, session: Session) -> dict[str, Any]:
        outbound, connection = session.outbound, session.connection
        lag_seq = outbound.lag_seq
        row: dict[str, Any] = {
            "client_id": session.client_id,
            "principal": session.principal,
            "is_connected": connection is not None,
            "session_expiry_s": None if session.expiry_s == NEVER_EXPIRES_S else session.expiry_s,
            "subscriptions": len(session.filters),
            "in_flight": len(outbound.in_flight),
            "queued_messages": len(outbound.queue) + len(outbound.positions),
            "queued_bytes": outbound.queue_bytes + outbound.positions.size_bytes,
            "unsent_bytes": outbound.unsent_bytes,
            "is_lagging": connection is not None and lag_seq is not None,
            "lag_records": 0 if lag_seq is None else max(0, self._plane.durable_next_seq - lag_seq),
            "oversize_messages": outbound.oversize_count,
            "dropped_messages": outbound.dropped_count,
            "expired_messages": outbound.expired_count,
            "lost_messages": outbound.lost_count,
            "delivered_messages": outbound.delivered_count,
        }
        if connection is None:
            expires_at_ms = session.closed_at_ms + session.expiry_s * 1000
            return row | {
                "disconnected_at_ms": session.closed_at_ms or None,
                "expires_at_ms": None if session.expiry_s == NEVER_EXPIRES_S else expires_at_ms,
            }
        silent_ms = self._clock.mono_ms() - connection.last_packet_mono_ms
        return row | {
            "kind": connection.principal.kind,
            "address": connection.address,
            "transport": connection.transport.name,
            "version": VERSIONS[connection.version],
            "connected_at_ms": connection.connected_at_ms or None,
            "last_packet_at_ms": self._clock.now_ms() - max(0, silent_ms),
            "keep_alive_s": connection.keep_alive_ms // 1500,
            "received_bytes": connection.received_bytes,
            "sent_bytes": connection.sent_bytes,
        }

    # --- retained messages --------------------------------------------------------------------------------------

    async def _retained_page(self, fields: Fields) -> dict[str, Any]:
        """Retained messages, the newest first; `cursor` is a position in the log, `q` part of a topic."""
        q, limit = _text(fields, "q").encode().lower(), _limit(fields)
        before_seq = _whole(fields, "cursor", None)
        now_ms = self._clock.now_ms()
        page: list[RetainedMessage] = []
        total = 0
        for some in _slices(self._retained.messages()):
            matching = [
                m
                for m in some
                if q in m.topic.lower() and (m.expires_at_ms == NEVER or m.expires_at_ms > now_ms)
            ]
            total += len(matching)
            page += [m for m in matching if before_seq is None or m.seq < before_seq]
            page = nlargest(limit + 1, page, key=lambda m: m.seq)
            await trio.lowlevel.checkpoint()
        rows: list[dict[str, Any]] = []
        left = BROKER_ANSWER_BYTES_MAX
        for message in page[:limit]:
            left -= len(message.topic) + RETAINED_PREVIEW_BYTES_MAX + ROW_OVERHEAD_BYTES
            if left < 0 and rows:
                break
            rows.append(_retained_row(message))
        is_more = len(rows) < len(page)
        return {
            "retained": rows,
            "next_cursor": rows[-1]["seq"] if rows and is_more else None,
            "total": total,
        }

    async def _clear_retained(self, fields: Fields) -> dict[str, Any]:
        """Forget a topic's retained message, as an empty retained publish does: by a record of the log, which those who
        are subscribed get too (MQTT 5.0 §3.3.1.3).
        """
        topic = _text(fields, "topic", bytes_max=TOPIC_BYTES_MAX)
        held = self._retained.get(topic.encode())
        wanted_seq = _whole(fields, "seq", None)
        if held is None or (wanted_seq is not None and held.seq != wanted_seq):
            raise NotFound(
                f"The topic “{topic[:200]}” has no retained message"
                + (" any more." if held is None else " of that position: a newer one took its place."),
                hint="Look at the list of retained messages again.",
                code="retained_unknown",
            )
        written = trio.Event()
        record = PendingRecord(
            Kind.SERVER_PUBLISH,
            BROKER_CLIENT,
            topic.encode(),
            flags=FLAG_RETAIN,
            then=lambda _seq: written.set(),
        )
        self._plane.record(record)
        self._plane.wake()
        with trio.move_on_after(CLEAR_TIMEOUT_MS / 1000):
            await written.wait()
            return {"topic": topic, "seq": held.seq}
        raise Unavailable(
            "The disk has not taken the change yet.",
            hint="Look whether the disk is full; the message goes as soon as the log can be written.",
            code="disk_slow",
        )


def _slices(items: Sequence[T]) -> Iterable[Sequence[T]]:
    return (items[at : at + SLICE_COUNT] for at in range(0, len(items), SLICE_COUNT))


def _matches(session: Session, q: str, state: str) -> bool:
    connection = session.connection
    if state and (state == "connected") != (connection is not None):
        return False
    return (
        not q
        or q in session.client_id.casefold()
        or q in session.principal.casefold()
        or (connection is not None and q in connection.address)
    )


def _subscription(topic_filter: str, grant: Grant) -> dict[str, Any]:
    return {
        "topic_filter": topic_filter,
        "qos": grant.qos,
        "no_local": grant.no_local,
        "retain_as_published": grant.retain_as_published,
        "identifiers": list(grant.identifiers),
    }


def _retained_row(message: RetainedMessage) -> dict[str, Any]:
    return {
        "seq": message.seq,
        "topic": message.topic.decode("utf-8", "replace"),
        "client_id": message.client_id,
        "qos": message.qos,
        "payload_bytes": len(message.payload),
        "payload": message.payload[:RETAINED_PREVIEW_BYTES_MAX],
        "received_at_ms": message.received_at_ms,
        "expires_at_ms": None if message.expires_at_ms == NEVER else message.expires_at_ms,
    }


def _text(fields: Fields, name: str, *, bytes_max: int = CLIENT_ID_BYTES_MAX) -> str:
    value = fields.get(name, "")
    if not isinstance(value, str) or len(value.encode("utf-8", "surrogatepass")) > bytes_max:
        raise _bad(name, f"a text of at most {bytes_max} bytes")
    return value


def _texts(fields: Fields, name: str) -> list[str]:
    value = fields[name]
    if not isinstance(value, list) or len(value) > BROKER_PAGE_ITEM_COUNT_MAX:
        raise _bad(name, f"a list of at most {BROKER_PAGE_ITEM_COUNT_MAX} texts")
    return [_text({name: item}, name) for item in value]


def _whole(fields: Fields, name: str, default: int | None) -> int | None:
    value = fields.get(name, default)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
        raise _bad(name, "a whole number, 0 or more")
    return value


def _choice(fields: Fields, name: str, words: tuple[str, ...]) -> str:
    value = _text(fields, name)
    if value not in words:
        raise _bad(name, f"one of {', '.join(repr(word) for word in words)}")
    return value


def _limit(fields: Fields) -> int:
    value = _whole(fields, "limit", BROKER_PAGE_ITEM_COUNT_MAX)
    if value is None or not 1 <= value <= BROKER_PAGE_ITEM_COUNT_MAX:
        raise _bad("limit", f"1 to {BROKER_PAGE_ITEM_COUNT_MAX}")
    return value


def _bad(name: str, wanted: str) -> UsageError:
    return UsageError(
        f"The field “{name}” has to be {wanted}.", hint="Ask with another value.", code="question_invalid"
    )
