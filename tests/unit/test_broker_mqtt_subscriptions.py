"""The subscription tree: who is reached, what is pruned, when the cache is right."""

from __future__ import annotations

import pytest

from appliance.core.errors import UsageError
from broker.mqtt.subscriptions import SubscriptionTree


def found(tree: SubscriptionTree[int], topic: str) -> list[tuple[str, int]]:
    return sorted(tree.match(topic))


def test_match_gives_key_and_value_per_subscription() -> None:
    tree: SubscriptionTree[int] = SubscriptionTree()
    assert tree.add("a/+", "one", 1)
    assert tree.add("a/#", "one", 2)
    assert tree.add("a/b", "two", 0)
    assert tree.add("#", "three", 0)
    assert found(tree, "a/b") == [("one", 1), ("one", 2), ("three", 0), ("two", 0)]
    assert found(tree, "a") == [("one", 2), ("three", 0)]
    assert found(tree, "x") == [("three", 0)]


def test_topics_with_dollar_are_apart() -> None:
    tree: SubscriptionTree[int] = SubscriptionTree()
    for at, topic_filter in enumerate(["#", "+/x", "$SYS/#", "$SYS/+", "$SYS/x"]):
        tree.add(topic_filter, topic_filter, at)
    assert [key for key, _ in found(tree, "$SYS/x")] == ["$SYS/#", "$SYS/+", "$SYS/x"]
    assert [key for key, _ in found(tree, "$SYS")] == ["$SYS/#"]
    assert [key for key, _ in found(tree, "a/x")] == ["#", "+/x"]


def test_adding_again_replaces() -> None:
    """[MQTT-3.8.4-3]."""
    tree: SubscriptionTree[int] = SubscriptionTree()
    assert tree.add("a", "k", 0)
    assert found(tree, "a") == [("k", 0)]
    assert not tree.add("a", "k", 1)
    assert found(tree, "a") == [("k", 1)]
    hits = tree.statistics().cache_hit_count
    assert not tree.add("a", "k", 1)
    assert found(tree, "a") == [("k", 1)]
    assert tree.statistics().cache_hit_count == hits + 1
    assert tree.statistics().subscription_count == 1


def test_remove_prunes_the_tree() -> None:
    tree: SubscriptionTree[int] = SubscriptionTree()
    empty = tree.statistics()
    tree.add("a/b/c", "k", 0)
    tree.add("a/b", "k", 0)
    tree.add("a/b/#", "m", 0)
    tree.add("#", "m", 0)
    assert tree.remove("a/b/c", "k")
    assert not tree.remove("a/b/c", "k")
    assert not tree.remove("a/b", "m")
    assert not tree.remove("a/b", "nobody")
    assert found(tree, "a/b") == [("k", 0), ("m", 0), ("m", 0)]
    assert tree.filters_of("m") == {"a/b/#", "#"}
    assert tree.remove_all("m") == 2
    assert tree.remove_all("m") == 0
    assert tree.remove("a/b", "k")
    left = tree.statistics()
    assert (
        (left.subscription_count, left.key_count, left.node_count)
        == (0, 0, 1)
        == (
            empty.subscription_count,
            empty.key_count,
            empty.node_count,
        )
    )
    assert tree.match("a/b") == ()


def test_shared_subscriptions_are_taken_apart_first() -> None:
    tree: SubscriptionTree[int] = SubscriptionTree()
    with pytest.raises(UsageError, match="shared subscription") as caught:
        tree.add("$share/g/a", "k", 0)
    assert "parse_shared" in caught.value.hint
    assert tree.statistics().subscription_count == 0


def test_cache_forgets_only_what_changed() -> None:
    tree: SubscriptionTree[int] = SubscriptionTree()
    tree.add("a", "k", 0)
    tree.match("a")
    tree.match("b")
    assert tree.statistics().cache_entry_count == 2
    tree.add("a", "l", 0)
    assert tree.statistics().cache_entry_count == 1
    assert found(tree, "a") == [("k", 0), ("l", 0)]
    tree.add("+", "m", 0)
    statistics = tree.statistics()
    assert (statistics.cache_entry_count, statistics.cache_clear_count) == (0, 1)
    assert found(tree, "b") == [("m", 0)]
    tree.remove("+", "m")
    assert found(tree, "b") == []


def test_cache_is_bounded_and_keeps_what_is_used() -> None:
    tree: SubscriptionTree[int] = SubscriptionTree(cache_weight_max=40)
    tree.add("often", "k", 0)
    for at in range(100):
        tree.match("often")
        tree.match(f"seldom/{at}")
    statistics = tree.statistics()
    assert statistics.match_count == 200
    assert statistics.cache_entry_count <= 20
    assert statistics.cache_hit_count == 99


def test_cache_does_not_take_an_answer_larger_than_itself() -> None:
    tree: SubscriptionTree[int] = SubscriptionTree(cache_weight_max=5)
    for at in range(100):
        tree.add("a", at, at)
    assert len(tree.match("a")) == 100
    assert tree.statistics().cache_entry_count == 0
    assert len(tree.match("a")) == 100


def test_what_is_asked_once_is_not_remembered() -> None:
    tree: SubscriptionTree[int] = SubscriptionTree()
    tree.add("a/+", "one", 1)
    assert tree.match_once("a/b") == tree.match("a/b") == (("one", 1),)
    assert tree.match_once("a/c") == (("one", 1),)
    assert tree.statistics().cache_entry_count == 1
