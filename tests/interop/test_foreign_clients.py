"""Clients that nobody here wrote, unmodified, against the live broker: TCP and TLS, QoS 0 and 1, both ways."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.brokers import LiveBroker
from tests.interop.clients import Client, Message, Target, every_client

CLIENTS = every_client()
_numbers = itertools.count(1)


def cases() -> Iterator[object]:
    for client in CLIENTS:
        for version, tls, qos in itertools.product(client.versions, (False, True), (0, 1)):
            name = f"{client.name}-{'5' if version == 5 else '311'}-{'tls' if tls else 'tcp'}-qos{qos}"
            yield pytest.param(client, version, tls, qos, id=name)


def target(broker: LiveBroker, *, version: int, tls: bool) -> Target:
    credential = broker.credentials[0]
    return Target(
        host=broker.host,
        port=broker.tls_port if tls else broker.port,
        tls=tls,
        ca_file=str(broker.ca_file),
        version=version,
        username=credential.username,
        password=credential.password,
        client_id=f"interop-{next(_numbers)}",
    )


@pytest.mark.parametrize(("client", "version", "tls", "qos"), list(cases()))
def test_publishes_and_receives(
    live_broker: LiveBroker, tmp_path: Path, client: Client, version: int, tls: bool, qos: int
) -> None:
    """What one process of a client publishes, another process of it receives, byte for byte and with its QoS."""
    topic = f"interop/{next(_numbers)}"
    sent = [
        Message(f"{topic}/text", b'{"v":{"temperature":21.5}}', qos),
        Message(f"{topic}/binary", bytes(range(256)), qos),
        Message(f"{topic}/unicode/\u00fc\u4e2d", "Grüße".encode(), qos),
        Message(f"{topic}/large", b"x" * 70_000, qos),
    ]
    receiving = target(live_broker, version=version, tls=tls)
    with client.subscriber(receiving, f"{topic}/#", qos, len(sent), tmp_path) as subscriber:
        assert subscriber.granted == [qos]
        client.publish(target(live_broker, version=version, tls=tls), sent, qos, tmp_path)
        # Messages of one publisher on different topics keep their order too (mosquitto's tool connects anew for each).
        assert subscriber.messages() == sent


@pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])
def test_all_clients_reach_each_other(live_broker: LiveBroker, tmp_path: Path, tls: bool) -> None:
    """Every client hears every other one, whatever version and subscription each has. [MQTT3-7.0.0-2]"""
    topic = f"interop/{next(_numbers)}"
    sent = [
        Message(f"{topic}/{client.name}/{version}", b"hello", 1)
        for client in CLIENTS
        for version in client.versions
    ]
    with contextlib.ExitStack() as stack:
        subscribers = [
            stack.enter_context(
                client.subscriber(
                    target(live_broker, version=client.versions[-1], tls=tls),
                    f"{topic}/#",
                    1,
                    len(sent),
                    tmp_path,
                )
            )
            for client in CLIENTS
        ]
        for client in CLIENTS:
            for version in client.versions:
                mine = [Message(f"{topic}/{client.name}/{version}", b"hello", 1)]
                client.publish(target(live_broker, version=version, tls=tls), mine, 1, tmp_path)
        for subscriber in subscribers:
            assert Counter(subscriber.messages()) == Counter(sent)


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_wrong_token_is_refused(live_broker: LiveBroker, tmp_path: Path, client: Client) -> None:
    """A client with a wrong token fails to publish instead of believing that it has."""
    right = target(live_broker, version=client.versions[-1], tls=False)
    wrong = dataclasses.replace(right, password="wrong")
    with pytest.raises(AssertionError):
        client.publish(wrong, [Message("interop/refused", b"x", 1)], 1, tmp_path)


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_lower_qos_of_subscription_wins(live_broker: LiveBroker, tmp_path: Path, client: Client) -> None:
    """A QoS 1 message reaches a QoS 0 subscription with QoS 0 (MQTT 5.0 §3.8.4)."""
    topic = f"interop/{next(_numbers)}"
    version = client.versions[0]
    with client.subscriber(
        target(live_broker, version=version, tls=False), topic, 0, 1, tmp_path
    ) as subscriber:
        client.publish(
            target(live_broker, version=version, tls=False), [Message(topic, b"1", 1)], 1, tmp_path
        )
        assert subscriber.messages() == [Message(topic, b"1", 0)]


def test_mosquitto_tools_and_a_retained_message(live_broker: LiveBroker) -> None:
    """`mosquitto_pub -r`, then `mosquitto_sub --retained-only`, then `mosquitto_pub -r -n` to remove it."""
    topic = f"interop/retained/{next(_numbers)}"
    credential = live_broker.credentials[0]

    options = ["-h", live_broker.host, "-p", str(live_broker.port), "-q", "1", "-t", topic]
    options += ["-u", credential.username, "-P", credential.password]

    def run(program: str, *arguments: str) -> str:
        done = subprocess.run(
            [program, *options, *arguments],
            capture_output=True,
            text=True,
            timeout=20,
        )
        assert done.returncode in (0, 27), done.stderr
        return done.stdout

    run("mosquitto_pub", "-r", "-m", "kept")
    assert run("mosquitto_sub", "-v", "--retained-only", "-C", "1", "-W", "10") == f"{topic} kept\n"
    run("mosquitto_pub", "-r", "-n")
    assert run("mosquitto_sub", "-v", "-W", "1") == ""
