"""A connection that publishes: slices of its ring, as many as its window allows, and a tracker of what comes back."""

from __future__ import annotations

import time

from device_fw_sim.load.acks import AckRings, AckTracker
from device_fw_sim.load.connection import LoadConnection, Stage
from device_fw_sim.load.exchanges import ExchangeTracker
from device_fw_sim.load.histogram import LatencyHistogram
from device_fw_sim.load.ring import Ring


class Publisher(LoadConnection):
    """See the module's docstring.

    Args:
        ring: Its packets.
        window: Messages in flight: not acknowledged, or with `receivers` not delivered.
        sent_max: `refill` stops after so many messages.
        qos: Of the packets; with 0 nothing is waited for but room in the socket, and deliveries.
        acks: Bytes of the acknowledgements.
        latencies: Where samples of the time to the acknowledgement go.
        receivers: Subscribers that get each message, 0 when nobody counts deliveries.
        delivered: Deliveries by publisher; this one's are at `index`.
    """

    __slots__ = (
        "_delivered",
        "_latencies",
        "_receivers",
        "_ring",
        "_sample_ns",
        "_sample_number",
        "acks",
        "backlog",
        "due_ns",
        "due_step_ns",
        "qos",
        "sent_max",
        "window",
    )

    def __init__(
        self,
        index: int,
        *,
        ring: Ring,
        window: int,
        sent_max: int,
        qos: int,
        version: int,
        greeting: bytes,
        rings: AckRings,
        latencies: LatencyHistogram,
        receivers: int = 0,
        delivered: list[int] | None = None,
    ) -> None:
        super().__init__(index, name="connection", version=version, greeting=greeting)
        self.window = window
        self.qos = qos
        self.acks = ExchangeTracker(ring.count) if qos == 2 else AckTracker(ring.count, rings)
        self.backlog = 0
        self.due_ns = 0
        self.due_step_ns = 0.0
        self.sent_max = sent_max
        self._ring = ring
        self._latencies = latencies
        self._receivers = receivers
        self._delivered = delivered if delivered is not None else []
        self._sample_ns = 0
        self._sample_number = 0

    def _accepted(self) -> None:
        if self.receive_maximum is not None:
            self.window = min(self.window, self.receive_maximum)
        self.stage = Stage.RUNNING

    def on_readable(self) -> int:
        """Read and account for acknowledgements; the number of new ones."""
        data = self.receive()
        if not data:
            return 0
        acks = self.acks
        count = acks.receive_bytes(data)
        if acks.problem is not None:
            self.lose(acks.problem)
        elif isinstance(acks, ExchangeTracker) and (answers := acks.take_answers()):
            self.write(answers)
        if self._sample_ns and acks.acknowledged > self._sample_number:
            self._latencies.add_ns(time.perf_counter_ns() - self._sample_ns)
            self._sample_ns = 0
        return count

    def room(self) -> int:
        """Messages that may be sent now."""
        if self._out:
            return 0
        acks = self.acks
        room = self.window - (acks.sent - acks.acknowledged) if self.qos else self.window
        if self._receivers:
            undelivered = acks.sent - self._delivered[self.index] // self._receivers
            room = max(min(room, self.window - undelivered), 0)
        return room

    def refill(self) -> int:
        """Fill the window when at least a quarter of it is free; the number of messages sent.

        A quarter at a time makes one send for many acknowledgements and never leaves the pipe empty.
        """
        room = self.room()
        if not room or room * 4 < self.window or self.stage is not Stage.RUNNING:
            return 0
        room = min(room, self.sent_max - self.acks.sent)
        if room > 0:
            self.publish(room)
        return max(room, 0)

    def publish(self, count: int) -> None:
        """Send the next messages of the ring.

        Args:
            count: 1..room().
        """
        acks = self.acks
        number = acks.sent
        data = self._ring.take(number, count, self.due_ns, self.due_step_ns)
        # Each burst of a window, but with tiny windows not each message: two clock readings cost a tenth of a round trip.
        if self.qos and not self._sample_ns and (number & 7 == 0 or self.window > 8):
            self._sample_ns = self.due_ns or time.perf_counter_ns()
            self._sample_number = number
        acks.sent = number + count
        self.write(data)

    @property
    def packet_bytes(self) -> int:
        """Size of each of its packets."""
        return self._ring.packet_bytes

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is in flight."""
        return self.room() == self.window

    @property
    def waits_for_room(self) -> bool:
        """Whether nothing but room in the socket keeps it from sending more: QoS 0 without subscribers that count."""
        return self.qos == 0 and not self._receivers
