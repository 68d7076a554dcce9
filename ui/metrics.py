"""/health/metrics: what Prometheus reads, from the statistics() of every room at the moment of asking.

Open without signing in to this machine (loopback and the node's Unix socket); from elsewhere it takes a session. So a
collector runs on the box, or an operator opens the port by a proxy of their own on it.

`METRICS` is the whole list with its help; docs/METRICS.md is tested against it. What rooms count beyond it comes out as
`homeport_statistic{room, name}`, so that a new number can be looked at before it has a name of its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal

import trio
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response

from appliance.core import limits
from appliance.core.errors import HomeportError
from ui.api.bridge_structs import Bridge
from ui.auth import is_local, require, services_of
from ui.bridges import bridges as bridges_of
from ui.broker_numbers import limits as limits_of_broker
from ui.services import Services

LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "::ffff:127.0.0.1"})

BROKER_NUMBERS: Final = {
    "connections.connections_most": "homeport_broker_connections_most",
    "listeners.handshakes": "homeport_broker_handshakes",
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
}
"""Those that are counts by a name, which is the metric's label."""


@dataclasses.dataclass(frozen=True, slots=True)
class Described:
    """A metric's name without `_total`, kind, help and labels."""

    name: str
    kind: Literal["gauge", "counter"]
    help: str
    labels: tuple[str, ...] = ()


