"""Addresses and lines to copy."""

from __future__ import annotations

import shlex
from urllib.parse import unquote, urlsplit

from appliance.core.config import BrokerConfig, Config
from appliance.core.settings import Bind
from ui.pages.connect_facts import connect_uri, endpoints, examples


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


def test_one_address_holds_all_that_a_device_needs() -> None:
    found = urlsplit(connect_uri(Config(), "2001:db8::1", "pump 1/@", "a:b@c"))
    assert (found.scheme, found.hostname, found.port) == ("mqtts", "2001:db8::1", 8883)
    assert (unquote(found.username or ""), unquote(found.password or "")) == ("pump 1/@", "a:b@c")
    none = Config(broker=BrokerConfig(tcp_bind=None, tls_bind=None))
    assert connect_uri(none, "box", "a", "t") == ""
    plain = Config(broker=BrokerConfig(tls_bind=None))
    assert connect_uri(plain, "box", "a", "t").startswith("mqtt://a:t@")
