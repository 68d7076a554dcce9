"""Addresses of tiers: taken apart, refused with what is wrong, and never with a secret in them."""

from __future__ import annotations

import pytest

from appliance.core.errors import ConfigError
from replication.tier.engines.address import parse_address


def test_an_address_in_its_parts() -> None:
    found = parse_address("s3://copies/site/17?endpoint=https://s3.example:8333&region=eu-1")
    assert (found.scheme, found.user, found.hosts, found.path) == ("s3", "", ("copies",), "site/17")
    assert found.take("region", "endpoint", "style") == ("eu-1", "https://s3.example:8333", "")
    several = parse_address("POSTGRESQL://home%40port@a.example:5432,[::1]:5433/db")
    assert (several.scheme, several.user, several.hosts) == (
        "postgresql",
        "home@port",
        ("a.example:5432", "[::1]:5433"),
    )
    assert several.options == {}


def test_an_option_that_nothing_reads_is_said() -> None:
    with pytest.raises(ConfigError, match="'regoin'"):
        parse_address("s3://copies/?regoin=eu").take("region")


def test_a_password_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_address("postgresql://me:hidden@host/db")
    assert "hidden" not in str(caught.value)
    assert "file of credentials" in caught.value.hint


@pytest.mark.parametrize(
    "text",
    [
        "", "s3", "s3:///prefix", "s3://b#x", "s3://b/ x", "s3://b/\n", "s3://ä", "s3://" + "b" * 1_001, "s3://b?x", "s3://b?x=1&x=2",
        "nats://a:0", "nats://a:65536", "nats://a:x", "nats://a,,b", "nats://[a", "nats://[::1", "nats://a b:1", "s3://b?x=1&y",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_address(text)
