"""A stand-in for the broker behind the node's link: clients and retained messages that tests set by hand.

tests/contracts/test_broker_answers.py holds it to what a running broker answers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from appliance.core.errors import Conflict, NotFound, Unavailable, UsageError

STATISTICS: dict[str, Any] = {
    "tracing": {"traces": 4, "spans": 12, "spans_dropped": 0, "refused_offers": 1, "refused_share": 0, "wanted": 0},
    "plane": {
        "connections": 3, "connections_by_transport": {"tls": 2, "unix": 1}, "subscriptions": 31,
        "received_messages": 250_000, "acknowledged_messages": 249_000, "delivered_messages": 81_000,
        "refused_messages": 12, "received_bytes": 41_200_000, "received_publish_bytes": 40_000_000,
        "refused_subscriptions": 0, "lagging_subscribers": 1, "log_is_full": False,
        "closed_by_reason": {"connection_lost": 4, "keep_alive": 2}, "closed_by_code": {"0x95": 3},
    },
    "connections": {
        "connections_most": 14, "sent_bytes": 3_100_000, "delivered_bytes": 2_900_000, "oversize_messages": 0, "fell_behind": 2,
        "in_flight_messages": 3, "queued_messages": 7_409, "queued_bytes": 1_229_520, "unsent_bytes": 0,
        "lag_records_most": 88_000,
    },
    "sessions": {
        "durable": 5, "away": 1, "waiting_messages": 7_421, "waiting_bytes": 1_230_000, "in_flight_messages": 3,
        "dropped_messages": 0, "expired_messages": 4, "lost_messages": 0, "expired_sessions": 2, "shared_subscriptions": 0,
    },
    "listeners": {
        "sockets": 50, "accepted": 40, "accepted_by_transport": {"tls": 30, "tcp": 9, "unix": 1}, "handshakes": 1,
        "rate_limited": 0, "given_way": 0, "refused_by_code": {"bad_credentials": 5},
    },
    "retained": {"messages": 3, "bytes": 4_096, "refused": 0},
    "process": {"memory_bytes": 48 << 20, "disk_free_bytes": 21 << 30, "disk_total_bytes": 58 << 30},
    "checkpoint": {"written": 2, "failed": 0},
    "tls": {"failing": False},
    "credentials": {"lookups_total": 40, "fallbacks_total": 10, "credentials": 7, "readable": True},
    "limits": {"packet_bytes_max": 3, "topic_level_count_max": 1},
    "requests": {
        "shadow": {"taken": 9, "accepted": 5, "rejected": 2, "turned_away": 1, "unavailable": 1, "unheard": 0}
    },
    "requests_waiting": {"shadow": 1},
    "pushes": {"asked": 3, "delivered": 2, "unheard": 1},
    "listening": 2,
    "held": {"clients": 2, "refused_messages": 7, "dropped_messages": 1},
    "log": {
        "next_seq": 250_001, "sealed_bytes": 3 << 26, "write_failures_total": 0, "damaged_ranges": 0,
        "housekeeping": {
            "disk_level": 1, "disk_level_name": "low", "disk_used_ratio": 0.87, "ballast_bytes": 4096, "log_bytes": 8192,
            "first_seq": 21, "dropped_records": 20, "dropped_unread_records": 0,
        },
    },
}  # fmt: skip
"""Some time after the broker's start; 3 clients are connected."""


def client_row(client_id: str, **changes: Any) -> dict[str, Any]:
    """A connected client as the broker describes it."""
    return {
        "client_id": client_id, "principal": client_id, "is_connected": True, "kind": "device", "address": "192.0.2.7",
        "transport": "tls", "version": "5.0", "connected_at_ms": 1_771_999_000_000,
        "last_packet_at_ms": 1_771_999_999_000, "keep_alive_s": 60, "received_bytes": 48_211, "sent_bytes": 1_024,
        "session_expiry_s": 0, "subscriptions": 0, "in_flight": 0, "queued_messages": 0, "queued_bytes": 0,
        "unsent_bytes": 0, "is_lagging": False, "lag_records": 0, "oversize_messages": 0, "dropped_messages": 0,
        "expired_messages": 0, "lost_messages": 0, "delivered_messages": 0,
    } | changes  # fmt: skip


def away_row(client_id: str, **changes: Any) -> dict[str, Any]:
    """A client that is away and whose session waits for it."""
    connected = client_row(client_id)
    for name in (
        "kind", "address", "transport", "version", "connected_at_ms", "last_packet_at_ms", "keep_alive_s",
        "received_bytes", "sent_bytes",
    ):  # fmt: skip
        del connected[name]
    return connected | {
        "is_connected": False, "session_expiry_s": 3_600, "disconnected_at_ms": 1_771_999_900_000,
        "expires_at_ms": 1_772_003_500_000, "subscriptions": 1, "queued_messages": 12, "queued_bytes": 480,
    } | changes  # fmt: skip


