"""Retained messages: the last message of each topic that a publisher asked to be kept, for subscribers to come.

A table by topic and a tree by level, so that a subscription looks only at topics below its literal levels. Walking the
tree can be interrupted at any step and survives every change in between: messages kept or removed meanwhile are found or
not, and nothing else happens.

Source: MQTT 5.0 §3.3.1.3 (RETAIN), §3.3.2.3.3 (message expiry); MQTT 3.1.1 §3.3.1.3.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from ..delivery import NEVER

if TYPE_CHECKING:
    from ..router import Grant

CLEARED_COUNT_MAX: Final = 4096
"""Topics of which it is remembered when their message was cleared: about 0.5 MB."""
STEP_NODE_COUNT: Final = 64
"""Nodes looked at between two results of `find` at most."""


class RetainedMessage(NamedTuple):
    """A message as it was published.

    Attributes:
        seq: Of its log record.
        client_id: Of who published it.
        properties: MQTT 5 property bytes, message expiry interval included.
        qos: The publisher's.
        received_at_ms: Wall time.
        expires_at_ms: Wall time after which it is gone; NEVER if it said no message expiry interval.
    """

    seq: int
    client_id: str
    topic: bytes
    payload: bytes
    properties: bytes
    qos: int
    received_at_ms: int
    expires_at_ms: int

    @property
    def size_bytes(self) -> int:
        """What counts against the bound."""
        return len(self.topic) + len(self.payload) + len(self.properties)


class RetainedWalk(NamedTuple):
    """What a subscription still gets of the retained messages.

    Attributes:
        before_seq: Messages of later records come to it anyhow.
        found: The rest of `RetainedMessages.find`.
    """

    grant: Grant
    before_seq: int
    found: Iterator[RetainedMessage | None]


@dataclass(slots=True)
class _Node:
    children: dict[bytes, _Node] = field(default_factory=dict)
    message: RetainedMessage | None = None


class RetainedMessages:
    """See the module's docstring.

    Args:
        messages_max, bytes_max: Bounds; bytes are of topics, payloads and properties.
    """

    def __init__(self, *, messages_max: int, bytes_max: int) -> None:
        self._messages_max = messages_max
        self._bytes_max = bytes_max
        self._root = _Node()
        self._by_topic: dict[bytes, RetainedMessage] = {}
        self._cleared: OrderedDict[bytes, int] = OrderedDict()
        self.size_bytes = 0
        self.refused_count = 0
        """Messages that were not kept because there was no room."""

    def __len__(self) -> int:
        return len(self._by_topic)

    def get(self, topic: bytes) -> RetainedMessage | None:
        return self._by_topic.get(topic)

    def messages(self) -> list[RetainedMessage]:
        """All of them, as they are now."""
        return list(self._by_topic.values())

    def keep(self, message: RetainedMessage) -> bool:
        """Keep a message in the place of its topic's.

        Returns:
            False if there is no room: then the one before is gone, too, since it is no longer the topic's last.
        """
        self.remove(message.topic)
        self._cleared.pop(message.topic, None)
        if not self._has_room(message):
            self.remove_expired(message.received_at_ms)
            if not self._has_room(message):
                self.refused_count += 1
                return False
        node = self._root
        for level in message.topic.split(b"/"):
            found = node.children.get(level)
            if found is None:
                found = node.children[level] = _Node()
            node = found
        node.message = message
        self._by_topic[message.topic] = message
        self.size_bytes += message.size_bytes
        return True

    def clear(self, topic: bytes, at_ms: int) -> None:
        """Forget a topic's message because somebody said so; an older one that another node brings does not come back.

        Remembered for the CLEARED_COUNT_MAX topics cleared last, until the broker ends.
        """
        self.remove(topic)
        self._cleared[topic] = at_ms
        self._cleared.move_to_end(topic)
        if len(self._cleared) > CLEARED_COUNT_MAX:
            self._cleared.popitem(last=False)

    def is_newer(self, topic: bytes, at_ms: int, payload: bytes) -> bool:
        """Whether a message of another node, received there at `at_ms`, is the topic's last one.

        Of two received in the same millisecond the one with the greater payload is, so that all nodes agree.
        """
        kept = self._by_topic.get(topic)
        if kept is not None:
            return (at_ms, payload) > (kept.received_at_ms, kept.payload)
        return at_ms > self._cleared.get(topic, -1)

    def remove(self, topic: bytes) -> bool:
        """Forget a topic's message; False if there was none."""
        message = self._by_topic.pop(topic, None)
        if message is None:
            return False
        self.size_bytes -= message.size_bytes
        path = [(b"", self._root)]
        for level in topic.split(b"/"):
            path.append((level, path[-1][1].children[level]))
        path[-1][1].message = None
        for (_, parent), (level, node) in zip(path[-2::-1], path[:0:-1], strict=True):
            if node.children or node.message is not None:
                break
            del parent.children[level]
        return True

    def remove_expired(self, now_ms: int) -> int:
        """Forget what has expired; returns how many."""
        expired = [m.topic for m in self._by_topic.values() if NEVER < m.expires_at_ms <= now_ms]
        for topic in expired:
            self.remove(topic)
        return len(expired)

    def find(self, topic_filter: str, now_ms: int) -> Iterator[RetainedMessage | None]:
        """The messages that a filter matches, in no order.

        Yields:
            A message, or None after STEP_NODE_COUNT nodes without one, for whoever wants to pause.
        """
        wanted = topic_filter.encode().split(b"/")
        stack = [(self._root, 0)]
        looked_at = 0
        while stack:
            node, depth = stack.pop()
            looked_at += 1
            is_end = depth == len(wanted)
            level = b"" if is_end else wanted[depth]
            message = node.message if is_end or level == b"#" else None
            if message is not None and not NEVER < message.expires_at_ms <= now_ms:
                looked_at = 0
                yield message
            if looked_at >= STEP_NODE_COUNT:
                looked_at = 0
                yield None
            if is_end:
                continue
            if level not in (b"#", b"+"):
                child = node.children.get(level)
                if child is not None:
                    stack.append((child, depth + 1))
                continue
            after = depth if level == b"#" else depth + 1
            # A wildcard in the first level leaves out topics that begin with $ (MQTT 5.0 §4.7.2).
            stack += [
                (child, after)
                for name, child in reversed(node.children.items())
                if node is not self._root or not name.startswith(b"$")
            ]

    def _has_room(self, message: RetainedMessage) -> bool:
        return (
            len(self._by_topic) < self._messages_max
            and self.size_bytes + message.size_bytes <= self._bytes_max
        )
