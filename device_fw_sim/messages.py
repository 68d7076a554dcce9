"""Payloads of the device contract (docs/DEVICE_CONTRACT.md). Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from device_fw_sim.randomness import Randomness
from device_fw_sim.signals import Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Firmware:
    """What runs on the device, as it reports it at every connect."""

    version: str = "1.4.2"
    digest: str = "sha256:7d1a54127b222502f5b79b5fb0803061152a44f92b37e23c6527baf665d4da9a"
    slot: str = "A"
    confirmed: bool = True
    epoch: int = 1


def telemetry(
    *, ts_ms: int | None, seq: int, boot_id: str, values: Mapping[str, Value], quality: str = "good"
) -> bytes:
    """One reading: {ts, seq, boot_id, v, q}.

    Args:
        ts_ms: Device time, UTC ms; None leaves it out, and the receiver takes the time of arrival.
        seq: Number within this boot.
        boot_id: With `seq` the key that removes duplicates.
        values: Numbers, booleans and text by name.
        quality: good, est or bad.
    """
    message: dict[str, object] = {} if ts_ms is None else {"ts": ts_ms}
    message |= {"seq": seq, "boot_id": boot_id, "v": dict(values), "q": quality}
    return json.dumps(message, separators=(",", ":")).encode()


def status(
    *,
    state: str,
    ts_ms: int,
    boot_id: str,
    session: str,
    seq: int,
    firmware: Firmware,
    hardware: str,
    up_s: int,
    dropped_count: int,
    expect_s: float,
    reset_reason: str = "power_on",
) -> bytes:
    """Presence and firmware, published at every connect and before a proper goodbye."""
    message = {
        "state": state,
        "ts": ts_ms,
        "boot_id": boot_id,
        "session": session,
        "seq": seq,
        "fw": {
            "version": firmware.version,
            "digest": firmware.digest,
            "slot": firmware.slot,
            "confirmed": firmware.confirmed,
            "epoch": firmware.epoch,
        },
        "hw": hardware,
        "up_s": up_s,
        "reset_reason": reset_reason,
        "expect_s": expect_s,
        "dropped_count": dropped_count,
    }
    return json.dumps(message, separators=(",", ":")).encode()


def will(*, ts_ms: int, boot_id: str, session: str) -> bytes:
    """What the broker says for a device that can't: offline, in the session that it belongs to."""
    message = {"state": "offline", "ts": ts_ms, "boot_id": boot_id, "session": session, "seq": 0}
    return json.dumps(message, separators=(",", ":")).encode()


def garbage(payload: bytes, source: Randomness) -> bytes:
    """A payload that no decoder should accept, in one of the ways seen in the field."""
    match source.randrange(4):
        case 0:
            return payload[: len(payload) // 2]
        case 1:
            return payload[:10] + b"\xff\xfe\x80" + payload[13:]
        case 2:
            return b""
        case _:
            return source.randbytes(len(payload))
