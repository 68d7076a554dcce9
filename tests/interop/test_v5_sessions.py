"""Sessions, subscription identifiers and shared subscriptions, with clients that nobody here wrote: paho and MQTT.js."""

from __future__ import annotations

import contextlib
import itertools
from typing import Any

import pytest

from tests.interop.brokers import LiveBroker
from tests.interop.v5_clients import KINDS, client

_numbers = itertools.count(1)
BOTH = pytest.mark.parametrize("kind", KINDS)
KEPT: dict[str, Any] = {"session_expiry_s": 3600}


@pytest.fixture
def topic() -> str:
    return f"v5-sessions/{next(_numbers)}"


@BOTH
@pytest.mark.parametrize("how", ["disconnect", "drop"])
def test_a_session_that_goes_on(live_broker: LiveBroker, kind: str, topic: str, how: str) -> None:
    """Messages wait for a client that is away; its subscription is there when it is back, and with it what it missed."""
    with (
        client(kind, live_broker, f"{topic}-away".replace("/", "-")) as away,
        client(kind, live_broker, f"{topic}-publisher".replace("/", "-")) as publisher,
    ):
        assert not away.connect(clean_start=False, properties=KEPT)["session_present"]
        assert away.subscribe(topic, 1) == [1]
        getattr(away, how)()
        publisher.connect()
        for number in range(10):
            publisher.publish(topic, str(number).encode())
        assert away.connect(clean_start=False, properties=KEPT)["session_present"]
        got = [away.receive() for _ in range(10)]
        assert [int(each.payload) for each in got] == list(range(10))
        publisher.publish(topic, b"live")
        assert away.receive().payload == b"live"
        away.disconnect(session_expiry_s=0)
        assert not away.connect(clean_start=False, properties=KEPT)["session_present"]


@BOTH
def test_a_session_taken_over(live_broker: LiveBroker, kind: str, topic: str) -> None:
    """A second process with the same client id goes on where the first was."""
    client_id = f"{topic}-both".replace("/", "-")
    with (
        client(kind, live_broker, client_id) as first,
        client(kind, live_broker, client_id) as second,
        client(kind, live_broker, f"{client_id}-publisher") as publisher,
    ):
        first.connect(clean_start=False, properties=KEPT)
        first.subscribe(topic, 1)
        assert second.connect(clean_start=False, properties=KEPT)["session_present"]
        publisher.connect()
        publisher.publish(topic, b"for the second")
        assert second.receive().payload == b"for the second"


@BOTH
def test_subscription_identifiers(live_broker: LiveBroker, kind: str, topic: str) -> None:
    """Each message tells the subscriptions because of which it came."""
    with (
        client(kind, live_broker, f"{topic}-subscriber".replace("/", "-")) as subscriber,
        client(kind, live_broker, f"{topic}-publisher".replace("/", "-")) as publisher,
    ):
        subscriber.connect()
        subscriber.subscribe(f"{topic}/a", properties={"subscription_identifier": 7})
        subscriber.subscribe(f"{topic}/#", properties={"subscription_identifier": 268_435_455})
        publisher.connect()
        publisher.publish(f"{topic}/b", b"1")
        publisher.publish(f"{topic}/a", b"2")
        publisher.publish(f"{topic}/end", b"3")
        found: dict[bytes, set[int]] = {}
        while b"3" not in found:
            message = subscriber.receive()
            # A server may send one copy with both identifiers, or a copy with each.
            found.setdefault(message.payload, set()).update(message.properties["subscription_identifier"])
        assert found == {b"1": {268_435_455}, b"2": {7, 268_435_455}, b"3": {268_435_455}}


@BOTH
def test_a_shared_subscription(live_broker: LiveBroker, kind: str, topic: str) -> None:
    """Each message goes to one of the group, and each member gets some."""
    name = topic.replace("/", "-")
    with contextlib.ExitStack() as stack:
        members = [stack.enter_context(client(kind, live_broker, f"{name}-{n}")) for n in range(2)]
        publisher = stack.enter_context(client(kind, live_broker, f"{name}-publisher"))
        for member in members:
            member.connect()
            assert member.subscribe(f"$share/group/{topic}/+", 1) == [1]
            member.subscribe(f"{topic}/all/end", 1)
        publisher.connect()
        sent = {str(number).encode() for number in range(20)}
        for payload in sorted(sent):
            publisher.publish(f"{topic}/x", payload)
        publisher.publish(f"{topic}/all/end", b"end")
        got: list[list[bytes]] = []
        for member in members:
            got.append([])
            while (message := member.receive()).payload != b"end":
                got[-1].append(message.payload)
        assert all(got), "each member gets some"
        assert len(got[0]) + len(got[1]) == len(sent)
        assert {*got[0], *got[1]} == sent
