"""Whose mistake a broken rule is."""

from __future__ import annotations

from broker.mqtt.reason_codes import ReasonCode
from broker.mqtt.violations import local, remote


def test_remote_carries_the_reason_code() -> None:
    error = remote("Too big.", ReasonCode.PACKET_TOO_LARGE)
    assert (error.reason_code, error.code) == (0x95, "remote_protocol_error")
    assert error.hint


def test_local_says_what_a_peer_would_answer() -> None:
    error = local("Too big.", ReasonCode.PACKET_TOO_LARGE)
    assert error.code == "local_protocol_error"
    assert "PACKET_TOO_LARGE" in error.hint
