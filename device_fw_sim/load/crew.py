"""Everybody of a load run: its publishers and its subscribers, made from the options before anything is sent."""

from __future__ import annotations

import time
from array import array
from collections.abc import Sequence
from functools import cache, partial

from device_fw_sim import limits
from device_fw_sim.errors import OptionsError
from device_fw_sim.load import payloads, wire
from device_fw_sim.load.deliveries import Deliveries, Expected, Tally
from device_fw_sim.load.histogram import LatencyHistogram
from device_fw_sim.load.ledger import DeliveryLedger
from device_fw_sim.load.options import LoadOptions
from device_fw_sim.load.publisher import Publisher
from device_fw_sim.load.ring import MarkedRing, PlainRing, Ring, StampedRing, padding
from device_fw_sim.load.subscriber import Subscriber

_UNBOUNDED = 1 << 62
_TELEMETRY_BYTES = 160


class Crew:
    """See the module's docstring.

    Args:
        latencies: Where publishers put the time to an acknowledgement.
    Raises:
        OptionsError: The rings take too much memory.
    """

    def __init__(self, options: LoadOptions, latencies: LatencyHistogram) -> None:
        size = _TELEMETRY_BYTES if options.payload == "telemetry" else options.payload_bytes
        if options.connections * options.ring_count * (size + 40) * 2 > limits.RING_BYTES_MAX:
            raise OptionsError(
                "The messages of this run take more than 1 GiB of memory.",
                hint="Choose a smaller window or payload.",
            )
        self._options = options
        self.tally = Tally([0] * options.connections, set(), array("Q"))
        self.ledgers: list[DeliveryLedger] = []
        self._padding = padding(options.payload_bytes, options.seed) if options.payload == "marked" else b""
        self._boot = f"load{time.time_ns() // 1_000_000:x}"
        self.publishers = self._make_publishers(latencies)
        self.subscribers = self._make_subscribers()

    def _make_publishers(self, latencies: LatencyHistogram) -> list[Publisher]:
        options = self._options
        rings = cache(partial(wire.ack_ring, options.ring_count))
        sent_max = _UNBOUNDED if options.messages_max is None else options.messages_max // options.connections
        return [
            Publisher(
                index,
                ring=self._ring(index),
                window=options.window,
                sent_max=sent_max,
                qos=options.qos,
                version=options.mqtt_version,
                greeting=self._greeting(options.client_id(index), index),
                rings=rings,
                latencies=latencies,
                receivers=options.receivers_of_each,
                delivered=self.tally.by_publisher,
            )
            for index in range(options.connections)
        ]

    def _ring(self, index: int) -> Ring:
        options = self._options
        topic, count, seed = options.topic_of(index), options.ring_count, options.seed + index
        qos, version = options.qos, options.mqtt_version
        if options.payload == "marked":
            return MarkedRing(topic, count, qos, version, publisher=index, padding=self._padding)
        if options.payload == "telemetry":
            bodies = payloads.telemetry_payloads(count, self._boot, seed)
            return StampedRing(topic, bodies, qos, version)
        return PlainRing(topic, payloads.json_payloads(count, options.payload_bytes, seed), qos, version)

    def _make_subscribers(self) -> list[Subscriber]:
        options = self._options
        everything = range(options.connections)
        topics = {index: options.topic_of(index).encode() for index in everything}
        common = self._expected(everything, topics) if options.subscribe_to != "own" else None
        shared = DeliveryLedger(everything, is_shared=True)
        subscribers = []
        for index in range(options.subscribers):
            wanted: Sequence[int] = everything if common is not None else (index % options.connections,)
            if options.subscribe_to == "shared":
                ledger = shared
            else:
                ledger = DeliveryLedger(wanted, is_shared=False)
                self.ledgers.append(ledger)
            expected = common or self._expected(wanted, topics)
            subscribers.append(
                Subscriber(
                    index,
                    topic_filter=options.filter_of(index),
                    qos=options.granted_qos,
                    version=options.mqtt_version,
                    greeting=self._greeting(f"{options.client_id_prefix}-sub-{index}", index),
                    deliveries=Deliveries(expected, ledger, self.tally),
                )
            )
        if options.subscribers and options.subscribe_to == "shared":
            self.ledgers.append(shared)
        return subscribers

    @property
    def packet_bytes(self) -> int:
        """Size of the last publisher's packets."""
        return self.publishers[-1].packet_bytes

    def is_owed(self) -> bool:
        """Whether deliveries, or the ends of exchanges with QoS 2, are still to come."""
        if not self.subscribers:
            return False
        owed = sum(each.acks.sent for each in self.publishers) * self._options.receivers_of_each
        return self.tally.total < owed or any(each.deliveries.unreleased_count for each in self.subscribers)

    def _expected(self, publishers: Sequence[int], topics: dict[int, bytes]) -> Expected:
        options = self._options
        return Expected(
            {index: topics[index] for index in publishers},
            self._padding,
            min(options.qos, options.granted_qos),
            options.mqtt_version,
        )

    def _greeting(self, client_id: str, index: int) -> bytes:
        credential = self._options.credential(index)
        return wire.connect(
            client_id,
            credential.username if credential else None,
            credential.password if credential else None,
            self._options.mqtt_version,
            self._options.keep_alive_s,
        )
