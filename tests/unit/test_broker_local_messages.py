"""Messages that are in no log: to whoever is there and has room, and the newest for those to come."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from broker.local_messages import LocalMessages
from tests.session_kit import Stage

TOPIC = b"$SYS/broker/uptime"


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.end()


@pytest.fixture
def local(stage: Stage) -> LocalMessages:
    return LocalMessages(stage.router)


def test_at_qos_0_to_who_is_subscribed(stage: Stage, local: LocalMessages) -> None:
    client = stage.connect()
    client.subscribe("$SYS/#", options=2)
    other = stage.connect("other")
    other.subscribe("#")
    local.publish(TOPIC, b"1", stage.plane)
    (message,) = client.messages()
    assert (message.topic, message.payload, message.qos, message.is_retained) == (
        TOPIC.decode(),
        b"1",
        0,
        False,
    )
    assert other.messages() == [], "a wildcard in the first level leaves out $SYS"
    assert local.delivered_count == 1


def test_the_retain_flag_for_who_wants_it(stage: Stage, local: LocalMessages) -> None:
    client = stage.connect()
    client.subscribe("$SYS/#", options=0x08)
    local.publish(TOPIC, b"1", stage.plane)
    assert [message.is_retained for message in client.messages()] == [True]


def test_the_newest_of_each_topic_is_kept(stage: Stage, local: LocalMessages) -> None:
    for payload in (b"1", b"2"):
        local.publish(TOPIC, payload, stage.plane)
    assert [(message.topic, message.payload) for message in local.kept.messages()] == [(TOPIC, b"2")]


def test_who_has_no_room_or_is_away_misses_it(stage: Stage, local: LocalMessages) -> None:
    full, away = stage.connect("full"), stage.connect("away")
    for client in (full, away):
        client.subscribe("$SYS/#")
    full.session.outbound.unsent_bytes = 10**9
    away.leave()
    local.publish(TOPIC, b"1", stage.plane)
    assert local.missed_count == 1, "who is away does not count"
    assert local.delivered_count == 0
    assert full.session.outbound.lag_seq is None, "it is in no log to come back for"
    assert not away.session.outbound.positions


def test_a_cursor_gets_it_beside_what_waits_in_the_log(stage: Stage, local: LocalMessages) -> None:
    client = stage.connect()
    client.subscribe("$SYS/#", "t")
    client.session.outbound.fall_behind(stage.durable_next_seq)
    stage.publish(b"waits")
    local.publish(TOPIC, b"1", stage.plane)
    assert client.payloads() == [b"1"]
