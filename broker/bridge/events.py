"""What a session with another broker is given, told to do, and tells: settings, commands, events. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from broker.mqtt.packets import Publish, Subscription, Version


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSettings:
    """What is asked of the remote.

    Attributes:
        is_private: Say in 3.1.1 that this is a bridge (MQTT 5 has subscription options for what that means).
        subscriptions: All of them.
        known: Those that the session had when it was last seen (filter, QoS).
    """

    client_id: str
    version: Version
    username: str | None = None
    password: bytes | None = None
    keep_alive_s: int = 60
    is_private: bool = False
    subscriptions: tuple[Subscription, ...] = ()
    known: tuple[tuple[str, int], ...] = ()
    receive_maximum: int = 100
    packet_bytes_max: int = 1024 * 1024

    @property
    def wanted(self) -> tuple[tuple[str, int], ...]:
        return tuple((each.topic_filter, each.qos) for each in self.subscriptions)


# --- commands ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """CONNECT."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """One PUBLISH, as `OutgoingWindow.place` says."""

    publish: Publish


@dataclass(frozen=True, slots=True, kw_only=True)
class Close:
    """DISCONNECT; the remote keeps the session."""


Command: TypeAlias = Open | Send | Close

# --- events -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """CONNACK has come.

    Attributes:
        qos_max: Highest QoS that the remote takes.
        packet_bytes_max: Largest packet that the remote takes; None for no limit of its own.
    """

    session_present: bool
    qos_max: int
    takes_retained: bool
    packet_bytes_max: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscribed:
    """The session is open.

    Attributes:
        refused: Topic filters that the remote does not let us have, with its reason code.
    """

    refused: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message that is to be appended to our log; then `answer` is sent.

    Attributes:
        packet_id: 0 for QoS 0.
    """

    publish: Publish
    packet_id: int
    answer: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """Bytes to be sent once `outgoing` and `incoming` are saved as they are now."""

    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """The remote has the message of this log record, or wants it not at all: then `reason_code` says why."""

    seq: int
    reason_code: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """The connection is of no use any more.

    Attributes:
        reason_code: What the remote has said; None where it has said nothing.
    """

    text: str
    reason_code: int | None = None


Event: TypeAlias = Opened | Subscribed | Message | Owed | Delivered | Lost
