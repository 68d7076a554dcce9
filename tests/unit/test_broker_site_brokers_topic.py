"""Where devices find the site's brokers."""

from __future__ import annotations

import json

from broker.site.brokers_topic import BROKER_COUNT_MAX, brokers_payload, server_reference

OWN, OTHER = "mqtts://a.example:8883", "mqtts://b.example:8883"


def test_the_own_broker_is_the_first() -> None:
    assert json.loads(brokers_payload([OWN], [OTHER, OWN])) == {"brokers": [OWN, OTHER]}


def test_a_box_that_is_alone_says_nothing() -> None:
    assert brokers_payload([OWN], []) == b""


def test_the_list_is_bounded() -> None:
    others = [f"mqtts://b{number}.example:8883" for number in range(100)]
    assert len(json.loads(brokers_payload([OWN], others))["brokers"]) == BROKER_COUNT_MAX


def test_a_server_reference_has_hosts_and_ports_those_over_tls_first() -> None:
    assert server_reference(["mqtt://c:1883", OTHER, "mqtts://[::1]:8883"]) == (
        "b.example:8883 [::1]:8883 c:1883"
    )
    assert server_reference([]) == ""
    assert len(server_reference([f"mqtts://{'x' * 60}{number}:8883" for number in range(9)])) <= 256
