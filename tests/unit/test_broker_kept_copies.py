"""Which messages with RETAIN may be copies."""

from __future__ import annotations

from appliance.core.limits import KEPT_COPY_REPEAT_MS
from broker.kept_copies import KeptCopies


def test_the_first_of_a_topic_may_be_one() -> None:
    kept = KeptCopies()
    assert [kept.may_be_copy(topic, b"1", 0) for topic in (b"a", b"b")] == [True, True]
    assert [kept.may_be_copy(topic, b"2", 0) for topic in (b"a", b"b")] == [False, False]
    assert len(kept) == 2


def test_the_same_at_once_is_the_same_copy() -> None:
    kept = KeptCopies()
    assert kept.may_be_copy(b"a", b"1", 1_000)
    assert kept.may_be_copy(b"a", b"1", 1_000 + KEPT_COPY_REPEAT_MS)
    assert not kept.may_be_copy(b"a", b"1", 1_001 + KEPT_COPY_REPEAT_MS), "said again since"
    assert not kept.may_be_copy(b"a", b"1", 1_002 + KEPT_COPY_REPEAT_MS)


def test_once_something_else_was_said_it_is_alive() -> None:
    kept = KeptCopies()
    assert [kept.may_be_copy(b"a", payload, 0) for payload in (b"1", b"2", b"1")] == [True, False, False]


def test_beyond_the_bound_each_counts_as_one() -> None:
    kept = KeptCopies(topic_count_max=1)
    assert kept.may_be_copy(b"a", b"1", 0)
    assert [kept.may_be_copy(b"b", payload, 0) for payload in (b"1", b"2")] == [True, True]
    assert not kept.may_be_copy(b"a", b"2", 0)
    assert len(kept) == 1
