"""The broker's statistics in order, whatever of them is there."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from appliance.core.config import BrokerConfig
from appliance.core.settings import Bind
from ui.broker_numbers import LIMITS, counts, doors, limits, number


def test_numbers_and_counts_that_are_not_there() -> None:
    statistics = {"a": {"b": 5, "yes": True, "text": "7", "by": {"x": 1, "y": 2.5, "z": "n"}}}
    assert number(statistics, "a", "b") == 5
    assert number(statistics, "a", "yes") == 1
    for path in (("a", "text"), ("a", "none"), ("a", "b", "c"), ("z",), ("a",)):
        assert number(statistics, *path) == 0
    assert counts(statistics, "a", "by") == {"x": 1}
    assert counts(statistics, "a", "b") == counts(statistics, "z") == {}


def test_every_limit_of_the_configuration_is_shown() -> None:
    keys = {
        field.name for field in fields(BrokerConfig) if field.name.endswith(("_max", "maximum", "timeout_ms"))
    }
    assert {limit.key for limit in LIMITS} == keys


def test_use_and_hits() -> None:
    statistics = {
        "plane": {"connections": 7},
        "limits": {"connections_max": 4, "connect_rate_per_address_max": 9, "packet_bytes_max": 2},
        "connections": {"fell_behind": 6},
        "sessions": {"dropped_messages": 5},
    }
    found = {limit.key: limit for limit in limits(statistics, BrokerConfig(connections_max=50))}
    connections = found["connections_max"]
    assert (connections.value, connections.unit, connections.in_use, connections.hits_total) == (
        50, "connections", 7, 4,
    )  # fmt: skip
    assert found["packet_bytes_max"].hits_total == 2
    assert found["connect_rate_per_address_max"].hits_total == 9
    assert found["session_queue_messages_max"].hits_total == 11
    assert (found["keep_alive_s_max"].in_use, found["keep_alive_s_max"].hits_total) == (None, None)


def test_doors_are_those_that_are_open_and_those_that_somebody_came_by() -> None:
    config = BrokerConfig(
        tcp_bind=None, tls_bind=Bind(host="::", port=8883), unix_path=Path("/run/homeport/mqtt.sock")
    )
    statistics = {
        "plane": {"connections_by_transport": {"tls": 2, "carrier_pigeon": 1}},
        "listeners": {"accepted_by_transport": {"tls": 5}},
    }
    found = [(door.transport, door.address, door.connections) for door in doors(statistics, config)]
    assert found == [
        ("tls", "[::]:8883", 2),
        ("unix", "/run/homeport/mqtt.sock", 0),
        ("carrier_pigeon", "", 1),
    ]
    assert doors(statistics, config)[0].accepted_total == 5
