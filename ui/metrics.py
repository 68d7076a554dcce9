"""/health/metrics: what Prometheus reads, from the statistics() of every room at the moment of asking.

Open without signing in to this machine (loopback and the node's Unix socket); from elsewhere it takes somebody signed in whose account
is for the whole site. So a collector runs on the box, or an operator opens the port by a proxy of their own on it.

`METRICS` of ui/metrics_table.py is the whole list with its help; docs/METRICS.md is tested against it. What rooms count beyond it comes out as
`homeport_statistic{room, name}`, so that a new number can be looked at before it has a name of its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import trio
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response

from appliance.core import (
    limits,
    limits_alarms,
    limits_anomalies,
    limits_executions,
    limits_notifications,
    limits_requests,
    limits_twins,
    limits_updates,
    limits_watch,
)
from appliance.core.errors import HomeportError
from appliance.management.permissions import check
from appliance.notifications.desk import NotificationStatistics
from storage.catalog import CertificateCounts
from storage.catalog.alarm_lists import AlarmCounts
from storage.catalog.update_numbers import UpdateNumbers
from ui.api.bridge_structs import Bridge
from ui.auth import is_local, require, services_of
from ui.bridges import bridges as bridges_of
from ui.broker_numbers import limits as limits_of_broker
from ui.metrics_alarms import add_alarms, read_alarm_counts
from ui.metrics_archive import add_archive
from ui.metrics_artifacts import add_artifacts
from ui.metrics_audit import add_audit
from ui.metrics_backup import add_backups
from ui.metrics_catalog import add_catalog, add_device_credentials
from ui.metrics_certificates import add_certificates, read_counts
from ui.metrics_clock import add_clock
from ui.metrics_delivery import add_delivery
from ui.metrics_drills import add_drills
from ui.metrics_freshness import add_freshness
from ui.metrics_limits import add_exports, add_rate_limits
from ui.metrics_notifications import add_notifications, read_notification_statistics
from ui.metrics_replication import add_replication
from ui.metrics_rollouts import add_rollouts, read_update_numbers
from ui.metrics_rules import add_rules
from ui.metrics_table import Collected
from ui.metrics_tracing import add_tracing
from ui.metrics_twins import add_twins
from ui.metrics_updates import add_updates
from ui.metrics_watch import add_watch
from ui.replication import ReplicationNow
from ui.replication import replication as replication_of
from ui.services import Services
from ui.storage_room import disk_room_bytes

FIXED_LIMITS: Final = (
    limits,
    limits_requests,
    limits_updates,
    limits_executions,
    limits_twins,
    limits_alarms,
    limits_anomalies,
    limits_watch,
    limits_notifications,
)
NOT_ASKED: Final = ReplicationNow()
LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "::ffff:127.0.0.1"})

BROKER_NUMBERS: Final = {
    "connections.connections_most": "homeport_broker_connections_most",
    "listeners.handshakes": "homeport_broker_handshakes",
    "listening": "homeport_broker_listening",
    "plane.subscriptions": "homeport_broker_subscriptions",
    "plane.refused_subscriptions": "homeport_broker_subscriptions_refused",
    "plane.received_messages": "homeport_broker_messages_received",
    "plane.acknowledged_messages": "homeport_broker_messages_acknowledged",
    "plane.delivered_messages": "homeport_broker_messages_delivered",
    "plane.refused_messages": "homeport_broker_messages_refused",
    "connections.oversize_messages": "homeport_broker_messages_oversize",
    "sessions.dropped_messages": "homeport_broker_messages_dropped",
    "sessions.expired_messages": "homeport_broker_messages_expired",
    "sessions.lost_messages": "homeport_broker_messages_lost",
    "sessions.durable": "homeport_broker_sessions",
    "sessions.away": "homeport_broker_sessions_away",
    "sessions.expired_sessions": "homeport_broker_sessions_expired",
    "sessions.shared_subscriptions": "homeport_broker_shared_subscriptions",
    "plane.received_bytes": "homeport_broker_received_bytes",
    "connections.sent_bytes": "homeport_broker_sent_bytes",
    "connections.delivered_bytes": "homeport_broker_delivered_bytes",
    "sessions.in_flight_messages": "homeport_broker_in_flight_messages",
    "sessions.waiting_messages": "homeport_broker_queued_messages",
    "sessions.waiting_bytes": "homeport_broker_queued_bytes",
    "connections.unsent_bytes": "homeport_broker_unsent_bytes",
    "plane.lagging_subscribers": "homeport_broker_lagging_subscribers",
    "connections.lag_records_most": "homeport_broker_lag_records",
    "retained.messages": "homeport_broker_retained_messages",
    "retained.bytes": "homeport_broker_retained_bytes",
    "plane.log_is_full": "homeport_broker_log_full",
    "process.disk_free_bytes": "homeport_broker_disk_free_bytes",
    "process.disk_total_bytes": "homeport_broker_disk_total_bytes",
    "process.memory_bytes": "homeport_broker_memory_bytes",
    "checkpoint.failed": "homeport_broker_checkpoint_failures",
    "tls.failing": "homeport_broker_tls_failing",
    "log.housekeeping.disk_level": "homeport_log_disk_level",
    "log.housekeeping.disk_used_ratio": "homeport_log_disk_used_ratio",
    "log.housekeeping.ballast_bytes": "homeport_log_ballast_bytes",
    "log.housekeeping.log_bytes": "homeport_log_bytes",
    "log.housekeeping.first_seq": "homeport_log_first_seq",
    "log.housekeeping.dropped_records": "homeport_log_removed_records",
    "log.housekeeping.dropped_unread_records": "homeport_log_dropped_unread_records",
    "log.write_failures_total": "homeport_log_write_failures",
    "log.damaged_ranges": "homeport_log_damaged_ranges",
    "held.clients": "homeport_held_clients",
    "held.refused_messages": "homeport_held_refused_messages",
    "held.dropped_messages": "homeport_held_dropped_messages",
}
"""The broker's statistics that have a metric of their own."""
BROKER_COUNTS: Final = {
    "plane.connections_by_transport": "homeport_broker_connections",
    "listeners.accepted_by_transport": "homeport_broker_accepted",
    "listeners.refused_by_code": "homeport_broker_refused",
    "plane.closed_by_reason": "homeport_broker_closed",
    "plane.closed_by_code": "homeport_broker_closed_with",
    "requests_waiting": "homeport_broker_requests_waiting",
    "pushes": "homeport_broker_pushes",
}
"""Those that are counts by a name, which is the metric's label."""


