"""The broker's statistics, put in order: what API, page and metrics show of them, and which limits were reached how often.

The statistics come from another process, perhaps of another version or not at all yet: a number that is not there is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from appliance.core.config import BrokerConfig
from appliance.core.settings import settings_of
from ui.api import broker_structs as structs
from ui.services import Services

Statistics = Mapping[str, Any]
DOORS: Final = (
    ("tcp", "tcp_bind"),
    ("tls", "tls_bind"),
    ("ws", "ws_bind"),
    ("wss", "wss_bind"),
    ("unix", "unix_path"),
)
"""Transports, and the key that says where each listens."""


def _at_path(statistics: Statistics, path: tuple[str, ...]) -> Any:
    value: Any = statistics
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def number(statistics: Statistics, *path: str) -> int:
    """The number at a path of names, 0 if there is none."""
    value = _at_path(statistics, path)
    return int(value) if isinstance(value, int | float) else 0


def word(statistics: Statistics, *path: str) -> str:
    """The text at a path of names, "" if there is none."""
    value = _at_path(statistics, path)
    return value if isinstance(value, str) else ""


def counts(statistics: Statistics, *path: str) -> dict[str, int]:
    """The counts at a path, by their names; empty if there are none."""
    value = _at_path(statistics, path)
    if not isinstance(value, Mapping):
        return {}
    return {str(name): int(count) for name, count in value.items() if isinstance(count, int)}


@dataclass(frozen=True, slots=True)
class Limit:
    """A key of the section [broker], how much of it is in use, and how often it was reached."""

    key: str
    in_use: tuple[str, ...] | None
    hits: Callable[[Statistics], int] | None


def _at(*path: str) -> Callable[[Statistics], int]:
    return lambda statistics: number(statistics, *path)


def _counted(key: str, *in_use: str) -> Limit:
    """A limit that the broker counts by its name (broker/limit_counts.py)."""
    return Limit(key, in_use or None, _at("limits", key))


def _full_queues(statistics: Statistics) -> int:
    """How often a queue was full: of a client that is connected once until it has caught up, of one that is away with
    each message that had to go.
    """
    return number(statistics, "connections", "fell_behind") + number(
        statistics, "sessions", "dropped_messages"
    )


LIMITS: Final = (
    _counted("connections_max", "plane", "connections"),
    _counted("connections_per_address_max"),
    _counted("connections_per_device_max"),
    _counted("connections_per_application_max"),
    _counted("handshakes_max", "listeners", "handshakes"),
    _counted("connect_rate_per_address_max"),
    _counted("connect_timeout_ms"),
    _counted("packet_bytes_max"),
    _counted("packet_timeout_ms"),
    _counted("device_bytes_per_s_max"),
    _counted("device_messages_per_s_max"),
    _counted("application_bytes_per_s_max"),
    _counted("application_messages_per_s_max"),
    _counted("receive_maximum"),
    _counted("topic_alias_max"),
    _counted("subscriptions_max", "plane", "subscriptions"),
    Limit("keep_alive_s_max", None, None),
    _counted("sessions_max", "sessions", "durable"),
    Limit("session_expiry_s_max", None, _at("sessions", "expired_sessions")),
    Limit("session_queue_messages_max", None, _full_queues),
    Limit("session_queue_bytes_max", None, _full_queues),
    Limit("retained_messages_max", ("retained", "messages"), _at("retained", "refused")),
    Limit("retained_bytes_max", ("retained", "bytes"), _at("retained", "refused")),
)


def limits(statistics: Statistics, config: BrokerConfig) -> tuple[structs.BrokerLimit, ...]:
    """Every limit of the section [broker] with its use."""
    described = settings_of(BrokerConfig)
    return tuple(
        structs.BrokerLimit(
            key=limit.key,
            value=getattr(config, limit.key),
            unit=described[limit.key].unit,
            in_use=None if limit.in_use is None else number(statistics, *limit.in_use),
            hits_total=None if limit.hits is None else limit.hits(statistics),
            meaning=described[limit.key].help,
        )
        for limit in LIMITS
    )


def doors(statistics: Statistics, config: BrokerConfig) -> tuple[structs.Door, ...]:
    """Where clients come in, those that are configured first."""
    connected = counts(statistics, "plane", "connections_by_transport")
    accepted = counts(statistics, "listeners", "accepted_by_transport")
    address_of = {name: str(getattr(config, key) or "") for name, key in DOORS}
    names = [name for name, address in address_of.items() if address]
    names += sorted((connected.keys() | accepted.keys()) - set(names))
    return tuple(
        structs.Door(
            transport=name,
            address=address_of.get(name, ""),
            connections=connected.get(name, 0),
            accepted_total=accepted.get(name, 0),
        )
        for name in names
    )


def broker(services: Services) -> structs.Broker:
    """Everything at a glance."""
    link = services.broker
    statistics, config = link.statistics, services.config.broker
    plane, connections, sessions = ("plane",), ("connections",), ("sessions",)
    return structs.Broker(
        connected=link.connected,
        now_ms=services.clock.now_ms(),
        connections=number(statistics, *plane, "connections"),
        connections_most=number(statistics, *connections, "connections_most"),
        subscriptions=number(statistics, *plane, "subscriptions"),
        retained_messages=number(statistics, "retained", "messages"),
        retained_bytes=number(statistics, "retained", "bytes"),
        doors=doors(statistics, config),
        traffic=structs.BrokerTraffic(
            received_messages_total=number(statistics, *plane, "received_messages"),
            acknowledged_messages_total=number(statistics, *plane, "acknowledged_messages"),
            delivered_messages_total=number(statistics, *plane, "delivered_messages"),
            refused_messages_total=number(statistics, *plane, "refused_messages"),
            oversize_messages_total=number(statistics, *connections, "oversize_messages"),
            received_bytes_total=number(statistics, *plane, "received_bytes"),
            sent_bytes_total=number(statistics, *connections, "sent_bytes"),
        ),
        rates=structs.BrokerRates(
            received_messages_per_s=_rate(services, *plane, "received_messages"),
            delivered_messages_per_s=_rate(services, *plane, "delivered_messages"),
            received_bytes_per_s=_rate(services, *plane, "received_bytes"),
            sent_bytes_per_s=_rate(services, *connections, "sent_bytes"),
        ),
        queues=structs.BrokerQueues(
            in_flight_messages=number(statistics, *sessions, "in_flight_messages"),
            queued_messages=number(statistics, *sessions, "waiting_messages"),
            queued_bytes=number(statistics, *sessions, "waiting_bytes"),
            unsent_bytes=number(statistics, *connections, "unsent_bytes"),
            lagging_subscribers=number(statistics, *plane, "lagging_subscribers"),
            lag_records_most=number(statistics, *connections, "lag_records_most"),
        ),
        sessions=structs.BrokerSessions(
            durable=number(statistics, *sessions, "durable"),
            away=number(statistics, *sessions, "away"),
            expired_sessions_total=number(statistics, *sessions, "expired_sessions"),
            dropped_messages_total=number(statistics, *sessions, "dropped_messages"),
            expired_messages_total=number(statistics, *sessions, "expired_messages"),
            lost_messages_total=number(statistics, *sessions, "lost_messages"),
            shared_subscriptions=number(statistics, *sessions, "shared_subscriptions"),
        ),
        disk=structs.BrokerDisk(
            free_bytes=number(statistics, "process", "disk_free_bytes"),
            total_bytes=number(statistics, "process", "disk_total_bytes"),
            log_is_full=bool(number(statistics, *plane, "log_is_full")),
            log_bytes=number(statistics, "log", "housekeeping", "log_bytes"),
            level=word(statistics, "log", "housekeeping", "disk_level_name"),
            held_clients=number(statistics, "held", "clients"),
            memory_bytes=number(statistics, "process", "memory_bytes"),
        ),
        limits=limits(statistics, config),
        refused_by_code=counts(statistics, "listeners", "refused_by_code"),
        closed_by_reason=counts(statistics, *plane, "closed_by_reason"),
    )


def _rate(services: Services, *path: str) -> float | None:
    """How much a counter grew a second, over the statistics that are remembered."""
    history = services.broker.history
    if not services.broker.connected or len(history) < 2:
        return None
    (before_s, before), (now_s, now) = history[0], history[-1]
    if now_s <= before_s:
        return None
    return max(0, number(now, *path) - number(before, *path)) / (now_s - before_s)
