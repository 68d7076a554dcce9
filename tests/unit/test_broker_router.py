"""Subscriptions of sessions."""

from __future__ import annotations

from typing import Any

import pytest

from broker.delivery import recipe
from broker.router import Grant, Router, merged, packed_options, unpacked_grant
from broker.state.session import Session


@pytest.fixture
def two() -> tuple[Session, Session]:
    return session("a"), session("b")


def session(client_id: str) -> Session:
    return Session(client_id, "site", expiry_s=0, queue_messages_max=10, queue_bytes_max=1000)


def grant(qos: int = 1, *identifiers: int, **options: Any) -> Grant:
    return Grant(qos=qos, since_seq=options.pop("since_seq", 1), identifiers=identifiers, **options)


def test_each_session_once_by_its_highest_qos(two: tuple[Session, Session]) -> None:
    first, second = two
    router = Router()
    router.subscribe(first, "a/#", grant(0))
    router.subscribe(first, "a/+", grant(1))
    router.subscribe(first, "+/b", grant(0))
    router.subscribe(second, "a/b", grant(0))
    sessions, groups = router.receivers(b"a/b")
    assert {held.client_id: granted.qos for held, granted in sessions} == {"a": 1, "b": 0}
    assert groups == []
    assert router.receivers(b"c") == ([], [])
    assert router.subscription_count == 4


def test_the_same_filter_again_replaces(two: tuple[Session, Session]) -> None:
    first, _ = two
    router = Router()
    router.subscribe(first, "a", grant(0))
    router.subscribe(first, "a", grant(1))
    assert [held.qos for _, held in router.receivers(b"a")[0]] == [1]
    assert router.subscription_count == 1
    assert first.filter_bytes == 1


def test_unsubscribe_and_forget(two: tuple[Session, Session]) -> None:
    first, second = two
    router = Router()
    for topic_filter in ("a", "b/#", "+/c", "$share/g/a"):
        router.subscribe(first, topic_filter, grant())
    router.subscribe(second, "a", grant())
    assert router.unsubscribe(first, "a")
    assert not router.unsubscribe(first, "a")
    assert [held for held, _ in router.receivers(b"a")[0]] == [second]
    router.forget(first)
    assert (router.subscription_count, router.shared_count) == (1, 0)
    assert first.filter_bytes == 0
    assert router.receivers(b"b/x") == ([], [])
    assert router.groups == {}


def test_a_shared_subscription_is_one_receiver(two: tuple[Session, Session]) -> None:
    """A filter of two groups, and a session's own subscription beside its shared one."""
    first, second = two
    router = Router()
    router.subscribe(first, "$share/g/a/#", grant())
    router.subscribe(second, "$share/g/a/#", grant())
    router.subscribe(second, "$share/h/a/#", grant())
    router.subscribe(second, "a/b", grant(2))
    sessions, groups = router.receivers(b"a/b")
    assert [(held.client_id, granted.qos) for held, granted in sessions] == [("b", 2)]
    assert sorted((group.name, len(group.members)) for group in groups) == [("g", 2), ("h", 1)]
    assert router.shared_count == 3
    assert router.unsubscribe(second, "$share/g/a/#")
    assert [(g.full_filter, len(g.members)) for g in router.groups.values()] == [
        ("$share/g/a/#", 1),
        ("$share/h/a/#", 1),
    ]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (grant(1, 5), grant(0, 6), grant(1, 5, 6)),
        (grant(0, 5), grant(1), grant(1, 5)),
        (grant(1, since_seq=9), grant(1, since_seq=3), grant(1, since_seq=3)),
        (grant(1, no_local=True), grant(0), grant(1)),
        (grant(1, no_local=True), grant(0, no_local=True), grant(1, no_local=True)),
        (grant(0, 1, retain_as_published=True), grant(1), grant(1, 1, retain_as_published=True)),
    ],
)
def test_overlapping_subscriptions_are_one(one: Grant, other: Grant, expected: Grant) -> None:
    """MQTT 5.0 §3.3.4: one copy, the highest QoS, all identifiers; not local only if none of them wants it."""
    assert merged(one, other) == expected
    assert merged(other, one) == expected


def test_what_a_grant_makes_of_a_message() -> None:
    plain, published = grant(1, 7), grant(1, retain_as_published=True)
    assert (plain.recipe(2, True).qos, plain.recipe(2, True).retain) == (1, False)
    assert plain.recipe(0, False).identifiers == (7,)
    assert published.recipe(1, True).retain
    assert not published.recipe(1, False).retain
    assert plain.retained_recipe(2) is recipe(1, True, (7,))
    assert grant(1, 7).recipe(2, True) is plain.recipe(2, True), "one object for each combination"


@pytest.mark.parametrize("made", [grant(2, 3, no_local=True), grant(0), grant(1, retain_as_published=True)])
def test_options_as_a_number(made: Grant) -> None:
    assert unpacked_grant(packed_options(made), made.identifiers, made.since_seq) == made


def test_grants_by_session_leave_shared_subscriptions_out(two: tuple[Session, Session]) -> None:
    first, second = two
    router = Router()
    router.subscribe(first, "a/#", grant(0, 7))
    router.subscribe(first, "a/+", grant(1, 8))
    router.subscribe(second, "$share/g/a/#", grant(1, 9))
    found = router.grants_by_session("a/b")
    assert set(found) == {id(first)}
    assert sorted(each.identifiers for each in found[id(first)]) == [(7,), (8,)]
    assert router.grants_by_session("b") == {}