def fixed_limits() -> dict[str, int | float]:
    """Every limit of appliance/core/limits*.py by its name in lower case."""
    found = {}
    for name, value in (pair for module in FIXED_LIMITS for pair in vars(module).items()):
        if name.isupper() and isinstance(value, int | float) and not name.startswith("_"):
            found[name.lower()] = value
    return found


class NodeCollector:
    """A prometheus-client collector over Services."""

    def __init__(
        self,
        services: Services,
        *,
        log_head: Any | None,
        bridges: Sequence[Bridge] = (),
        replication: ReplicationNow = NOT_ASKED,
        certificates: CertificateCounts | None = None,
        updates: UpdateNumbers | None = None,
        alarms: AlarmCounts | None = None,
        notifications: NotificationStatistics | None = None,
        disk_room_bytes: int = 0,
    ) -> None:
        self._services = services
        self._disk_room_bytes = disk_room_bytes
        self._certificates = certificates
        self._updates = updates
        self._alarms = alarms
        self._notifications = notifications
        self._bridges = bridges
        self._replication = replication
        self._log_head = log_head

    def collect(self) -> Iterator[Metric]:
        services, out = self._services, Collected()
        now_ms = services.clock.now_ms()
        out.add("homeport_info", 1, services.version, services.node_name)
        out.add("homeport_uptime_seconds", max(0, now_ms - services.started_at_ms) / 1000)
        out.add("homeport_tls_certificate_expires_seconds", (services.tls.not_after_ms - now_ms) / 1000)
        for name, value in fixed_limits().items():
            out.add("homeport_limit", value, name)
        presence: dict[str, int] = {}
        for device in services.live.devices().values():
            presence[device.presence] = presence.get(device.presence, 0) + 1
        for word, count in presence.items():
            out.add("homeport_devices", count, word)
        out.add("homeport_message_rate", services.live.message_rate)
        out.add("homeport_broker_connected", services.broker.connected)
        self._pipeline(out)
        add_catalog(out, services.catalog)
        add_device_credentials(out, services.broker)
        add_audit(out, services.audit)
        add_backups(out, services)
        add_clock(out, services)
        add_drills(out, services)
        add_twins(out, services)
        add_artifacts(out, services)
        add_rate_limits(out, services)
        add_exports(out, services)
        add_archive(out, services, self._disk_room_bytes)
        add_certificates(out, services, self._certificates)
        add_delivery(out, services)
        add_updates(out, services)
        add_rollouts(out, self._updates)
        add_alarms(out, services, self._alarms)
        add_watch(out, services)
        add_tracing(out, services)
        add_rules(out, services)
        if (watch := services.pipeline.statistics().watch) is not None:
            for name, value in numbers(watch.watch.anomalies):
                out.add("homeport_statistic", value, "anomalies", name)
        add_notifications(out, self._notifications, now_ms)
        if self._log_head is not None:
            out.add("homeport_log_next_seq", self._log_head.next_seq)
            out.add("homeport_log_epoch", self._log_head.epoch)
        self._broker(out)
        for bridge in self._bridges:
            _add_bridge(out, bridge)
        add_replication(out, self._replication, services.broker.statistics)
        self._scrub(out, now_ms)
        for outcome, count in services.enrolment().items() if services.enrolment is not None else ():
            out.add("homeport_enrolments", count, outcome)
        for name, value in numbers(services.sql.statistics()):
            out.add("homeport_statistic", value, "sql", name)
        if services.replays is not None:
            for name, value in numbers(services.replays()):
                out.add("homeport_statistic", value, "replays", name)
        if services.store is not None:
            for name, value in numbers(services.store()):
                out.add("homeport_statistic", value, "store", name)
        if services.site is not None:
            for name, value in numbers(services.site()):
                out.add("homeport_statistic", value, "site", name)
        for room, statistics in services.rooms.items():
            for name, value in numbers(statistics()):
                out.add("homeport_statistic", value, room, name)
        yield from out.families()

    def _scrub(self, out: Collected, now_ms: int) -> None:
        scrub = self._services.scrub
        found = scrub() if scrub is not None else {}
        ended_at_ms = found.get("last_ended_at_ms")
        age_s = max(0, now_ms - ended_at_ms) / 1000 if ended_at_ms else None
        out.add("homeport_log_scrub_age_seconds", age_s)
        out.add("homeport_log_scrub_pass_bytes", found.get("pass_bytes"))
        out.add("homeport_log_scrub_damaged_ranges", found.get("damaged_ranges"))
        out.add("homeport_log_scrub_failures", found.get("failures_total"))

    def _broker(self, out: Collected) -> None:
        statistics = self._services.broker.statistics
        limits = limits_of_broker(statistics, self._services.config.broker)
        keys = {limit.key for limit in limits}
        for name, value in numbers(statistics):
            group, _, label = name.rpartition(".")
            if name in BROKER_NUMBERS:
                out.add(BROKER_NUMBERS[name], value)
            elif group in BROKER_COUNTS:
                out.add(BROKER_COUNTS[group], value, label)
            elif group == "limits":
                if label not in keys:
                    out.add("homeport_broker_limit_hits", value, label)
            elif group.startswith("requests."):
                out.add("homeport_broker_requests", value, group.partition(".")[2], label)
            elif group != "credentials" and not group.startswith("site."):
                out.add("homeport_statistic", value, "broker", name)
        for limit in limits:
            out.add("homeport_broker_limit", limit.value, limit.key)
            if statistics and limit.hits_total is not None:
                out.add("homeport_broker_limit_hits", limit.hits_total, limit.key)

    def _pipeline(self, out: Collected) -> None:
        statistics = self._services.pipeline.statistics()
        known = dict(numbers(statistics))
        add_freshness(out, self._services, statistics.ingestion_lag)
        out.add("homeport_pipeline_lag_seconds", known.pop("lag_s", None))
        out.add("homeport_pipeline_behind_records", known.pop("behind_records", None))
        out.add("homeport_pipeline_rows", known.pop("rows_total", None))
        out.add("homeport_pipeline_messages", known.pop("messages_total", None))
        out.add("homeport_pipeline_dead_letters", known.pop("dead_letters_total", None))
        out.add("homeport_pipeline_breaker_open", str(statistics.breaker) != "closed")
        known.pop("lag_p95_s", None)
        for name, value in known.items():
            out.add("homeport_statistic", value, "pipeline", name)


