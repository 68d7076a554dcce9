"""How a bridge does, as numbers and words, and the report that the bridge process leaves for the node.

The report is one JSON file in `run_dir`, replaced every second; one that is old is of a process that is gone. Nothing secret
is in it.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

from appliance.core.errors import HomeportError
from appliance.core.limits import BRIDGE_REPORT_STALE_MS

BridgeWord = Literal["starting", "connecting", "connected", "waiting", "stopped"]
"""`waiting` is a pause before the next attempt; `stopped` needs the operator, though it is tried again now and then."""
REPORT_BYTES_MAX: Final = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeStatistics:
    """Counters since the process started; times are UTC ms.

    Attributes:
        state: A `BridgeWord`.
        since_ms: When it came into that state.
        error, hint, code: What went wrong last, "" for nothing yet; `error_at_ms` when.
        retry_at_ms: When the next attempt is, in the state `waiting`.
        lag_records: Records of the log that are not looked at, or not acknowledged by the remote.
        lag_ms: Age of the oldest of them, ms; 0 when there is none.
        sent_messages, sent_bytes: Out, of all QoS; what was sent again counts again.
        acknowledged_messages: Out, of QoS 1 and 2, that the remote has.
        received_messages, received_bytes: In, on our disk.
        refused_messages: Out, that the remote did not want.
        dropped_messages: Left out: too large for the remote, a topic that can't be, or (in) of no topic asked for.
        expired_messages: Out, whose message expiry interval was over.
        looped_messages: That had been here before.
        gone_records: That the log had forgotten, or that were damaged, before they were looked at.
    """

    name: str
    address: str
    state: str = "starting"
    since_ms: int = 0
    error: str = ""
    hint: str = ""
    code: str = ""
    error_at_ms: int | None = None
    retry_at_ms: int | None = None
    connects: int = 0
    in_flight: int = 0
    lag_records: int = 0
    lag_ms: int = 0
    sent_messages: int = 0
    sent_bytes: int = 0
    acknowledged_messages: int = 0
    received_messages: int = 0
    received_bytes: int = 0
    refused_messages: int = 0
    dropped_messages: int = 0
    expired_messages: int = 0
    looped_messages: int = 0
    gone_records: int = 0


def write_report(path: Path, bridges: Sequence[BridgeStatistics], now_ms: int) -> None:
    """Replace the report. It needs no fsync: the next one comes in a second. Raises OSError."""
    beside = path.with_name(path.name + ".new")
    content = {"written_at_ms": now_ms, "bridges": [dataclasses.asdict(bridge) for bridge in bridges]}
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(content, file)
    os.replace(beside, path)


def read_report(path: Path, now_ms: int) -> tuple[BridgeStatistics, ...]:
    """The bridges as last reported; none where there is no report, or it is BRIDGE_REPORT_STALE_MS old.

    Raises:
        HomeportError: it can't be read (`bridge_report`).
    """
    try:
        with path.open("rb") as file:
            content = json.loads(file.read(REPORT_BYTES_MAX))
        if abs(now_ms - int(content["written_at_ms"])) > BRIDGE_REPORT_STALE_MS:
            return ()
        bridges = tuple(BridgeStatistics(**fields) for fields in content["bridges"])
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HomeportError(
            f"The report of the bridges can't be read: {error}.",
            hint="It is written anew every second; see the log of the bridge process.",
            code="bridge_report",
        ) from error
    assert all(bridge.state in get_args(BridgeWord) for bridge in bridges)
    return bridges
