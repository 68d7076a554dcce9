"""Payloads have the form of the device contract."""

from __future__ import annotations

import json
import random

from device_fw_sim import messages
from device_fw_sim.messages import Firmware


def test_telemetry() -> None:
    payload = messages.telemetry(
        ts_ms=1_700_000_000_123, seq=7, boot_id="b", values={"t": 21.5, "d": True, "m": "idle"}
    )
    assert json.loads(payload) == {
        "ts": 1_700_000_000_123,
        "seq": 7,
        "boot_id": "b",
        "v": {"t": 21.5, "d": True, "m": "idle"},
        "q": "good",
    }


def test_telemetry_without_time() -> None:
    assert "ts" not in json.loads(messages.telemetry(ts_ms=None, seq=1, boot_id="b", values={}))


def test_status_has_every_field_of_the_contract() -> None:
    status = json.loads(
        messages.status(
            state="online", ts_ms=1, boot_id="b", session="s", seq=1, firmware=Firmware(), hardware="rev2", up_s=3,
            dropped_count=4, expect_s=5.0,
        )
    )  # fmt: skip
    assert set(status) == {
        "state", "ts", "boot_id", "session", "seq", "fw", "hw", "up_s", "reset_reason", "expect_s", "dropped_count",
    }  # fmt: skip
    assert set(status["fw"]) == {"version", "digest", "slot", "confirmed", "epoch"}
    assert status["dropped_count"] == 4


def test_will_names_its_session() -> None:
    assert json.loads(messages.will(ts_ms=1, boot_id="b", session="s")) == {
        "state": "offline", "ts": 1, "boot_id": "b", "session": "s", "seq": 0,
    }  # fmt: skip


def test_garbage_is_no_json() -> None:
    payload = messages.telemetry(ts_ms=1, seq=1, boot_id="b", values={"t": 1.0})
    source = random.Random(1)
    for _ in range(200):
        broken = messages.garbage(payload, source)
        try:
            json.loads(broken)
        except ValueError:
            continue
        raise AssertionError(f"{broken!r} is JSON")
