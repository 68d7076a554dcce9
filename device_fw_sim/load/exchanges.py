"""Exchanges of QoS 2 of one publisher: PUBREC, PUBREL, PUBCOMP, each accounted for. Sans-IO.

Messages are numbered as in acks.py. A PUBREC comes in the order of the PUBLISHes ([MQTT-4.6.0-3]); a PUBCOMP answers a
PUBREL that was sent, in any order. A message counts as acknowledged with its PUBCOMP.
"""

from __future__ import annotations

from device_fw_sim.load import wire


class ExchangeTracker:
    """The same as `AckTracker` for QoS 2; what is to be answered is in `take_answers`.

    Args:
        ring_count: R, the number of packet ids in use; at least the window.
    """

    __slots__ = (
        "_answers",
        "_early",
        "_received",
        "_released",
        "_rest",
        "acknowledged",
        "out_of_order",
        "ping_responses",
        "problem",
        "refused",
        "ring_count",
        "sent",
        "unexpected",
    )

    def __init__(self, ring_count: int) -> None:
        self.ring_count = ring_count
        self.sent = 0
        self.acknowledged = 0
        self.unexpected = 0
        self.out_of_order = 0
        self.refused = 0
        self.ping_responses = 0
        self.problem: str | None = None
        self._answers = bytearray()
        self._early: set[int] = set()
        self._received = 0
        self._released: set[int] = set()
        self._rest = b""

    def receive_bytes(self, data: bytes) -> int:
        """Account for bytes from the broker, cut anywhere; the number of messages that are done now (without gaps)."""
        before = self.acknowledged
        buffer = self._rest + data if self._rest else data
        position = 0
        while self.problem is None:
            try:
                bounds = wire.split_packet(buffer, position)
            except ValueError as error:
                self.problem = f"the broker sent a malformed packet: {error}"
                break
            if bounds is None:
                break
            first_byte, start, end = bounds
            self._packet(first_byte, buffer[start:end])
            position = end
        self._rest = buffer[position:]
        return self.acknowledged - before

    def take_answers(self) -> bytes:
        """PUBRELs to send now."""
        answers = bytes(self._answers)
        self._answers.clear()
        return answers

    def _packet(self, first_byte: int, body: bytes) -> None:
        is_refused = len(body) > 2 and body[2] >= 0x80
        if first_byte == wire.PUBREC_TYPE and len(body) >= 2:
            self._pubrec(body[:2], is_refused=is_refused)
        elif first_byte == wire.PUBCOMP_TYPE and len(body) >= 2:
            self.refused += is_refused
            self._pubcomp(int.from_bytes(body[:2], "big"))
        elif first_byte == wire.PINGRESP_TYPE:
            self.ping_responses += 1
        else:
            self.problem = wire.unasked(first_byte, body)

    def _pubrec(self, packet_id: bytes, *, is_refused: bool) -> None:
        number = self._number(int.from_bytes(packet_id, "big"), self._received)
        if number is None:
            self.unexpected += 1
            return
        if number != self._received:
            self.out_of_order += 1
        self._received = number + 1
        if is_refused:
            self.refused += 1
            self._done(number)
            return
        self._released.add(number)
        self._answers += wire.PUBREL_SHORT + packet_id

    def _pubcomp(self, packet_id: int) -> None:
        number = self._number(packet_id, self.acknowledged)
        if number is None or number not in self._released:
            self.unexpected += 1
            return
        self._released.remove(number)
        self._done(number)

    def _number(self, packet_id: int, oldest: int) -> int | None:
        """The number of the message in flight, not before `oldest`, that carries a packet id."""
        number = oldest + (packet_id - 1 - oldest) % self.ring_count
        return number if 1 <= packet_id <= self.ring_count and number < self.sent else None

    def _done(self, number: int) -> None:
        self._early.add(number)
        while self.acknowledged in self._early:
            self._early.remove(self.acknowledged)
            self.acknowledged += 1

    @property
    def acknowledged_total(self) -> int:
        """Done, those before an older one included."""
        return self.acknowledged + len(self._early)
