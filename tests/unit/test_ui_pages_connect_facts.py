"""Addresses and lines to copy."""

from __future__ import annotations

import shlex

from appliance.core.config import BrokerConfig, Config
from appliance.core.settings import Bind
from ui.pages.connect_facts import endpoints, examples


def test_every_word_of_an_example_is_quoted_for_the_shell() -> None:
    device_id = "a'; rm -rf $HOME; '"
    for example in examples(Config(), "box.local", device_id, "-token with space"):
        words = shlex.split(example.command)
        assert words[words.index("-u") + 1] == device_id
        assert words[words.index("-P") + 1] == "-token with space"


def test_addresses_are_those_that_can_be_reached() -> None:
    found = endpoints(Config(), "2001:db8::1")
    assert [e.address for e in found] == [
        "mqtts://[2001:db8::1]:8883",
        "mqtt://127.0.0.1:1883 (this box only)",
    ]
    only_tls = Config(broker=BrokerConfig(tcp_bind=None, tls_bind=Bind(host="192.0.2.9", port=8883)))
    assert [e.address for e in endpoints(only_tls, "box")] == ["mqtts://192.0.2.9:8883"]
    assert [e.needs_certificate for e in examples(only_tls, "box", "a", "t")] == [True]
