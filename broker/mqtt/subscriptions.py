"""Which subscribers a topic reaches: a tree of topic levels, with a bounded cache of answers.

Each node holds the subscribers whose filter ends there (`here`) and those whose filter goes on with `#`
(`below`); `+` is a child like any other. Matching walks the levels of the topic with the set of nodes that are
still possible, so its cost follows the branches that match, not the number of subscriptions.

Answers are cached by topic, since devices publish to the same topics again and again. The cache has two
generations: when the young one is full it becomes the old one and that is dropped, which keeps what is used
and costs nothing per hit. Its size is bounded by weight, since one answer may hold ten thousand subscribers.
A change of a filter with wildcards empties the cache; one without drops only its own topic.

Source: MQTT 5.0 §4.7; the tree knows nothing of QoS, sessions or shared groups (a group is a subscriber).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from appliance.core.errors import UsageError
from appliance.core.limits import MATCH_CACHE_WEIGHT_MAX
from broker.mqtt.topics import SHARE_PREFIX

T = TypeVar("T")
Key: TypeAlias = Any
"""Anything hashable: what callers put in comes back to them as it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionTreeStatistics:
    """Counts since the tree was made; `cache_hit_count` / `match_count` is the share answered from the cache."""

    subscription_count: int
    key_count: int
    node_count: int
    match_count: int
    cache_hit_count: int
    cache_entry_count: int
    cache_clear_count: int


class _Node(Generic[T]):
    __slots__ = ("below", "children", "here")

    def __init__(self) -> None:
        self.children: dict[str, _Node[T]] = {}
        self.here: dict[Key, tuple[Key, T]] = {}
        self.below: dict[Key, tuple[Key, T]] = {}

    @property
    def is_empty(self) -> bool:
        return not (self.children or self.here or self.below)


