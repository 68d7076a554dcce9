"""Topic aliases that a client is told: bounded, worth it, and only what it has been told."""

from __future__ import annotations

import pytest

from broker.delivery import Delivery, recipe
from broker.topic_aliases import (
    ALIASED_TOPIC_BYTES_MAX,
    ALIASED_TOPIC_BYTES_MIN,
    TOPIC_ALIAS_COUNT_MAX,
    OutgoingAliases,
)
from tests.protocol import builder


def say(
    aliases: OutgoingAliases, topic: str, *, payload: bytes = b"m", bytes_max: int | None = None
) -> bytes:
    message = Delivery(seq=1, client=("c", "c"), topic=topic.encode(), payload=payload, qos=1)
    return aliases.packet(message, recipe(1), 9, bytes_max)


def told(topic: str, alias: int, payload: bytes = b"m") -> bytes:
    return builder.publish(topic, payload, qos=1, packet_id=9, properties=builder.p16(0x23, alias))


def plain(topic: str) -> bytes:
    return builder.publish(topic, qos=1, packet_id=9, properties=b"")


def test_the_topic_goes_out_once() -> None:
    aliases = OutgoingAliases(10)
    assert say(aliases, "topic/one") == told("topic/one", 1)
    assert say(aliases, "topic/two") == told("topic/two", 2)
    assert say(aliases, "topic/one") == told("", 1)
    assert say(aliases, "topic/two") == told("", 2)


def test_no_more_than_the_client_allows() -> None:
    aliases = OutgoingAliases(1)
    say(aliases, "topic/one")
    assert say(aliases, "topic/two") == plain("topic/two")
    assert say(aliases, "topic/one") == told("", 1), "the first keep theirs"


def test_no_more_than_is_good() -> None:
    aliases = OutgoingAliases(65_535)
    for number in range(TOPIC_ALIAS_COUNT_MAX):
        say(aliases, f"topic/{number}")
    assert say(aliases, "one/more") == plain("one/more")


@pytest.mark.parametrize("size", [ALIASED_TOPIC_BYTES_MIN - 1, ALIASED_TOPIC_BYTES_MAX + 1])
def test_topics_that_are_not_worth_it(size: int) -> None:
    aliases = OutgoingAliases(10)
    for _ in range(2):
        assert say(aliases, "x" * size) == plain("x" * size)
    assert say(aliases, "topic/one") == told("topic/one", 1), "they take no number"


@pytest.mark.parametrize("size", [ALIASED_TOPIC_BYTES_MIN, ALIASED_TOPIC_BYTES_MAX])
def test_topics_that_are(size: int) -> None:
    aliases = OutgoingAliases(10)
    assert say(aliases, "x" * size) == told("x" * size, 1)
    assert say(aliases, "x" * size) == told("", 1)


def test_a_packet_that_is_not_sent_teaches_nothing() -> None:
    aliases = OutgoingAliases(10)
    large = say(aliases, "topic/one", payload=b"x" * 100, bytes_max=50)
    assert len(large) > 50
    assert say(aliases, "topic/two", bytes_max=50) == told("topic/two", 1)
    assert say(aliases, "topic/one", bytes_max=50) == told("topic/one", 2)