def _add_bridge(out: Collected, bridge: Bridge) -> None:
    name = bridge.name
    out.add("homeport_bridge_connected", bridge.state == "connected", name)
    out.add("homeport_bridge_lag_records", bridge.lag_records, name)
    out.add("homeport_bridge_lag_seconds", bridge.lag_ms / 1000, name)
    out.add("homeport_bridge_in_flight_messages", bridge.in_flight, name)
    out.add("homeport_bridge_connects", bridge.connects, name)
    for what in ("sent", "acknowledged", "received"):
        out.add("homeport_bridge_messages", getattr(bridge, f"{what}_messages"), name, what)
    for what in ("sent", "received"):
        out.add("homeport_bridge_bytes", getattr(bridge, f"{what}_bytes"), name, what)
    for why in ("refused", "dropped", "expired", "looped"):
        out.add("homeport_bridge_left_out", getattr(bridge, f"{why}_messages"), name, why)
    out.add("homeport_bridge_left_out", bridge.gone_records, name, "gone")


def numbers(statistics: object, prefix: str = "") -> Iterator[tuple[str, float]]:
    """The numbers within a mapping or a dataclass, with dotted names; anything else in it is passed over."""
    if dataclasses.is_dataclass(statistics) and not isinstance(statistics, type):
        pairs: Any = (
            (field.name, getattr(statistics, field.name)) for field in dataclasses.fields(statistics)
        )
    elif isinstance(statistics, Mapping):
        pairs = statistics.items()
    else:
        return
    for name, value in pairs:
        if isinstance(value, int | float):
            yield f"{prefix}{name}", float(value)
        else:
            yield from numbers(value, f"{prefix}{name}.")


