"""What goes into a device and what comes out of it: events, commands, its states, options and counts. Values only."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from device_fw_sim.limits import INFLIGHT_COUNT_MAX
from device_fw_sim.messages import Firmware

HARDWARE: Final = "sim-rev2"
"""What a simulated device is, where nobody says anything else."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One reading of both clocks.

    Args:
        mono_ms: Monotonic, for deadlines.
        wall_ms: UTC, for what is written into messages.
    """

    mono_ms: int
    wall_ms: int

    def is_past(self, deadline_mono_ms: int | None) -> bool:
        """Whether a deadline is over; None is never."""
        return deadline_mono_ms is not None and deadline_mono_ms <= self.mono_ms


class State(Enum):
    """Where the device is with its connection."""

    OFF = "off"
    BACKING_OFF = "backing_off"
    CONNECTING = "connecting"
    ONLINE = "online"
    SILENT = "silent"
    REBOOTING = "rebooting"
    HUNG = "hung"
    """Its firmware stands still; only taking its power away helps."""
    STOPPED = "stopped"


TRANSITIONS: Final[dict[State, frozenset[State]]] = {
    State.OFF: frozenset({State.CONNECTING, State.BACKING_OFF, State.REBOOTING, State.STOPPED}),
    State.BACKING_OFF: frozenset({State.CONNECTING, State.REBOOTING, State.STOPPED}),
    State.CONNECTING: frozenset({State.ONLINE, State.BACKING_OFF, State.REBOOTING, State.STOPPED}),
    State.ONLINE: frozenset({State.BACKING_OFF, State.SILENT, State.REBOOTING, State.STOPPED}),
    State.SILENT: frozenset({State.BACKING_OFF, State.ONLINE, State.REBOOTING, State.STOPPED}),
    State.REBOOTING: frozenset({State.BACKING_OFF, State.HUNG, State.STOPPED}),
    State.HUNG: frozenset({State.REBOOTING, State.STOPPED}),
    State.STOPPED: frozenset(),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Connect:
    """Connect with a clean session and this will (QoS 1, not retained)."""

    client_id: str
    keep_alive_s: int
    will_topic: str
    will_payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """Publish with QoS 1, or with 0 what is asked for again anyway; then no acknowledgement comes."""

    handle: int
    topic: str
    payload: bytes
    qos: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscribe:
    """Subscribe with QoS 0: what is said to a device unasked is said again when it gets lost."""

    filters: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchBytes:
    """Get a file over HTTPS, from `offset` to its end, as `Fetched` with this number. What was got under an earlier one is wanted no more."""

    url: str
    offset: int
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Close:
    """Close the connection; `abort` means without DISCONNECT, as when the network is gone."""

    abort: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FallSilent:
    """Send nothing and read nothing from now on, not even PINGREQ, with the connection left open; or speak again."""

    silent: bool


Command = Connect | Publish | Subscribe | FetchBytes | Close | FallSilent


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    """CONNACK accepted the connection."""

    receive_maximum: int = INFLIGHT_COUNT_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """CONNACK refused it."""

    reason_code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLost:
    """There is no connection (any more); also the answer to Close."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged:
    """The broker has this message."""

    handle: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """The broker delivered a message."""

    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """Bytes that `FetchBytes` asked for, in order; b"" when no more come, at the end or because the connection is gone."""

    data: bytes
    number: int


Event = Connected | Refused | ConnectionLost | Acknowledged | Received | Fetched


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceOptions:
    """Fixed properties of one device.

    Args:
        device_id: Also its client id.
        interval_ms: Between two readings, 1 or more.
        keep_alive_s: Of CONNECT.
        telemetry_topic: Template with {device}.
    """

    device_id: str
    interval_ms: int = 5_000
    keep_alive_s: int = 30
    telemetry_topic: str = "dm/{device}/telemetry"
    status_topic: str = "dm/{device}/status"
    hardware: str = HARDWARE
    firmware: Firmware = field(default_factory=Firmware)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceStatistics:
    """Counts since the device's start.

    Attributes:
        sent: Different readings sent at least once, less those dropped later without an acknowledgement.
        resent: Sendings beyond each reading's first.
        lost: Readings in RAM when the device restarted.
        boots: Starts of its firmware, also those that failed.
    """

    taken: int
    sent: int
    resent: int
    acknowledged: int
    dropped: int
    waiting: int
    connects: int
    reconnects: int
    refusals: int
    garbage: int
    lost: int
    boots: int
    state: State
