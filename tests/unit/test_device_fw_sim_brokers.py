"""Where a device finds a broker."""

from __future__ import annotations

import json

import pytest

from device_fw_sim.broker_address import BrokerAddress
from device_fw_sim.brokers import BROKER_COUNT_MAX, Brokers

CONFIGURED = BrokerAddress(host="one", port=1883)


def listed(*urls: object) -> bytes:
    return json.dumps({"brokers": urls}).encode()


def tried(brokers: Brokers, count: int) -> list[str]:
    """The hosts of the next attempts, all of which fail."""
    found = []
    for _ in range(count):
        found.append(f"{brokers.current.host}:{brokers.current.port}")
        brokers.failed()
    return found


def test_a_device_that_knows_one_broker_tries_that() -> None:
    assert tried(Brokers(CONFIGURED), 2) == ["one:1883", "one:1883"]


def test_the_sites_brokers_are_tried_in_turn_from_where_the_device_is() -> None:
    brokers = Brokers(CONFIGURED)
    brokers.learn(listed("mqtt://one:1883", "mqtt://two", "mqtts://two:8883", "mqtt://[::1]:1884"))
    assert tried(brokers, 4) == ["one:1883", "two:1883", "::1:1884", "one:1883"]
    assert brokers.current.host == "two"
    brokers.learn(listed("mqtt://two", "mqtt://one:1883"))
    assert tried(brokers, 3) == ["two:1883", "one:1883", "two:1883"]


def test_the_configured_one_is_never_forgotten() -> None:
    brokers = Brokers(CONFIGURED)
    brokers.learn(listed("mqtt://two"))
    assert tried(brokers, 2) == ["one:1883", "two:1883"]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"no json",
        b"[]",
        b"7",
        b'{"brokers": 7}',
        b'{"brokers": [7]}',
        b"[" * 100_000,
        listed("mqtt://h:x"),
    ],
)
def test_a_list_that_can_t_be_read_changes_nothing(payload: bytes) -> None:
    brokers = Brokers(CONFIGURED)
    brokers.learn(payload)
    assert brokers.known == (CONFIGURED,)


def test_a_list_is_bounded() -> None:
    brokers = Brokers(CONFIGURED)
    brokers.learn(listed(*(f"mqtt://h{number}" for number in range(1_000))))
    assert len(brokers.known) == BROKER_COUNT_MAX + 1


def test_who_speaks_tls_goes_to_no_broker_without() -> None:
    brokers = Brokers(BrokerAddress(host="one", port=8883, tls=True))
    brokers.learn(listed("mqtt://two:1883", "mqtts://three"))
    assert tried(brokers, 3) == ["one:8883", "three:8883", "one:8883"]


def test_where_a_broker_that_stops_sends_is_tried_first_and_then_the_list() -> None:
    brokers = Brokers(CONFIGURED)
    brokers.refer("two:1883 [::1]:1884 nonsense:x")
    brokers.failed()
    assert tried(brokers, 3) == ["two:1883", "::1:1884", "one:1883"]
    brokers.refer("two:1883")
    brokers.failed()
    brokers.learn(listed("mqtt://one:1883", "mqtt://two:1883"))
    assert brokers.current.host == "two"
