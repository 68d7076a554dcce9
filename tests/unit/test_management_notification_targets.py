"""Targets: what each kind may be, and what is refused with its reason."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.core.errors import UsageError
from appliance.management.notification_targets import (
    Email,
    Mqtt,
    Settings,
    Webhook,
    address_of,
    check,
    kind_of,
    of_fields,
    of_json,
    to_json,
)

PEM = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"
MAIL: dict[str, Any] = {"to": "anna@example.org", "from_": "box@example.org", "host": "smtp.example.org"}


@pytest.mark.parametrize(
    ("settings", "kind", "address", "secret"),
    [
        (Webhook(url="https://hooks.example.org/a?b=c"), "webhook", "https://hooks.example.org/a?b=c", b"s"),
        (Webhook(url="http://[fd00::1]:8080/", ca_pem=PEM), "webhook", "http://[fd00::1]:8080/", b""),
        (Email(**MAIL), "email", "anna@example.org", b""),
        (Email(**MAIL, username="box", port=465, security="tls"), "email", "anna@example.org", b"p"),
        (Mqtt(topic="alarms/site"), "mqtt", "alarms/site", b""),
    ],
)
def test_what_is_taken(settings: Settings, kind: str, address: str, secret: bytes) -> None:
    check("Anna", settings, secret=secret)
    assert kind_of(settings) == kind
    assert address_of(settings) == address
    assert of_json(to_json(settings)) == settings
    assert f'"kind":"{kind}"' in to_json(settings)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (Webhook(url="ftp://x/"), "not http"),
        (Webhook(url="https:///a"), "not http"),
        (Webhook(url="https://a:0/"), "not http"),
        (Webhook(url="https://a:99999/"), "can't be read"),
        (Webhook(url="https://a b/"), "visible ASCII"),
        (Webhook(url="https://a/\r\nX: y"), "visible ASCII"),
        (Webhook(url="https://a/" + "x" * 2_000), "at most 2000"),
        (Webhook(url="https://user:pass@a/"), "user name in it"),
        (Webhook(url="https://-a/"), "no name and no address"),
        (Webhook(url="https://a/", ca_pem="nothing"), "certificates in PEM"),
        (Webhook(url="https://a/", ca_pem=PEM + "-----BEGIN PRIVATE KEY-----"), "certificates in PEM"),
        (Webhook(url="https://a/", ca_pem=PEM + "x" * 65_536), "certificates in PEM"),
        (Email(**{**MAIL, "to": "a@b\r\nBcc: c@d"}), "“to” is no mail address"),
        (Email(**{**MAIL, "to": "a@example.org, b@example.org"}), "“to” is no mail address"),
        (Email(**{**MAIL, "from_": "x@" + "y" * 260}), "“from” is no mail address"),
        (Email(**{**MAIL, "host": "a b"}), "mail server"),
        (Email(**MAIL, port=0), "port"),
        (Email(**MAIL, username="box"), "go together"),
        (Mqtt(topic=""), "no topic name"),
        (Mqtt(topic="a/#"), "no topic name"),
        (Mqtt(topic="a\nb"), "no topic name"),
        (Mqtt(topic="$SYS/x"), "own"),
        (Mqtt(topic="dm/pump/telemetry"), "own"),
    ],
)
def test_what_is_refused(settings: Settings, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        check("Anna", settings, secret=b"")
    assert caught.value.code == "target_invalid"
    assert caught.value.hint


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (Email(**MAIL), "go together"),
        (Email(**MAIL, username="box", security="none"), "in clear"),
        (Email(**MAIL, username="a\nb"), "user name can't"),
        (Mqtt(topic="a"), "needs no secret"),
    ],
)
def test_what_a_secret_does_not_go_with(settings: Settings, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        check("Anna", settings, secret=b"secret")


@pytest.mark.parametrize("secret", [b"x" * 1_025, b"a\nb", b"a\x00"])
def test_a_secret_is_one_line(secret: bytes) -> None:
    with pytest.raises(UsageError, match="one line") as caught:
        check("Anna", Webhook(url="https://a/"), secret=secret)
    assert secret.decode() not in caught.value.message


@pytest.mark.parametrize("name", ["", " a", "a\n", "x" * 101])
def test_a_target_has_a_name(name: str) -> None:
    with pytest.raises(UsageError, match="A target's name"):
        check(name, Mqtt(topic="a"), secret=b"")


def test_fields_that_are_unknown_or_missing_are_named() -> None:
    assert of_fields({"kind": "mqtt", "topic": "a", "retained": True}) == Mqtt(topic="a", retained=True)
    for fields in ({"kind": "mqtt"}, {"kind": "sms"}, {"kind": "mqtt", "topic": "a", "x": 1}, {}):
        with pytest.raises(UsageError) as caught:
            of_fields(fields)
        assert caught.value.code == "target_invalid"