METRICS: Final[dict[str, Described]] = {
    metric.name: metric
    for metric in (
        Described("homeport_info", "gauge", "Always 1; the version and the node's name as labels.", ("version", "node")),
        Described("homeport_uptime_seconds", "gauge", "Since the node process started."),
        Described("homeport_limit", "gauge", "A fixed limit of appliance/core/limits.py; its unit is in its name.", ("name",)),
        Described("homeport_devices", "gauge", "Devices and applications that were ever heard of, by presence.", ("presence",)),
        Described("homeport_message_rate", "gauge", "Messages per second that the pipeline sees now."),
        Described("homeport_broker_connected", "gauge", "1 while the control connection to the broker process stands."),
        Described("homeport_ingestion_lag_seconds", "gauge", "From the device's time to the row in the store, 95th percentile of the last five minutes; absent when nothing arrived."),
        Described("homeport_pipeline_lag_seconds", "gauge", "Age of the newest record in the store while records wait; 0 when none do."),
        Described("homeport_pipeline_behind_records", "gauge", "Records of the log that the pipeline has not read yet."),
        Described("homeport_pipeline_rows", "counter", "Rows written to the time-series store."),
        Described("homeport_pipeline_messages", "counter", "Messages that the pipeline has read."),
        Described("homeport_pipeline_dead_letters", "counter", "Messages that could not be turned into readings."),
        Described("homeport_pipeline_breaker_open", "gauge", "1 while writing to the store is suspended (open or half-open)."),
        Described("homeport_log_next_seq", "gauge", "The sequence number that the next record of the telemetry log gets."),
        Described("homeport_log_epoch", "gauge", "The telemetry log's epoch."),
        Described("homeport_catalog_pool_utilization", "gauge", "Share of a pool's connections in use now, 0 to 1; alarm at 0.8.", ("pool",)),
        Described("homeport_catalog_pool_waiting", "gauge", "Requests waiting for a connection of a pool.", ("pool",)),
        Described("homeport_catalog_served", "counter", "Reads or writes that ran.", ("pool",)),
        Described("homeport_catalog_refused", "counter", "Turned away because the queue was full or waiting took too long.", ("pool",)),
        Described("homeport_catalog_timeouts", "counter", "Interrupted because their time was up.", ("pool",)),
        Described("homeport_catalog_leaks", "counter", "Connections that came back within a transaction.", ("pool",)),
        Described("homeport_catalog_busy_seconds", "counter", "Time that connections were in use.", ("pool",)),
        Described("homeport_catalog_changes", "counter", "Replicated rows written."),
        Described("homeport_sign_in_attempts", "counter", "Attempts to sign in or to claim the box."),
        Described("homeport_sign_in_refused", "counter", "Of them refused because there were too many."),
        Described("homeport_tls_certificate_expires_seconds", "gauge", "Until the certificate in use ends."),
        Described("homeport_broker_connections", "gauge", "Clients connected now, by way in.", ("transport",)),
        Described("homeport_broker_tls_failing", "gauge", "1 while the TLS files can't be used and what was loaded before is in force."),
        Described("homeport_broker_accepted", "counter", "Clients accepted, by way in.", ("transport",)),
        Described("homeport_broker_refused", "counter", "Clients refused at the door, by why.", ("code",)),
        Described("homeport_broker_closed", "counter", "Connections closed, by why.", ("reason",)),
        Described("homeport_broker_closed_with", "counter", "Connections closed, by the MQTT 5 reason code.", ("code",)),
        Described("homeport_broker_limit", "gauge", "A limit of the section [broker]; its unit is in its name or in docs/CONFIGURATION.md.", ("key",)),
        Described("homeport_broker_limit_hits", "counter", "How often such a limit, or a fixed one of docs/LIMITS.md, was reached: clients refused, closed, made to wait or fed from the log, messages not kept.", ("key",)),
        Described("homeport_broker_connections_most", "gauge", "Most clients connected at once since the broker started."),
        Described("homeport_broker_handshakes", "gauge", "Connections between accept and CONNACK now."),
        Described("homeport_broker_subscriptions", "gauge", "Subscriptions now."),
        Described("homeport_broker_subscriptions_refused", "counter", "Subscriptions refused because a session had as many as it may."),
        Described("homeport_broker_messages_received", "counter", "PUBLISH packets taken."),
        Described("homeport_broker_messages_acknowledged", "counter", "PUBACKs and PUBRECs sent, each behind its fsync."),
        Described("homeport_broker_messages_delivered", "counter", "PUBLISH packets sent to subscribers."),
        Described("homeport_broker_messages_refused", "counter", "PUBLISH packets to a topic that their sender may not publish to."),
        Described("homeport_broker_messages_oversize", "counter", "Deliveries larger than their subscriber takes."),
        Described("homeport_broker_messages_dropped", "counter", "The oldest of full queues of clients that are away."),
        Described("homeport_broker_messages_expired", "counter", "Deliveries whose message expiry interval passed while they waited."),
        Described("homeport_broker_messages_lost", "counter", "Deliveries that the log no longer had when their turn came."),
        Described("homeport_broker_sessions", "gauge", "Sessions that outlive their connections."),
        Described("homeport_broker_sessions_away", "gauge", "Of them those whose client is not connected."),
        Described("homeport_broker_sessions_expired", "counter", "Sessions that ended because their time was up."),
        Described("homeport_broker_shared_subscriptions", "gauge", "Shared subscriptions, each session counted."),
        Described("homeport_broker_received_bytes", "counter", "Received behind CONNECT, without TLS."),
        Described("homeport_broker_sent_bytes", "counter", "Sent, TLS included."),
        Described("homeport_broker_delivered_bytes", "counter", "PUBLISH packets sent to subscribers, without TLS."),
        Described("homeport_broker_in_flight_messages", "gauge", "Deliveries that wait for their subscriber's answer."),
        Described("homeport_broker_queued_messages", "gauge", "Deliveries that wait for their subscriber, in memory or as places in the log."),
        Described("homeport_broker_queued_bytes", "gauge", "Their bytes."),
        Described("homeport_broker_unsent_bytes", "gauge", "Bytes that sockets have not taken yet."),
        Described("homeport_broker_lagging_subscribers", "gauge", "Subscribers that were too slow for their queue and are fed from the log."),
        Described("homeport_broker_lag_records", "gauge", "How far the slowest of them is behind the log's head."),
        Described("homeport_broker_retained_messages", "gauge", "Retained messages."),
        Described("homeport_broker_retained_bytes", "gauge", "Their topics, payloads and properties."),
        Described("homeport_broker_log_full", "gauge", "1 while nothing is acknowledged because the disk is full."),
        Described("homeport_broker_disk_free_bytes", "gauge", "Free on the disk that holds the log."),
        Described("homeport_broker_disk_total_bytes", "gauge", "Size of that disk."),
        Described("homeport_broker_memory_bytes", "gauge", "Resident memory of the broker process."),
        Described("homeport_broker_checkpoint_failures", "counter", "Times the broker's checkpoint could not be written; the log has everything."),
        Described("homeport_bridge_connected", "gauge", "1 while a bridge to another broker is connected.", ("bridge",)),
        Described("homeport_bridge_lag_records", "gauge", "Records of the log that a bridge has not looked at, or that the other broker has not acknowledged.", ("bridge",)),
        Described("homeport_bridge_lag_seconds", "gauge", "Age of the oldest of them; 0 when there is none.", ("bridge",)),
        Described("homeport_bridge_in_flight_messages", "gauge", "Messages on their way out that are not acknowledged.", ("bridge",)),
        Described("homeport_bridge_connects", "counter", "Times that a bridge has connected.", ("bridge",)),
        Described("homeport_bridge_messages", "counter", "Messages that crossed: sent, acknowledged by the other broker, received and on our disk.", ("bridge", "what")),
        Described("homeport_bridge_bytes", "counter", "Payloads that crossed: sent, received.", ("bridge", "what")),
        Described("homeport_bridge_left_out", "counter", "Messages that did not cross, by why: refused, dropped, expired, looped, gone.", ("bridge", "why")),
        Described("homeport_log_disk_level", "gauge", "How full the log's disk is: 0 ok, 1 low, 2 hold, 3 read_only (OPERATIONS.md)."),
        Described("homeport_log_disk_used_ratio", "gauge", "Used share of the log's disk, 0 to 1, with a ballast that was given up counted as used."),
        Described("homeport_log_ballast_bytes", "gauge", "Reserve that is held now; less than log.ballast_mib while it is given up."),
        Described("homeport_log_bytes", "gauge", "Size of all segments of the telemetry log, as of the last look."),
        Described("homeport_log_first_seq", "gauge", "The oldest record that is kept, as of the last look."),
        Described("homeport_log_removed_records", "counter", "Records removed by a rule since the log began."),
        Described("homeport_log_dropped_unread_records", "counter", "Of them those that somebody had still to read: the quota."),
        Described("homeport_log_write_failures", "counter", "Writes and fsyncs that failed, after which a new segment was begun."),
        Described("homeport_log_damaged_ranges", "gauge", "Ranges of the log that recovery or sealing found damaged."),
        Described("homeport_log_scrub_age_seconds", "gauge", "Since the last time that the whole log was read and verified; absent before the first."),
        Described("homeport_log_scrub_pass_bytes", "gauge", "What the running pass has read."),
        Described("homeport_log_scrub_damaged_ranges", "gauge", "Damaged ranges that the running or the last pass found."),
        Described("homeport_log_scrub_failures", "counter", "Times that scrubbing could not go on, and was tried again."),
        Described("homeport_held_clients", "gauge", "Clients that are not read because the disk is too full for what they publish."),
        Described("homeport_held_refused_messages", "counter", "Publishes answered with quota exceeded (MQTT 5)."),
        Described("homeport_held_dropped_messages", "counter", "Publishes of QoS 0 that were dropped because the disk is too full."),
        Described("homeport_statistic", "gauge", "Any other number of a room's statistics().", ("room", "name")),
    )
}  # fmt: skip


