"""From what a run counted to its report."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

from device_fw_sim.load.crew import Crew
from device_fw_sim.load.deliveries import Tally
from device_fw_sim.load.histogram import LatencyHistogram
from device_fw_sim.load.options import LoadOptions
from device_fw_sim.load.report import DeliveryReport, LoadReport

_FAILURE_COUNT_MAX = 10


@dataclass(slots=True, kw_only=True)
class Measurements:
    """Figures that a run gathers on its way.

    Attributes:
        measured: Acknowledgements in `measured_s`; with QoS 0 messages of the whole run.
        measured_delivered: Deliveries in `delivered_s`.
    """

    latencies: LatencyHistogram = field(default_factory=LatencyHistogram)
    connect_latencies: LatencyHistogram = field(default_factory=LatencyHistogram)
    delivery_latencies: LatencyHistogram = field(default_factory=LatencyHistogram)
    connect_s: float = 0.0
    measured_s: float = 0.0
    measured: int = 0
    delivered_s: float = 0.0
    measured_delivered: int = 0
    cpu_ratio: float = 0.0
    watched_cpu_ratio: float = 0.0
    per_second: list[int] = field(default_factory=list)
    _is_over: bool = False

    def begin_deliveries(self, tally: Tally) -> None:
        """The warm-up is over: forget how old its deliveries were."""
        self.delivery_latencies = LatencyHistogram()
        tally.ages_ns = array("Q")

    def fold(self, tally: Tally) -> None:
        """Move ages into the histogram; those of the drain are not measured."""
        if not self._is_over:
            self.delivery_latencies.add_all_ns(tally.ages_ns)
        tally.ages_ns = array("Q")

    def end_deliveries(self, tally: Tally) -> None:
        """The measured time is over."""
        self.fold(tally)
        self._is_over = True


def summarize(options: LoadOptions, crew: Crew, found: Measurements) -> LoadReport:
    """Sum up what publishers and subscribers counted."""
    acks = [publisher.acks for publisher in crew.publishers]
    sent = sum(each.sent for each in acks)
    acknowledged = sum(each.acknowledged_total for each in acks)
    unexpected = sum(each.unexpected for each in acks)
    out_of_order = sum(each.out_of_order for each in acks)
    refused = sum(each.refused for each in acks)
    problems = [each.problem for each in (*crew.publishers, *crew.subscribers) if each.problem]
    deliveries = _deliveries(options, crew, found) if crew.subscribers else None
    counts = [
        (sent - acknowledged, "sent and not acknowledged"),
        (unexpected, "acknowledgements of nothing in flight"),
        (out_of_order, "acknowledgements out of order"),
        (refused, "messages refused by reason code"),
    ]
    if deliveries is not None:
        counts += [
            (deliveries.missing if deliveries.qos else 0, "deliveries missing"),
            (deliveries.duplicate, "deliveries more than once"),
            (deliveries.out_of_order, "deliveries out of order"),
            (deliveries.unreleased, "deliveries without their PUBREL"),
        ]
    failures = [*problems[:_FAILURE_COUNT_MAX], *(f"{count} {what}" for count, what in counts if count)]
    latencies, connects = found.latencies, found.connect_latencies
    return LoadReport(
        connections=options.connections,
        window=min(publisher.window for publisher in crew.publishers),
        qos=options.qos,
        tls=options.tls,
        mqtt_version=options.mqtt_version,
        payload=options.payload,
        packet_bytes=crew.packet_bytes,
        rate_wanted=options.rate,
        burst=options.burst,
        connect_s=round(found.connect_s, 3),
        connect_p50_ms=connects.percentile_ms(50),
        connect_p95_ms=connects.percentile_ms(95),
        connect_p99_ms=connects.percentile_ms(99),
        connect_max_ms=connects.percentile_ms(100),
        measured_s=round(found.measured_s, 3),
        measured_acknowledged=found.measured,
        rate=round(found.measured / found.measured_s, 1),
        sent=sent,
        acknowledged=acknowledged,
        missing=sent - acknowledged,
        unexpected=unexpected,
        out_of_order=out_of_order,
        refused=refused,
        behind=sum(publisher.backlog for publisher in crew.publishers),
        connections_lost=len(problems),
        latency_sample_count=latencies.count,
        latency_p50_ms=latencies.percentile_ms(50),
        latency_p95_ms=latencies.percentile_ms(95),
        latency_p99_ms=latencies.percentile_ms(99),
        latency_max_ms=latencies.percentile_ms(100),
        generator_cpu_ratio=round(found.cpu_ratio, 3),
        watched_cpu_ratio=None if options.watched_pid is None else round(found.watched_cpu_ratio, 3),
        deliveries=deliveries,
        acknowledged_by_connection=(
            tuple(each.acknowledged_total for each in acks) if options.tolerate_loss else ()
        ),
        per_second=tuple(found.per_second),
        failures=tuple(failures),
    )


def _deliveries(options: LoadOptions, crew: Crew, found: Measurements) -> DeliveryReport:
    sent_of = [publisher.acks.sent for publisher in crew.publishers]
    latencies = found.delivery_latencies
    return DeliveryReport(
        subscribers=options.subscribers,
        subscribe_to=options.subscribe_to,
        qos=min(options.qos, options.granted_qos),
        delivered=crew.tally.total,
        measured_delivered=found.measured_delivered,
        rate=round(found.measured_delivered / found.delivered_s, 1),
        wanted=sum(sent_of) * options.receivers_of_each,
        missing=sum(ledger.missing(sent_of) for ledger in crew.ledgers),
        duplicate=sum(ledger.duplicate for ledger in crew.ledgers),
        out_of_order=sum(ledger.late for ledger in crew.ledgers)
        + sum(each.deliveries.out_of_order for each in crew.subscribers),
        unreleased=sum(each.deliveries.unreleased_count for each in crew.subscribers),
        latency_count=latencies.count,
        latency_p50_ms=latencies.percentile_ms(50),
        latency_p95_ms=latencies.percentile_ms(95),
        latency_p99_ms=latencies.percentile_ms(99),
        latency_max_ms=latencies.percentile_ms(100),
    )
