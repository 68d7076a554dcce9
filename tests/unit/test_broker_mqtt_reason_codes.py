"""Reason codes: their words, and what 3.x says instead."""

from __future__ import annotations

import pytest

from broker.mqtt.constants import PacketType, Sender
from broker.mqtt.reason_codes import (
    ALLOWED,
    ONE_SIDED,
    ConnectReturnCode,
    ReasonCode,
    connect_return_code,
    describe,
)


def test_failures_begin_at_0x80() -> None:
    assert [code for code in ReasonCode if not code.is_failure] == [c for c in ReasonCode if c < 0x80]


def test_describe() -> None:
    assert describe(0x95) == "0x95 packet too large"
    assert describe(0x05) == "0x05"


@pytest.mark.parametrize(
    ("reason_code", "return_code"),
    [
        (0x00, 0),
        (0x84, 1),
        (0x85, 2),
        (0x88, 3),
        (0x89, 3),
        (0x9F, 3),
        (0x86, 4),
        (0x87, 5),
        (0x8A, 5),
    ],
)
def test_connect_return_code(reason_code: int, return_code: int) -> None:
    """MQTT 3.1.1 Table 3.1."""
    assert connect_return_code(reason_code) is ConnectReturnCode(return_code)


@pytest.mark.parametrize("reason_code", [0x80, 0x81, 0x82, 0x95, 0x90])
def test_connect_return_code_none(reason_code: int) -> None:
    """MQTT 3.1.1 [MQTT-3.2.2-6]: where no code fits, the server closes without a CONNACK."""
    assert connect_return_code(reason_code) is None


def test_every_allowed_code_has_a_name() -> None:
    for codes in ALLOWED.values():
        for code in codes:
            ReasonCode(code)


def test_one_sided_codes_are_allowed_codes() -> None:
    for (packet_type, _), codes in ONE_SIDED.items():
        assert codes <= ALLOWED[packet_type]
    client, server = (
        ONE_SIDED[PacketType.DISCONNECT, Sender.CLIENT],
        ONE_SIDED[PacketType.DISCONNECT, Sender.SERVER],
    )
    assert not client & server
