"""What a load run found: one frozen value that turns into JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryReport:
    """What subscribers found. Counts are of the whole run unless they say `measured`.

    Attributes:
        rate: Deliveries per second in the measured time.
        wanted: Deliveries that the messages sent should have made.
        missing: Of these, what did not come. Failures with QoS 1 and 2; with QoS 0 they are only counted.
        duplicate: Deliveries of a message that the subscription had already.
        out_of_order: Behind a newer message of the same publisher ([MQTT-4.6.0-6]).
        unreleased: Deliveries of QoS 2 whose PUBREL never came.
        latency_p50_ms: From when a message was due (without a rate: sent) to when its bytes were read; of every delivery in
            the measured time.
    """

    subscribers: int
    subscribe_to: str
    qos: int
    delivered: int
    measured_delivered: int
    rate: float
    wanted: int
    missing: int
    duplicate: int
    out_of_order: int
    unreleased: int
    latency_count: int
    latency_p50_ms: float
    latency_p95_ms: float
    latency_p99_ms: float
    latency_max_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """Counts are of the whole run unless they say `measured`.

    Attributes:
        rate: Messages acknowledged per second in the measured time; with QoS 0, messages of the whole run per
            second until the broker had answered a PINGREQ behind the last of them.
        acknowledged: PUBACKs (QoS 2: PUBCOMPs) that name a message in flight. With QoS 0: messages before a PINGREQ that was answered.
        missing: Sent and never acknowledged.
        unexpected: Acknowledgements of nothing in flight.
        out_of_order: Acknowledged before an older one of the same connection ([MQTT-4.6.0-2] forbids it).
        refused: Acknowledged with an MQTT 5 reason code of 0x80 or more.
        behind: With a rate: messages that were due and could not be sent for lack of window.
        connect_p50_ms: From connect() to CONNACK, with a subscriber to SUBACK.
        deliveries: None without subscribers.
        generator_cpu_ratio: CPU time of this process in the measured time; near 1.0 the generator is what was measured.
        watched_cpu_ratio: The same of the process `watched_pid`; None without one.
        acknowledged_by_connection: In the order of the connections; only with `tolerate_loss`, to be compared with what
            a killed broker still has.
        per_second: Acknowledgements in each second of the measured time.
        failures: Sentences; empty when everything adds up.
    """

    connections: int
    window: int
    qos: int
    tls: bool
    mqtt_version: int
    payload: str
    packet_bytes: int
    rate_wanted: float | None
    burst: int
    connect_s: float
    connect_p50_ms: float
    connect_p95_ms: float
    connect_p99_ms: float
    connect_max_ms: float
    measured_s: float
    measured_acknowledged: int
    rate: float
    sent: int
    acknowledged: int
    missing: int
    unexpected: int
    out_of_order: int
    refused: int
    behind: int
    connections_lost: int
    latency_sample_count: int
    latency_p50_ms: float
    latency_p95_ms: float
    latency_p99_ms: float
    latency_max_ms: float
    generator_cpu_ratio: float
    watched_cpu_ratio: float | None
    deliveries: DeliveryReport | None
    acknowledged_by_connection: tuple[int, ...]
    per_second: tuple[int, ...]
    failures: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """True when every message was acknowledged once, delivered once to whoever subscribed, and nothing else came."""
        return not self.failures

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for JSON."""
        return {"ok": self.ok, **asdict(self)}
