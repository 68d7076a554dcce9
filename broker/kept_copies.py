"""Which messages with RETAIN may be copies that another broker has kept, said long before they arrive: pure.

A broker sends its retained messages to whoever subscribes (MQTT 5.0 §3.3.1.3, §3.8.4; MQTT 3.1.1 §3.3.1.3). Whoever passes them on,
a bridge or an application, publishes them with RETAIN like everything else, and nothing in the packet tells a copy of last year
from a message of now. What tells is the order: on one connection only the first message of a topic can be the copy, and what
follows at once with the same payload (one for each subscription that matches; mosquitto 2.0 sends all of them twice). What is
published on the topic later was said since.

A device that publishes its own readings with RETAIN keeps no copies: it is not asked. Must not know sockets and the log.
"""

from __future__ import annotations

from appliance.core.limits import KEPT_COPY_REPEAT_MS, KEPT_COPY_TOPIC_COUNT_MAX


class KeptCopies:
    """What one connection has sent with RETAIN. Topics beyond the bound count as copies each time: that errs on the safe side."""

    __slots__ = ("_first", "_topic_count_max")

    def __init__(self, topic_count_max: int = KEPT_COPY_TOPIC_COUNT_MAX) -> None:
        # Topic → (payload, when) of its first message; None once something else was said. Both by their hashes: a topic may
        # have 64 KiB, and two of one hash would only take a copy for a message.
        self._first: dict[int, tuple[int, int] | None] = {}
        self._topic_count_max = topic_count_max

    def may_be_copy(self, topic: bytes, payload: bytes, now_mono_ms: int) -> bool:
        """Take note of a message with RETAIN; whether it may be a copy."""
        key, what = hash(topic), hash(payload)
        if key not in self._first:
            if len(self._first) < self._topic_count_max:
                self._first[key] = what, now_mono_ms
            return True
        first = self._first[key]
        if first is not None and first[0] == what and now_mono_ms - first[1] <= KEPT_COPY_REPEAT_MS:
            return True
        self._first[key] = None
        return False

    def __len__(self) -> int:
        return len(self._first)
