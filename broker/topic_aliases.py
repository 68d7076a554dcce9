"""The topic aliases that a client is told: numbers for topics, on one connection (MQTT 5.0 §3.3.2.3.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .delivery import Delivery, Recipe

TOPIC_ALIAS_COUNT_MAX: Final = 64
"""Topics that a client is told an alias for, whatever it allows: at most 64 × 512 bytes remembered."""
ALIASED_TOPIC_BYTES_MIN: Final = 4
"""A shorter topic is no longer than its alias."""
ALIASED_TOPIC_BYTES_MAX: Final = 512


class OutgoingAliases:
    """The first topics of a connection get an alias each, and keep it.

    Args:
        count_max: What the client allows.
    """

    __slots__ = ("_count_max", "_numbers")

    def __init__(self, count_max: int) -> None:
        self._count_max = min(count_max, TOPIC_ALIAS_COUNT_MAX)
        self._numbers: dict[bytes, int] = {}

    def packet(self, delivery: Delivery, recipe: Recipe, packet_id: int, bytes_max: int | None) -> bytes:
        """The PUBLISH, with an alias where the topic has one or can have one.

        Args:
            bytes_max: A larger packet will not be sent, so the client doesn't learn its alias; None = any will.
        """
        topic = delivery.topic
        number = self._numbers.get(topic)
        if number is not None:
            return delivery.aliased(recipe, packet_id, number, is_known=True)
        is_worth_it = ALIASED_TOPIC_BYTES_MIN <= len(topic) <= ALIASED_TOPIC_BYTES_MAX
        if not is_worth_it or len(self._numbers) >= self._count_max:
            return delivery.packet(recipe, packet_id, has_properties=True)
        number = len(self._numbers) + 1
        packet = delivery.aliased(recipe, packet_id, number, is_known=False)
        if bytes_max is None or len(packet) <= bytes_max:
            self._numbers[topic] = number
        return packet
