"""How often each limit of the broker was reached. docs/LIMITS.md has a row for each, which a test checks.

The names are those of the configuration's keys ([broker]) or of appliance/core/limits.py, in lower case.
"""

from __future__ import annotations

from enum import StrEnum


class Limit(StrEnum):
    """What a client can run into, from the door inwards."""

    CONNECT_RATE_PER_ADDRESS_MAX = "connect_rate_per_address_max"
    HANDSHAKES_MAX = "handshakes_max"
    WEBSOCKET_CONNECTION_COUNT_MAX = "websocket_connection_count_max"
    CONNECT_TIMEOUT_MS = "connect_timeout_ms"
    CONNECT_BYTES_MAX = "connect_bytes_max"
    CLIENT_ID_BYTES_MAX = "client_id_bytes_max"
    USER_NAME_BYTES_MAX = "user_name_bytes_max"
    PASSWORD_BYTES_MAX = "password_bytes_max"  # noqa: S105 - a limit's name
    CONNECTIONS_MAX = "connections_max"
    CONNECTIONS_PER_ADDRESS_MAX = "connections_per_address_max"
    CONNECTIONS_PER_DEVICE_MAX = "connections_per_device_max"
    CONNECTIONS_PER_APPLICATION_MAX = "connections_per_application_max"
    PACKET_BYTES_MAX = "packet_bytes_max"
    PACKET_TIMEOUT_MS = "packet_timeout_ms"
    USER_PROPERTY_COUNT_MAX = "user_property_count_max"
    TOPIC_LEVEL_COUNT_MAX = "topic_level_count_max"
    TOPIC_ALIAS_MAX = "topic_alias_max"
    TOPIC_ALIAS_TOPIC_BYTES_MAX = "topic_alias_topic_bytes_max"
    RECEIVE_MAXIMUM = "receive_maximum"
    DEVICE_BYTES_PER_S_MAX = "device_bytes_per_s_max"
    DEVICE_MESSAGES_PER_S_MAX = "device_messages_per_s_max"
    APPLICATION_BYTES_PER_S_MAX = "application_bytes_per_s_max"
    APPLICATION_MESSAGES_PER_S_MAX = "application_messages_per_s_max"
    SUBSCRIPTION_COUNT_MAX = "subscription_count_max"
    SUBSCRIPTION_BYTES_MAX = "subscription_bytes_max"
    SUBSCRIPTIONS_MAX = "subscriptions_max"
    SESSIONS_MAX = "sessions_max"
    REQUEST_BYTES_MAX = "request_bytes_max"
    REQUEST_PER_CONNECTION_COUNT_MAX = "request_per_connection_count_max"
    REQUEST_BURST_COUNT_MAX = "request_burst_count_max"
    REQUEST_TURNED_AWAY_COUNT_MAX = "request_turned_away_count_max"
    REQUEST_WAITING_COUNT_MAX = "request_waiting_count_max"
    REQUEST_WAITING_BYTES_MAX = "request_waiting_bytes_max"
    REQUEST_ANSWERS_UNSENT_BYTES_MAX = "request_answers_unsent_bytes_max"
    PROVISIONING_CONNECTION_COUNT_MAX = "provisioning_connection_count_max"
    PROVISIONING_CONNECTION_MS = "provisioning_connection_ms"


_NAMES = frozenset(Limit)


class LimitCounts:
    """Counters since the start, one for each limit."""

    def __init__(self) -> None:
        self._counts = dict.fromkeys(Limit, 0)

    def reached(self, limit: Limit) -> None:
        """A limit was reached and held."""
        self._counts[limit] += 1

    def reached_by_error(self, code: str) -> None:
        """An error was answered; counts if its code is a limit's name, and does nothing for any other."""
        if code in _NAMES:
            self._counts[Limit(code)] += 1

    def as_map(self) -> dict[str, int]:
        """By name; every limit has an entry."""
        return {limit.value: count for limit, count in self._counts.items()}
