"""Acknowledgements of one connection: every one is accounted for, nearly all of them by one comparison. Sans-IO.

Messages are numbered 0, 1, 2 … as they are sent; message n has packet id n mod R + 1. A broker acknowledges in the order
in which it received ([MQTT-4.6.0-2]), so the bytes that must come next are a known slice of a ring. What doesn't compare
equal (another packet among them, a reason code, a mistake) is parsed packet by packet and the position found again.
"""

from __future__ import annotations

from collections.abc import Callable

from device_fw_sim.load import wire

AckRings = Callable[[tuple[bytes, bytes]], bytes]
"""From an acknowledgement's form to its doubled ring; shared by the connections, made once for each form."""

_SHORT = (wire.PUBACK_SHORT, b"")


class AckTracker:
    """What was sent, what was acknowledged, and everything that should not have come.

    Args:
        ring_count: R, the number of packet ids in use; at least the window.
        rings: Gives the bytes to compare with.
    """

    __slots__ = (
        "_early",
        "_expected",
        "_form",
        "_partial",
        "_rest",
        "_ring_bytes",
        "_rings",
        "_size",
        "acknowledged",
        "out_of_order",
        "ping_responses",
        "problem",
        "refused",
        "ring_count",
        "sent",
        "unexpected",
    )

    def __init__(self, ring_count: int, rings: AckRings) -> None:
        self.ring_count = ring_count
        self.sent = 0
        self.acknowledged = 0
        self.unexpected = 0
        self.out_of_order = 0
        self.refused = 0
        self.ping_responses = 0
        self.problem: str | None = None
        self._rings = rings
        self._early: set[int] = set()
        self._partial = 0
        self._rest = b""
        self._use_form(_SHORT)

    def receive_bytes(self, data: bytes) -> int:
        """Account for bytes from the broker.

        Args:
            data: As received, cut anywhere.
        Returns:
            Messages that count as acknowledged now and did not before (without gaps).
        """
        before = self.acknowledged
        if not self._rest and not self._early:
            position = before * self._size % self._ring_bytes + self._partial
            if self._expected.startswith(data, position):
                total = self._partial + len(data)
                acknowledged = before + total // self._size
                if acknowledged <= self.sent:
                    self.acknowledged = acknowledged
                    self._partial = total % self._size
                    return acknowledged - before
        self._parse(data)
        return self.acknowledged - before

    def _parse(self, data: bytes) -> None:
        if self._partial:
            start = self.acknowledged * self._size % self._ring_bytes
            self._rest = self._expected[start : start + self._partial]
            self._partial = 0
        buffer = self._rest + data
        position = 0
        while (bounds := self._split(buffer, position)) is not None:
            first_byte, body_start, end = bounds
            self._packet(first_byte, buffer[body_start:end], buffer[position:body_start])
            position = end
        self._rest = buffer[position:]
        start = self.acknowledged * self._size % self._ring_bytes
        if len(self._rest) < self._size and self._expected.startswith(self._rest, start):
            self._partial, self._rest = len(self._rest), b""

    def _split(self, buffer: bytes, position: int) -> tuple[int, int, int] | None:
        if self.problem is not None:
            return None
        try:
            return wire.split_packet(buffer, position)
        except ValueError as error:
            self.problem = f"the broker sent a malformed packet: {error}"
            return None

    def _packet(self, first_byte: int, body: bytes, head: bytes) -> None:
        if first_byte == wire.PUBACK_TYPE and len(body) >= 2:
            if len(body) > 2 and body[2] >= 0x80:
                self.refused += 1
            self._puback(int.from_bytes(body[:2], "big"))
            if (head, body[2:]) != self._form:
                self._use_form((head, body[2:]))
        elif first_byte == wire.PINGRESP_TYPE:
            self.ping_responses += 1
        else:
            self.problem = wire.unasked(first_byte, body)

    def _puback(self, packet_id: int) -> None:
        # The number of the oldest message not before `acknowledged` that carries this packet id.
        number = self.acknowledged + (packet_id - 1 - self.acknowledged) % self.ring_count
        if not 1 <= packet_id <= self.ring_count or number >= self.sent or number in self._early:
            self.unexpected += 1
            return
        if number != self.acknowledged:
            self.out_of_order += 1
            self._early.add(number)
            return
        self.acknowledged += 1
        while self.acknowledged in self._early:
            self._early.remove(self.acknowledged)
            self.acknowledged += 1

    def _use_form(self, form: tuple[bytes, bytes]) -> None:
        self._form = form
        self._expected = self._rings(form)
        self._size = len(form[0]) + 2 + len(form[1])
        self._ring_bytes = self.ring_count * self._size

    @property
    def acknowledged_total(self) -> int:
        """Acknowledged, those before an older one included."""
        return self.acknowledged + len(self._early)
