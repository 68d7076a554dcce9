"""The PUBLISH packets of one publisher, encoded before the run: sending is cutting a slice, stamped where it has marks."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from struct import Struct
from typing import Final, Protocol

from device_fw_sim.load import wire
from device_fw_sim.load.payloads import stamp

MARK: Final = Struct(">IIQ")
"""What a marked payload begins with: number of the publisher, number of its message, time due (monotonic, ns)."""


class Ring(Protocol):
    """Packets with identifiers 1..count, one after the other, all of one size."""

    count: int
    packet_bytes: int

    def take(self, number: int, count: int, due_ns: int, step_ns: float) -> bytes:
        """Packets to send.

        Args:
            number: Of the first message, counted from 0 through the run.
            count: 1..`self.count`.
            due_ns: When the first was due, monotonic; 0 for now.
            step_ns: From one to the next.
        """
        ...


class PlainRing:
    """Packets that are sent as they are, doubled so that any run of them is one slice."""

    def __init__(self, topic: str, payloads: Sequence[bytes], qos: int, version: int) -> None:
        packets, self.packet_bytes = wire.publish_ring(topic, payloads, qos, version)
        self.count = len(payloads)
        self._packets = packets * 2

    def take(self, number: int, count: int, due_ns: int, step_ns: float) -> bytes:
        """See `Ring`; times are nowhere in the packets."""
        start = number % self.count * self.packet_bytes
        return self._packets[start : start + count * self.packet_bytes]


class StampedRing:
    """Telemetry: wall time and sequence number are put in by two replacements over the whole slice."""

    def __init__(self, topic: str, payloads: Sequence[bytes], qos: int, version: int) -> None:
        self._packets, self.packet_bytes = wire.publish_ring(topic, payloads, qos, version)
        self.count = len(payloads)

    def take(self, number: int, count: int, due_ns: int, step_ns: float) -> bytes:
        """See `Ring`; what is put in is the wall time of sending."""
        turn, position = divmod(number, self.count)
        size, now_ms = self.packet_bytes, time.time_ns() // 1_000_000
        first = min(count, self.count - position)
        data = stamp(self._packets[position * size : (position + first) * size], now_ms, turn)
        if first < count:
            data += stamp(self._packets[: (count - first) * size], now_ms, turn + 1)
        return data


class MarkedRing:
    """Payloads that say whose, which and how old they are, so that a subscriber can account for each.

    Args:
        publisher: Number of the publisher, the first field of `MARK`.
        padding: Behind the mark, the same in every packet of a run.
    """

    def __init__(
        self, topic: str, count: int, qos: int, version: int, *, publisher: int, padding: bytes
    ) -> None:
        payload = MARK.pack(publisher, 0, 0) + padding
        packets, self.packet_bytes = wire.publish_ring(topic, [payload] * count, qos, version)
        self.count = count
        self._packets = bytearray(packets)
        self._publisher = publisher
        self._mark_at = self.packet_bytes - len(payload)

    def take(self, number: int, count: int, due_ns: int, step_ns: float) -> bytes:
        """See `Ring`."""
        size, packets, pack_into = self.packet_bytes, self._packets, MARK.pack_into
        first_ns = due_ns or time.perf_counter_ns()
        step = int(step_ns) if due_ns else 0
        start = position = number % self.count
        for index in range(count):
            pack_into(
                packets,
                position * size + self._mark_at,
                self._publisher,
                number + index,
                first_ns + index * step,
            )
            position += 1
            if position == self.count:
                position = 0
        if start + count <= self.count:
            return bytes(packets[start * size : (start + count) * size])
        return bytes(packets[start * size :] + packets[: position * size])


def padding(payload_bytes: int, seed: int) -> bytes:
    """What fills marked payloads up to a size; as hard to compress as a reading is."""
    source = random.Random(seed)
    return bytes(source.choices(b"0123456789abcdef", k=payload_bytes - MARK.size))
