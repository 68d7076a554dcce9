"""Retained messages: kept, replaced, removed, bounded, expired, and found by a filter while they change."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from broker.delivery import NEVER
from broker.mqtt.topics import matches
from broker.state.retained import CLEARED_COUNT_MAX, STEP_NODE_COUNT, RetainedMessage, RetainedMessages

LEVELS = st.sampled_from(["a", "b", "", "$s", "long-level"])
TOPICS = st.lists(LEVELS, min_size=1, max_size=4).map("/".join).filter(bool)
FILTERS = st.one_of(
    st.just("#"),
    st.lists(st.one_of(LEVELS, st.just("+")), min_size=1, max_size=4).map("/".join).filter(bool),
    st.lists(st.one_of(LEVELS, st.just("+")), min_size=1, max_size=3).map(
        lambda levels: "/".join([*levels, "#"])
    ),
)


def message(
    topic: str, payload: bytes = b"x", *, expires_at_ms: int = NEVER, seq: int = 1
) -> RetainedMessage:
    return RetainedMessage(
        seq=seq,
        client_id="c",
        topic=topic.encode(),
        payload=payload,
        properties=b"",
        qos=1,
        received_at_ms=0,
        expires_at_ms=expires_at_ms,
    )


def table(*topics: str, messages_max: int = 1000, bytes_max: int = 100_000) -> RetainedMessages:
    retained = RetainedMessages(messages_max=messages_max, bytes_max=bytes_max)
    for topic in topics:
        assert retained.keep(message(topic))
    return retained


def found(retained: RetainedMessages, topic_filter: str, now_ms: int = 0) -> list[str]:
    return sorted(m.topic.decode() for m in retained.find(topic_filter, now_ms) if m is not None)


def test_the_last_message_of_a_topic_is_kept() -> None:
    retained = table("a", "a/b")
    assert retained.keep(message("a", b"newer", seq=7))
    assert len(retained) == 2
    kept = retained.get(b"a")
    assert kept is not None
    assert (kept.payload, kept.seq) == (b"newer", 7)
    assert retained.size_bytes == len("a" + "newer" + "a/b" + "x")


def test_what_is_removed_leaves_nothing_behind() -> None:
    retained = table("a/b/c", "a/b", "a/x")
    assert retained.remove(b"a/b/c")
    assert not retained.remove(b"a/b/c")
    assert not retained.remove(b"a")
    assert found(retained, "#") == ["a/b", "a/x"]
    assert retained.remove(b"a/b")
    assert retained.remove(b"a/x")
    assert (len(retained), retained.size_bytes) == (0, 0)
    assert retained._root.children == {}


@given(st.lists(TOPICS, max_size=12), st.lists(TOPICS, max_size=4), FILTERS)
def test_it_finds_what_the_filter_matches(topics: list[str], removed: list[str], topic_filter: str) -> None:
    retained = table(*topics)
    for topic in removed:
        retained.remove(topic.encode())
    left = set(topics) - set(removed)
    assert found(retained, topic_filter) == sorted(t for t in left if matches(topic_filter, t))


class TestBounds:
    def test_messages(self) -> None:
        retained = table("a", "b", messages_max=2)
        assert not retained.keep(message("c"))
        assert retained.keep(message("b", b"again"))
        assert retained.refused_count == 1
        assert found(retained, "#") == ["a", "b"]

    def test_bytes(self) -> None:
        retained = table("a", bytes_max=10)
        assert retained.keep(message("b", b"1234567"))
        assert retained.size_bytes == 10
        assert not retained.keep(message("c", b""))
        assert not retained.keep(message("b", b"12345678"))
        assert retained.get(b"b") is None, "what it replaces is no longer the topic's last message"

    def test_what_has_expired_makes_room(self) -> None:
        retained = RetainedMessages(messages_max=1, bytes_max=100)
        assert retained.keep(message("a", expires_at_ms=10))
        assert not retained.keep(message("b")._replace(received_at_ms=9))
        assert retained.keep(message("b")._replace(received_at_ms=10))
        assert found(retained, "#") == ["b"]


def test_expiry() -> None:
    retained = table("stays")
    retained.keep(message("goes", expires_at_ms=1000))
    assert found(retained, "#", now_ms=999) == ["goes", "stays"]
    assert found(retained, "#", now_ms=1000) == ["stays"]
    assert found(retained, "goes", now_ms=1000) == []
    assert retained.remove_expired(999) == 0
    assert retained.remove_expired(1000) == 1
    assert len(retained) == 1


def test_a_walk_can_pause_and_survives_changes() -> None:
    retained = table(*(f"a/{n}/{m}" for n in range(10) for m in range(10)))
    walk = retained.find("+/+/+", 0)
    first = next(walk)
    assert first is not None
    for kept in retained.messages():
        if kept is not first:
            retained.remove(kept.topic)
    retained.keep(message("b/new/one"))
    rest = [m.topic for m in walk if m is not None]
    assert first.topic not in rest
    assert len(rest) <= 1, "at most what is new"


def test_a_long_walk_without_a_find_pauses() -> None:
    count = 10 * STEP_NODE_COUNT
    retained = table(*(f"a/{n}/x" for n in range(count)), messages_max=count)
    pauses = list(retained.find("a/+/nothing", 0))
    assert set(pauses) == {None}
    assert len(pauses) >= count // STEP_NODE_COUNT


class TestOfTwoNodes:
    """Which message counts where nodes of a site have one each: on all of them the same."""

    def test_the_one_received_later_and_of_one_moment_the_greater_payload(self) -> None:
        retained = table()
        assert retained.is_newer(b"a", 0, b"x")
        retained.keep(message("a", b"m"))  # received at 0
        assert retained.is_newer(b"a", 1, b"a")
        assert retained.is_newer(b"a", 0, b"n")
        assert not retained.is_newer(b"a", 0, b"m")
        assert not retained.is_newer(b"a", -1, b"z")

    def test_what_was_cleared_later_does_not_come_back(self) -> None:
        retained = table("a")
        retained.clear(b"a", 5)
        assert retained.get(b"a") is None
        assert not retained.is_newer(b"a", 5, b"x")
        assert retained.is_newer(b"a", 6, b"x")
        retained.keep(message("a"))
        retained.remove(b"a")
        assert retained.is_newer(b"a", 1, b"x")

    def test_how_many_topics_that_is_known_of(self) -> None:
        retained = table()
        for number in range(CLEARED_COUNT_MAX + 1):
            retained.clear(b"t%d" % number, 5)
        assert retained.is_newer(b"t0", 1, b"x")
        assert not retained.is_newer(b"t1", 1, b"x")
