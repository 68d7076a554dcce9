"""What comes to one subscriber: every delivery is checked, timed and acknowledged, nearly all in one short loop. Sans-IO.

The bytes in front of a payload are known beforehand for each publisher, and so is what stands behind its mark; so a packet is
checked by two comparisons in C and one `unpack`. Anything that doesn't compare equal (a DUP flag, a property, another
packet, a mistake) is parsed.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from struct import error as struct_error
from typing import Final

from device_fw_sim.load import wire
from device_fw_sim.load.ledger import DeliveryLedger
from device_fw_sim.load.ring import MARK

PUBLISH_TYPE: Final = 0x30
DUP_FLAG: Final = 0x08
RETAIN_FLAG: Final = 0x01


@dataclass(frozen=True, slots=True)
class Expected:
    """What deliveries look like.

    Attributes:
        topics: By publisher, the topic it publishes to; all of one length.
        padding: What stands behind the mark in each payload.
        qos: Of the deliveries: the lower of publisher's and subscription's.
        version: 4 or 5.
    """

    topics: Mapping[int, bytes]
    padding: bytes
    qos: int
    version: int


@dataclass(slots=True)
class Tally:
    """What all subscribers of a run count together.

    Attributes:
        by_publisher: Deliveries of its messages, over all subscribers.
        waited_for: Publishers with deliveries since this was last cleared: they may have room again.
        ages_ns: From due to delivered, one for each delivery, until somebody folds them into a histogram.
    """

    by_publisher: list[int]
    waited_for: set[int]
    ages_ns: array[int]
    total: int = 0


class Deliveries:
    """See the module's docstring.

    Args:
        ledger: Of this subscription; the same one for all members of a shared subscription.
        tally: Of the run.
    """

    __slots__ = (
        "_answers",
        "_expected",
        "_heads",
        "_last_of",
        "_ledger",
        "_mark_at",
        "_rest",
        "_size",
        "_tally",
        "_unreleased",
        "out_of_order",
        "ping_responses",
        "problem",
        "subscribed_code",
    )

    def __init__(self, expected: Expected, ledger: DeliveryLedger, tally: Tally) -> None:
        self.problem: str | None = None
        self.out_of_order = 0
        """Of a shared subscription: delivered to this member behind a newer one of the same publisher."""
        self.ping_responses = 0
        self.subscribed_code: int | None = None
        """Of SUBACK, once it has come."""
        self._expected = expected
        self._ledger = ledger
        self._tally = tally
        self._last_of: dict[int, int] | None = {} if ledger.is_shared else None
        self._answers: list[bytes] = []
        self._unreleased: set[bytes] = set()
        self._rest = b""
        id_bytes = 2 if expected.qos else 0
        behind_topic = id_bytes + (expected.version == 5)
        self._heads = {}
        for publisher, topic in expected.topics.items():
            length = 2 + len(topic) + behind_topic + MARK.size + len(expected.padding)
            head = bytes((PUBLISH_TYPE | expected.qos << 1,)) + wire.remaining_length(length)
            self._heads[publisher] = head + len(topic).to_bytes(2, "big") + topic
        head_bytes = len(next(iter(self._heads.values())))
        self._mark_at = head_bytes + behind_topic
        self._size = self._mark_at + MARK.size + len(expected.padding)

    def receive_bytes(self, data: bytes, now_ns: int) -> bytes:
        """Account for bytes from the broker.

        Args:
            data: As received, cut anywhere.
            now_ns: Monotonic time.
        Returns:
            What is to be answered: PUBACK, PUBREC, PUBCOMP.
        """
        buffer = self._rest + data if self._rest else data
        position, end = 0, len(buffer)
        size, mark_at, heads = self._size, self._mark_at, self._heads
        qos, padding = self._expected.qos, self._expected.padding
        padding_at, has_properties = mark_at + MARK.size, self._expected.version == 5
        starts_with, unpack = buffer.startswith, MARK.unpack_from
        id_at = mark_at - has_properties - 2
        while self.problem is None and position < end:
            if position + size <= end:
                publisher, number, due_ns = unpack(buffer, position + mark_at)
                if (
                    publisher in heads
                    and starts_with(heads[publisher], position)
                    and starts_with(padding, position + padding_at)
                    and not (has_properties and buffer[position + mark_at - 1])
                ):
                    packet_id = buffer[position + id_at : position + id_at + 2] if qos else b""
                    self._accept(publisher, number, due_ns, now_ns, packet_id)
                    position += size
                    continue
            following = self._parse(buffer, position, now_ns)
            if following is None:
                break
            position = following
        self._rest = buffer[position:]
        if not self._answers:
            return b""
        answers = b"".join(self._answers)
        self._answers.clear()
        return answers

    def _accept(self, publisher: int, number: int, due_ns: int, now_ns: int, packet_id: bytes) -> None:
        qos = self._expected.qos
        if qos == 1:
            self._answers.append(wire.PUBACK_SHORT + packet_id)
        elif qos == 2:
            self._answers.append(wire.PUBREC_SHORT + packet_id)
            self._unreleased.add(packet_id)
        ledger, tally = self._ledger, self._tally
        if ledger.next_of[publisher] == number:
            ledger.next_of[publisher] = number + 1
            ledger.delivered += 1
        elif not ledger.accept(publisher, number):
            return
        if self._last_of is not None:
            if self._last_of.get(publisher, -1) > number:
                self.out_of_order += 1
            self._last_of[publisher] = number
        tally.total += 1
        tally.by_publisher[publisher] += 1
        tally.waited_for.add(publisher)
        tally.ages_ns.append(max(now_ns - due_ns, 0))

    def _parse(self, buffer: bytes, position: int, now_ns: int) -> int | None:
        """Handle one packet of any kind; the position behind it, or None when it isn't whole yet or is a problem."""
        try:
            bounds = wire.split_packet(buffer, position)
        except ValueError as error:
            self.problem = f"the broker sent a malformed packet: {error}"
            return None
        if bounds is None:
            return None
        first_byte, start, end = bounds
        body = buffer[start:end]
        if first_byte & 0xF0 == PUBLISH_TYPE:
            self._publish(first_byte, body, now_ns)
        elif first_byte == wire.PUBREL_TYPE and len(body) >= 2:
            # A PUBREL that comes again is answered again (MQTT 5.0 §4.3.3).
            self._unreleased.discard(body[:2])
            self._answers.append(wire.PUBCOMP_SHORT + body[:2])
        elif first_byte == wire.PINGRESP_TYPE:
            self.ping_responses += 1
        elif first_byte == wire.SUBACK_TYPE and len(body) >= 3 and self.subscribed_code is None:
            self.subscribed_code = wire.suback_code(body)
        else:
            self.problem = wire.unasked(first_byte, body)
        return end if self.problem is None else None

    def _publish(self, first_byte: int, body: bytes, now_ns: int) -> None:
        expected = self._expected
        position = 2 + int.from_bytes(body[:2], "big")
        topic, packet_id = body[2:position], b""
        if expected.qos:
            packet_id = body[position : position + 2]
            position += 2
        try:
            if expected.version == 5:
                position = wire.behind_properties(body, position)
            publisher, number, due_ns = MARK.unpack_from(body, position)
        except (ValueError, struct_error):
            self.problem = f"the broker delivered a PUBLISH that can't be read: {body[:64].hex()}"
            return
        if first_byte & ~(DUP_FLAG | RETAIN_FLAG) != PUBLISH_TYPE | expected.qos << 1:
            self.problem = f"a delivery has the first byte 0x{first_byte:02x} with QoS {expected.qos} agreed"
        elif expected.topics.get(publisher) != topic or body[position + MARK.size :] != expected.padding:
            self.problem = f"a delivery was never published so: {topic[:64]!r}, publisher {publisher}"
        else:
            self._accept(publisher, number, due_ns, now_ns, packet_id)

    @property
    def unreleased_count(self) -> int:
        """Deliveries of QoS 2 whose PUBREL has not come yet."""
        return len(self._unreleased)