def render(
    services: Services,
    *,
    log_head: Any | None,
    bridges: Sequence[Bridge] = (),
    replication: ReplicationNow = NOT_ASKED,
    certificates: CertificateCounts | None = None,
    updates: UpdateNumbers | None = None,
    alarms: AlarmCounts | None = None,
    notifications: NotificationStatistics | None = None,
    disk_room_bytes: int = 0,
) -> bytes:
    """The exposition text (Prometheus text format 0.0.4)."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(
        NodeCollector(
            services,
            log_head=log_head,
            bridges=bridges,
            replication=replication,
            certificates=certificates,
            updates=updates,
            alarms=alarms,
            notifications=notifications,
            disk_room_bytes=disk_room_bytes,
        )
    )
    return generate_latest(registry)


async def metrics_endpoint(request: Request) -> Response:
    """The metrics, to this machine or somebody who may see the whole site's numbers.

    Raises:
        NotAuthorized: `sign_in_required`; `scope_too_narrow` to whoever is limited to some groups.
    """
    services = services_of(request)
    is_loopback = request.client is not None and request.client.host in LOOPBACK
    if not is_loopback and not is_local(request):
        identity = await require(request)
        check(identity.role, identity.scope, "broker.read")
    head = await _head(services.log_head)
    content = render(
        services,
        log_head=head,
        bridges=await bridges_of(services),
        replication=await replication_of(services),
        certificates=await read_counts(services),
        updates=await read_update_numbers(services),
        alarms=await read_alarm_counts(services),
        notifications=await read_notification_statistics(services),
        disk_room_bytes=await disk_room_bytes(services),
    )
    return Response(content, media_type=None, headers={"content-type": CONTENT_TYPE_LATEST})


async def _head(log_head: Callable[[], Any]) -> Any | None:
    """The log's head, or None where it can't be read: /health/ready says why, and the other numbers still count."""
    try:
        return await trio.to_thread.run_sync(log_head, abandon_on_cancel=True)
    except (OSError, HomeportError):
        return None
