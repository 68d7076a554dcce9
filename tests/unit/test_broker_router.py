"""Subscriptions of connections."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from broker.connection import Connection
from broker.router import Grant, Router
from tests.broker_kit import connection_pair


@pytest.fixture
def two() -> Iterator[tuple[Connection, Connection]]:
    pairs = [connection_pair(client_id=name) for name in "ab"]
    yield pairs[0][0], pairs[1][0]
    for connection, theirs in pairs:
        connection.part(b"")
        theirs.close()


def grant(qos: int = 1) -> Grant:
    return Grant(qos=qos, no_local=False, since_seq=1)


def test_each_connection_once_by_its_highest_qos(two: tuple[Connection, Connection]) -> None:
    first, second = two
    router = Router()
    router.subscribe(first, "a/#", grant(0))
    router.subscribe(first, "a/+", grant(1))
    router.subscribe(first, "+/b", grant(0))
    router.subscribe(second, "a/b", grant(0))
    found = {connection.client_id: held.qos for connection, held in router.receivers(b"a/b")}
    assert found == {"a": 1, "b": 0}
    assert router.receivers(b"c") == []
    assert router.subscription_count == 4


def test_the_same_filter_again_replaces(two: tuple[Connection, Connection]) -> None:
    first, _ = two
    router = Router()
    router.subscribe(first, "a", grant(0))
    router.subscribe(first, "a", grant(1))
    assert [held.qos for _, held in router.receivers(b"a")] == [1]
    assert router.subscription_count == 1
    assert first.filter_bytes == 1


def test_unsubscribe_and_forget(two: tuple[Connection, Connection]) -> None:
    first, second = two
    router = Router()
    for topic_filter in ("a", "b/#", "+/c"):
        router.subscribe(first, topic_filter, grant())
    router.subscribe(second, "a", grant())
    assert router.unsubscribe(first, "a")
    assert not router.unsubscribe(first, "a")
    assert [connection for connection, _ in router.receivers(b"a")] == [second]
    router.forget(first)
    assert router.subscription_count == 1
    assert first.filter_bytes == 0
    assert router.receivers(b"b/x") == []