def retained_row(seq: int, topic: str, **changes: Any) -> dict[str, Any]:
    """A retained message as the broker describes it."""
    return {
        "seq": seq, "topic": topic, "client_id": "writer", "qos": 1, "payload_bytes": 2, "payload": b"on",
        "received_at_ms": 1_771_999_900_000, "expires_at_ms": None,
    } | changes  # fmt: skip


@dataclass
class AnsweringBroker:
    """See the module's docstring. `asked` has every question with its fields."""

    connected: bool = True
    clients: list[dict[str, Any]] = field(default_factory=list)
    subscriptions: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    retained: list[dict[str, Any]] = field(default_factory=list)
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    async def ask(self, question: str, **fields: Any) -> dict[str, Any]:
        self.asked.append((question, fields))
        if not self.connected:
            raise Unavailable("The broker is not connected.", hint="Wait for it to start again.")
        answer: dict[str, Any] = getattr(self, "_" + question)(**fields)
        return answer

    def _clients(
        self,
        *,
        q: str = "",
        state: str = "",
        cursor: str = "",
        limit: int = 500,
        client_ids: list[str] | None = None,
    ) -> dict[str, Any]:
        by_id = {row["client_id"]: row for row in self.clients}
        if client_ids is not None:
            return {"clients": [by_id[name] for name in client_ids if name in by_id], "next_cursor": None}
        q = q.casefold()
        found = [
            row
            for _, row in sorted(by_id.items())
            if not (state and (state == "connected") != row["is_connected"])
            and (
                q in row["client_id"].casefold()
                or q in row["principal"].casefold()
                or q in row.get("address", "")
            )
        ]
        page = [row for row in found if row["client_id"] > cursor]
        next_cursor = page[limit - 1]["client_id"] if len(page) > limit else None
        return {"clients": page[:limit], "next_cursor": next_cursor, "total": len(found)}

    def _known(self, client_id: str) -> dict[str, Any]:
        for row in self.clients:
            if row["client_id"] == client_id:
                return row
        raise NotFound(f"No client “{client_id}” is connected.", hint="Look.", code="client_unknown")

    def _client(self, *, client_id: str) -> dict[str, Any]:
        row = self._known(client_id)
        return {
            **row,
            "will_topic": None,
            "will_delay_s": 0,
            "unacknowledged": 0,
            "receive_maximum": 16_384 if row["is_connected"] else None,
            "subscription_list": self.subscriptions.get(client_id, []),
            "subscriptions_cut": False,
        }

    def _kick(self, *, client_id: str) -> dict[str, Any]:
        row = self._known(client_id)
        if not row["is_connected"]:
            raise Conflict(f"The client “{client_id}” is not connected.", hint="End it.", code="client_away")
        self.clients.remove(row)
        if row["session_expiry_s"] != 0:
            kept = {name: row[name] for name in ("principal", "session_expiry_s", "subscriptions")}
            self.clients.append(away_row(client_id, **kept))
        return {"client_id": client_id}

    def _end_session(self, *, client_id: str) -> dict[str, Any]:
        row = self._known(client_id)
        self.clients.remove(row)
        return {"client_id": client_id, "was_connected": row["is_connected"]}

    def _retained(self, *, q: str = "", cursor: int | None = None, limit: int = 500) -> dict[str, Any]:
        found = [row for row in self.retained if q.lower() in row["topic"].lower()]
        found.sort(key=lambda row: -int(row["seq"]))
        page = [row for row in found if cursor is None or row["seq"] < cursor]
        next_cursor = page[limit - 1]["seq"] if len(page) > limit else None
        return {"retained": page[:limit], "next_cursor": next_cursor, "total": len(found)}

    def _publish(self, *, topic: str, payload: bytes, key: str, is_retained: bool) -> dict[str, Any]:
        if "#" in topic:
            raise UsageError("No topic name.", hint="Write another.", code="question_invalid")
        return {"seq": 7}

    def _trace_next(self, *, device: str) -> dict[str, Any]:
        return {"waits_ms": 900_000}

    def _clear_retained(self, *, topic: str, seq: int | None = None) -> dict[str, Any]:
        for row in self.retained:
            if row["topic"] == topic and seq in (None, row["seq"]):
                self.retained.remove(row)
                return {"topic": topic, "seq": row["seq"]}
        raise NotFound(f"The topic “{topic}” has no retained message.", hint="Look.", code="retained_unknown")
