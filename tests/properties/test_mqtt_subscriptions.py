"""The subscription tree against a plain list of filters and `matches()`, through any history of changes.

`matches()` itself is shown against the specification's examples in tests/unit/test_broker_mqtt_topics.py.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from broker.mqtt.subscriptions import SubscriptionTree
from broker.mqtt.topics import matches
from tests.sampling import examples

LEVELS = st.sampled_from(["a", "b", "", "$SYS", "$x"])
TOPICS = st.builds("/".join, st.lists(LEVELS, min_size=1, max_size=4)).filter(bool)
FILTERS = st.builds(
    lambda levels, tail: "/".join(levels + tail),
    st.lists(LEVELS | st.just("+"), min_size=0, max_size=4),
    st.sampled_from([[], ["#"]]),
).filter(bool)
KEYS = st.integers(0, 4)


class Subscriptions(RuleBasedStateMachine):
    """A cache this small turns over all the time, so its every path is taken."""

    def __init__(self) -> None:
        super().__init__()
        self.tree: SubscriptionTree[int] = SubscriptionTree(cache_weight_max=20)
        self.model: dict[tuple[str, int], int] = {}

    @rule(topic_filter=FILTERS, key=KEYS, value=st.integers(0, 2))
    def add(self, topic_filter: str, key: int, value: int) -> None:
        assert self.tree.add(topic_filter, key, value) is ((topic_filter, key) not in self.model)
        self.model[topic_filter, key] = value

    @rule(topic_filter=FILTERS, key=KEYS)
    def remove(self, topic_filter: str, key: int) -> None:
        assert self.tree.remove(topic_filter, key) is (self.model.pop((topic_filter, key), None) is not None)

    @rule(key=KEYS)
    def remove_all(self, key: int) -> None:
        gone = [each for each in self.model if each[1] == key]
        assert self.tree.remove_all(key) == len(gone)
        for each in gone:
            del self.model[each]

    @rule(topics=st.lists(TOPICS, min_size=1, max_size=5))
    def match(self, topics: list[str]) -> None:
        for topic in topics:
            expected = sorted(
                (key, value)
                for (topic_filter, key), value in self.model.items()
                if matches(topic_filter, topic)
            )
            assert sorted(self.tree.match(topic)) == expected

    @invariant()
    def counts(self) -> None:
        statistics = self.tree.statistics()
        assert statistics.subscription_count == len(self.model)
        assert statistics.key_count == len({key for _, key in self.model})
        assert statistics.cache_entry_count <= 10
        prefixes = {
            tuple(levels[:depth])
            for levels in (
                (f.removesuffix("/#") if f != "#" else "").split("/") for f, _ in self.model if f != "#"
            )
            for depth in range(1, len(levels) + 1)
        }
        assert statistics.node_count == 1 + len(prefixes)

    def teardown(self) -> None:
        for key in range(5):
            self.tree.remove_all(key)
        assert self.tree.statistics().node_count == 1


Subscriptions.TestCase.settings = settings(max_examples=examples(100), stateful_step_count=40)
TestSubscriptions = Subscriptions.TestCase