def fixed_limits() -> dict[str, int | float]:
    """Every limit of appliance/core/limits.py by its name in lower case."""
    found = {}
    for name, value in vars(limits).items():
        if name.isupper() and isinstance(value, int | float) and not name.startswith("_"):
            found[name.lower()] = value
    return found


class Collected:
    """Gathers metric families, each declared in METRICS."""

    def __init__(self) -> None:
        self._families: dict[str, Metric] = {}

    def add(self, name: str, value: float | None, *labels: str) -> None:
        """Add a sample; None (not known now) adds nothing."""
        described = METRICS[name]
        family = self._families.get(name)
        if family is None:
            kind = CounterMetricFamily if described.kind == "counter" else GaugeMetricFamily
            family = self._families[name] = kind(name, described.help, labels=described.labels)
        if value is not None:
            assert isinstance(family, CounterMetricFamily | GaugeMetricFamily)
            family.add_metric(labels, float(value))

    def families(self) -> Iterator[Metric]:
        yield from self._families.values()


class NodeCollector:
    """A prometheus-client collector over Services."""

    def __init__(self, services: Services, *, log_head: Any | None, bridges: Sequence[Bridge] = ()) -> None:
        self._services = services
        self._bridges = bridges
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
        self._catalog(out)
        sign_in = services.sign_in_limiter.statistics()
        out.add("homeport_sign_in_attempts", sign_in.attempts_total)
        out.add("homeport_sign_in_refused", sign_in.refused_total)
        if self._log_head is not None:
            out.add("homeport_log_next_seq", self._log_head.next_seq)
            out.add("homeport_log_epoch", self._log_head.epoch)
        self._broker(out)
        for bridge in self._bridges:
            _add_bridge(out, bridge)
        self._scrub(out, now_ms)
        if services.store is not None:
            for name, value in numbers(services.store()):
                out.add("homeport_statistic", value, "store", name)
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
            else:
                out.add("homeport_statistic", value, "broker", name)
        for limit in limits:
            out.add("homeport_broker_limit", limit.value, limit.key)
            if statistics and limit.hits_total is not None:
                out.add("homeport_broker_limit_hits", limit.hits_total, limit.key)

    def _pipeline(self, out: Collected) -> None:
        statistics = self._services.pipeline.statistics()
        known = dict(numbers(statistics))
        out.add("homeport_ingestion_lag_seconds", statistics.lag_p95_s)
        out.add("homeport_pipeline_lag_seconds", known.pop("lag_s", None))
        out.add("homeport_pipeline_behind_records", known.pop("behind_records", None))
        out.add("homeport_pipeline_rows", known.pop("rows_total", None))
        out.add("homeport_pipeline_messages", known.pop("messages_total", None))
        out.add("homeport_pipeline_dead_letters", known.pop("dead_letters_total", None))
        out.add("homeport_pipeline_breaker_open", str(statistics.breaker) != "closed")
        known.pop("lag_p95_s", None)
        for name, value in known.items():
            out.add("homeport_statistic", value, "pipeline", name)

    def _catalog(self, out: Collected) -> None:
        statistics = self._services.catalog.statistics()
        for pool in (statistics.writer, *statistics.pools.values()):
            out.add("homeport_catalog_pool_utilization", pool.utilization_ratio, pool.name)
            out.add("homeport_catalog_pool_waiting", pool.waiting, pool.name)
            out.add("homeport_catalog_served", pool.served_total, pool.name)
            out.add("homeport_catalog_refused", pool.refused_total, pool.name)
            out.add("homeport_catalog_timeouts", pool.timeouts_total, pool.name)
            out.add("homeport_catalog_leaks", pool.leaks_total, pool.name)
            out.add("homeport_catalog_busy_seconds", pool.busy_ms_total / 1000, pool.name)
        out.add("homeport_catalog_changes", statistics.changes_total)


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


def render(services: Services, *, log_head: Any | None, bridges: Sequence[Bridge] = ()) -> bytes:
    """The exposition text (Prometheus text format 0.0.4)."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(NodeCollector(services, log_head=log_head, bridges=bridges))
    return generate_latest(registry)


async def metrics_endpoint(request: Request) -> Response:
    """The metrics, to this machine or a session."""
    services = services_of(request)
    is_loopback = request.client is not None and request.client.host in LOOPBACK
    if not is_loopback and not is_local(request):
        await require(request)
    head = await _head(services.log_head)
    content = render(services, log_head=head, bridges=await bridges_of(services))
    return Response(content, media_type=None, headers={"content-type": CONTENT_TYPE_LATEST})


async def _head(log_head: Callable[[], Any]) -> Any | None:
    """The log's head, or None where it can't be read: /health/ready says why, and the other numbers still count."""
    try:
        return await trio.to_thread.run_sync(log_head, abandon_on_cancel=True)
    except (OSError, HomeportError):
        return None