class SubscriptionTree(Generic[T]):
    """Filters of many subscribers.

    A key (a session, a shared group) has at most one value per filter; adding again replaces it
    [MQTT-3.8.4-3]. A topic that several filters of one key match yields that key once per filter.
    """

    def __init__(self, *, cache_weight_max: int = MATCH_CACHE_WEIGHT_MAX) -> None:
        self._root: _Node[T] = _Node()
        self._filters_of: dict[Key, set[str]] = {}
        self._young: dict[str, tuple[tuple[Key, T], ...]] = {}
        self._old: dict[str, tuple[tuple[Key, T], ...]] = {}
        self._young_weight = 0
        self._cache_weight_max = cache_weight_max
        self._subscription_count = 0
        self._node_count = 1
        self._match_count = 0
        self._cache_hit_count = 0
        self._cache_clear_count = 0

    def add(self, topic_filter: str, key: Key, value: T) -> bool:
        """Subscribe `key`.

        Args:
            topic_filter: A valid filter; of a shared subscription the part behind its name, with the group as key.
        Returns:
            True for a new subscription, False where one was replaced.
        Raises:
            UsageError: a `$share/…` filter that was not taken apart.
        """
        if topic_filter.startswith(SHARE_PREFIX):
            raise UsageError(
                f"{topic_filter!r} is a shared subscription, not a filter.",
                hint="Take it apart with parse_shared and add its filter with the group as key.",
            )
        node = self._root
        levels = topic_filter.split("/")
        is_below = levels[-1] == "#"
        for level in levels[:-1] if is_below else levels:
            child = node.children.get(level)
            if child is None:
                child = node.children[level] = _Node()
                self._node_count += 1
            node = child
        subscribers = node.below if is_below else node.here
        before = subscribers.get(key)
        if before is not None and before[1] == value:
            return False
        subscribers[key] = (key, value)
        if before is None:
            self._subscription_count += 1
            self._filters_of.setdefault(key, set()).add(topic_filter)
        self._forget(topic_filter)
        return before is None

    def remove(self, topic_filter: str, key: Key) -> bool:
        """Unsubscribe `key`; False where it had no such subscription."""
        filters = self._filters_of.get(key)
        if filters is None or topic_filter not in filters:
            return False
        filters.remove(topic_filter)
        if not filters:
            del self._filters_of[key]
        self._cut(topic_filter, key)
        return True

    def remove_all(self, key: Key) -> int:
        """Unsubscribe `key` from everything; returns how many subscriptions that were."""
        filters = self._filters_of.pop(key, set())
        for topic_filter in filters:
            self._cut(topic_filter, key)
        return len(filters)

    def filters_of(self, key: Key) -> frozenset[str]:
        """The filters that `key` is subscribed to."""
        return frozenset(self._filters_of.get(key, ()))

    def match(self, topic: str) -> tuple[tuple[Key, T], ...]:
        """Who gets a message on this topic: (key, value) of each matching subscription, in no order."""
        self._match_count += 1
        found = self._young.get(topic)
        if found is not None:
            self._cache_hit_count += 1
            return found
        found = self._old.pop(topic, None)
        if found is None:
            found = self._walk(topic)
        else:
            self._cache_hit_count += 1
        self._remember(topic, found)
        return found

    def match_once(self, topic: str) -> tuple[tuple[Key, T], ...]:
        """The same for a topic that hardly comes again: it takes no other's place among the answers that are remembered."""
        return self._walk(topic)

    def statistics(self) -> SubscriptionTreeStatistics:
        return SubscriptionTreeStatistics(
            subscription_count=self._subscription_count,
            key_count=len(self._filters_of),
            node_count=self._node_count,
            match_count=self._match_count,
            cache_hit_count=self._cache_hit_count,
            cache_entry_count=len(self._young) + len(self._old),
            cache_clear_count=self._cache_clear_count,
        )

    def _walk(self, topic: str) -> tuple[tuple[Key, T], ...]:
        found: list[tuple[Key, T]] = []
        nodes = [self._root]
        # A filter that begins with a wildcard doesn't see topics that begin with $ [MQTT-4.7.2-1].
        is_wild = not topic.startswith("$")
        for level in topic.split("/"):
            following = []
            for node in nodes:
                if is_wild:
                    found += node.below.values()
                    child = node.children.get("+")
                    if child is not None:
                        following.append(child)
                child = node.children.get(level)
                if child is not None:
                    following.append(child)
            if not following:
                return tuple(found)
            nodes = following
            is_wild = True
        for node in nodes:
            found += node.here.values()
            found += node.below.values()
        return tuple(found)

    def _cut(self, topic_filter: str, key: Key) -> None:
        path: list[tuple[_Node[T], str]] = []
        node = self._root
        levels = topic_filter.split("/")
        is_below = levels[-1] == "#"
        for level in levels[:-1] if is_below else levels:
            path.append((node, level))
            node = node.children[level]
        del (node.below if is_below else node.here)[key]
        self._subscription_count -= 1
        while path and node.is_empty:
            node, level = path.pop()
            del node.children[level]
            self._node_count -= 1
        self._forget(topic_filter)

    def _forget(self, topic_filter: str) -> None:
        if "+" not in topic_filter and "#" not in topic_filter:
            self._young.pop(topic_filter, None)
            self._old.pop(topic_filter, None)
        elif self._young or self._old:
            self._young, self._old, self._young_weight = {}, {}, 0
            self._cache_clear_count += 1

    def _remember(self, topic: str, found: tuple[tuple[Key, T], ...]) -> None:
        # In units of 64 bytes: dictionary entry, string and tuple headers 256, then text and pointers.
        weight = 4 + len(topic) // 16 + len(found) // 8
        if self._young_weight + weight > self._cache_weight_max:
            self._old, self._young, self._young_weight = self._young, {}, 0
            if weight > self._cache_weight_max:
                return
        self._young[topic] = found
        self._young_weight += weight
