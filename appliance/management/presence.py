"""Is a device there? Folded from the log alone: sessions opened and closed, and what the device says of itself.

| Presence | Means |
|---|---|
| online | a session is open, or the device said so |
| offline | it said goodbye, or we sent it away: nothing is wrong |
| lost | its last session ended without a goodbye |
| sleeping | it said it would be quiet |
| never_seen | neither a session nor a status yet |

TRANSITIONS is the whole of it; the drawing in DESIGN.md is made from it by `as_mermaid`. A device may have several
sessions (it is its principal that counts): only the end of the last one is an event here. Pure: records in, state out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from appliance.core.limits import EXPECT_MS_MAX, EXPECT_MS_MIN
from appliance.management.firmware_report import FirmwareReport, parse_status


class Presence(StrEnum):
    ONLINE = "online"
    OFFLINE = "offline"
    LOST = "lost"
    SLEEPING = "sleeping"
    NEVER_SEEN = "never_seen"


class PresenceEvent(StrEnum):
    SESSION_OPENED = "session_opened"
    GOODBYE = "goodbye"
    """The last session was closed by the device or by us, on purpose."""
    CUT = "cut"
    """The last session ended without a goodbye."""
    SAID_ONLINE = "said_online"
    SAID_OFFLINE = "said_offline"
    SAID_SLEEPING = "said_sleeping"
    WILL = "will"
    """The will of the current session was published while no session is open."""


_P, _E = Presence, PresenceEvent
TRANSITIONS: Final[dict[tuple[Presence, PresenceEvent], Presence]] = {
    (_P.NEVER_SEEN, _E.SESSION_OPENED): _P.ONLINE,
    (_P.NEVER_SEEN, _E.GOODBYE): _P.OFFLINE,
    (_P.NEVER_SEEN, _E.CUT): _P.LOST,
    (_P.NEVER_SEEN, _E.SAID_ONLINE): _P.ONLINE,
    (_P.NEVER_SEEN, _E.SAID_OFFLINE): _P.OFFLINE,
    (_P.NEVER_SEEN, _E.SAID_SLEEPING): _P.SLEEPING,
    (_P.NEVER_SEEN, _E.WILL): _P.LOST,
    (_P.ONLINE, _E.SESSION_OPENED): _P.ONLINE,
    (_P.ONLINE, _E.GOODBYE): _P.OFFLINE,
    (_P.ONLINE, _E.CUT): _P.LOST,
    (_P.ONLINE, _E.SAID_ONLINE): _P.ONLINE,
    (_P.ONLINE, _E.SAID_OFFLINE): _P.OFFLINE,
    (_P.ONLINE, _E.SAID_SLEEPING): _P.SLEEPING,
    (_P.ONLINE, _E.WILL): _P.LOST,
    (_P.OFFLINE, _E.SESSION_OPENED): _P.ONLINE,
    (_P.OFFLINE, _E.GOODBYE): _P.OFFLINE,
    # It had said it was leaving: that its connection then broke is no loss.
    (_P.OFFLINE, _E.CUT): _P.OFFLINE,
    (_P.OFFLINE, _E.SAID_ONLINE): _P.ONLINE,
    (_P.OFFLINE, _E.SAID_OFFLINE): _P.OFFLINE,
    (_P.OFFLINE, _E.SAID_SLEEPING): _P.SLEEPING,
    (_P.OFFLINE, _E.WILL): _P.OFFLINE,
    (_P.LOST, _E.SESSION_OPENED): _P.ONLINE,
    (_P.LOST, _E.GOODBYE): _P.OFFLINE,
    (_P.LOST, _E.CUT): _P.LOST,
    (_P.LOST, _E.SAID_ONLINE): _P.ONLINE,
    (_P.LOST, _E.SAID_OFFLINE): _P.OFFLINE,
    (_P.LOST, _E.SAID_SLEEPING): _P.SLEEPING,
    (_P.LOST, _E.WILL): _P.LOST,
    (_P.SLEEPING, _E.SESSION_OPENED): _P.ONLINE,
    # A sleeper's session ends one way or another; it stays a sleeper until it speaks again.
    (_P.SLEEPING, _E.GOODBYE): _P.SLEEPING,
    (_P.SLEEPING, _E.CUT): _P.SLEEPING,
    (_P.SLEEPING, _E.SAID_ONLINE): _P.ONLINE,
    (_P.SLEEPING, _E.SAID_OFFLINE): _P.OFFLINE,
    (_P.SLEEPING, _E.SAID_SLEEPING): _P.SLEEPING,
    (_P.SLEEPING, _E.WILL): _P.SLEEPING,
}

EVENT_OF_CLOSE_REASON: Final[dict[str, PresenceEvent]] = {
    "client_disconnect": PresenceEvent.GOODBYE,
    "draining": PresenceEvent.GOODBYE,
    "kicked": PresenceEvent.GOODBYE,
    "keep_alive": PresenceEvent.CUT,
    "connection_lost": PresenceEvent.CUT,
    "protocol_error": PresenceEvent.CUT,
    "takeover": PresenceEvent.CUT,
    "broker_restart": PresenceEvent.CUT,
}
"""By the `reason` of a session's end in the log; one that is not here (a newer broker's) counts as CUT."""

EVENT_OF_STATUS: Final[dict[object, PresenceEvent]] = {
    "online": PresenceEvent.SAID_ONLINE,
    "offline": PresenceEvent.SAID_OFFLINE,
    "sleeping": PresenceEvent.SAID_SLEEPING,
}
"""By the `state` of dm/{device}/status (DEVICES.md)."""


def as_mermaid() -> str:
    """TRANSITIONS as a Mermaid state diagram, without the arrows that stay where they are."""
    arrows = [f"    {a} --> {b}: {event}" for (a, event), b in TRANSITIONS.items() if a is not b]
    return "\n".join(["stateDiagram-v2", "    [*] --> never_seen", *arrows]) + "\n"


_SESSION_CHARACTERS_MAX: Final = 128


@dataclass(slots=True)
class DevicePresence:
    """What is known of one device's presence.

    Attributes:
        since_ms: When the presence began, UTC ms; None while never seen. reason: What it was that changed it.
        last_seen_at_ms: The newest sign of life that a session record or a status gave, UTC ms.
        address: Where its newest session came from, or "".
        session: What the last status named as its session; a will that names another is ignored.
        clients: Session → how often it is open (2 for a moment while one takes over from another). A session is a client id; one at
            another node of the site has that node's id behind it (`session_key`).
        expect_ms: How often its last status said that a reading is to be expected; None while it has not said so.
        firmware: What its last status said that it runs; None while none has said so.
    """

    device: str
    presence: Presence = Presence.NEVER_SEEN
    since_ms: int | None = None
    reason: str = ""
    last_seen_at_ms: int | None = None
    address: str = ""
    session: str = ""
    clients: dict[str, int] = field(default_factory=dict)
    expect_ms: int | None = None
    firmware: FirmwareReport | None = None


PresenceStep = tuple[str, Presence, int, int | None]
"""Device, its presence from then on, when (UTC ms), how often it says that a reading is to be expected."""


class PresenceFold:
    """The presence of all devices, and which changed since the last time it was asked."""

    def __init__(self) -> None:
        self._devices: dict[str, DevicePresence] = {}
        self._changed: set[str] = set()
        self._steps: list[PresenceStep] = []

    def load(self, devices: Iterable[DevicePresence]) -> None:
        """Put back what the store has."""
        for device in devices:
            self._devices[device.device] = device

    def get(self, device: str) -> DevicePresence | None:
        return self._devices.get(device)

    def __len__(self) -> int:
        return len(self._devices)

    def session_opened(
        self, device: str, client_id: str, at_ms: int, address: str, *, node_id: str = ""
    ) -> None:
        """A SESSION_OPENED record; `device` is its principal.

        A client is in one place: one that opens a session later than the device was last heard of has left the other nodes, which may
        never be able to say so. (A session at another node that is told of late says nothing of the ones before it: its end will come.)

        Args:
            node_id: In whose log it stands; "" for the own one.
        """
        state = self._state(device)
        key = session_key(client_id, node_id)
        if len(state.clients) > (key in state.clients) and at_ms >= (state.last_seen_at_ms or 0):
            for other in [each for each in state.clients if each != key and client_of(each) == client_id]:
                del state.clients[other]
        state.clients[key] = state.clients.get(key, 0) + 1
        state.address = address
        _seen(state, at_ms)
        self._step(state, PresenceEvent.SESSION_OPENED, at_ms, "connected")

    def session_closed(
        self,
        device: str,
        client_id: str,
        at_ms: int,
        reason: str,
        last_packet_at_ms: int | None,
        *,
        node_id: str = "",
    ) -> None:
        """A SESSION_CLOSED record. Nothing happens to the presence while another session is open, at whichever node.

        The opening of a session that takes over may stand before or after the end of the one it takes over from:
        sessions are counted per client id, so both orders give the same.
        """
        state = self._state(device)
        key = session_key(client_id, node_id)
        count = state.clients.pop(key, 0)
        if count > 1:
            state.clients[key] = count - 1
        if last_packet_at_ms is not None:
            _seen(state, min(last_packet_at_ms, at_ms))
        if count and not state.clients:
            event = EVENT_OF_CLOSE_REASON.get(reason, PresenceEvent.CUT)
            self._step(state, event, at_ms, reason)

    def broker_started(self, at_ms: int, *, node_id: str = "") -> None:
        """A BROKER_STARTED record: every session that was open before it at that node is gone."""
        for device, state in self._devices.items():
            left = {each: count for each, count in state.clients.items() if node_of(each) != node_id}
            if len(left) < len(state.clients):
                state.clients = left
                if not left:
                    self._step(state, PresenceEvent.CUT, at_ms, "broker_restart")
                self._changed.add(device)

    def status(
        self,
        device: str,
        fields: Mapping[str, object],
        at_ms: int,
        *,
        by_server: bool,
        is_copy: bool = False,
    ) -> bool:
        """A publish to dm/{device}/status.

        Args:
            fields: The decoded payload.
            by_server: The server published it: it is a will.
            is_copy: Another broker may have kept it: it is the device's last word, but no sign of life now.
        Returns:
            False when `state` is none that is known (a dead letter).
        """
        event = EVENT_OF_STATUS.get(word) if isinstance(word := fields.get("state"), str) else None
        if event is None:
            return False
        session = _session_name(fields.get("session"))
        state = self._state(device)
        if by_server:
            # With a session open its end will say more than the will can; a will of another session is old news.
            if not state.clients and (not session or session == state.session):
                self._step(state, PresenceEvent.WILL, at_ms, "will")
            return True
        if session:
            state.session = session
        if (expect_ms := _expect_ms(fields.get("expect_s"))) is not None:
            if expect_ms != state.expect_ms:
                self._steps.append((device, state.presence, at_ms, expect_ms))
            state.expect_ms = expect_ms
        if not is_copy:
            _seen(state, at_ms)
            state.firmware = parse_status(device, fields, at_ms) or state.firmware
        self._step(state, event, at_ms, f"said {word}")
        return True

    def take_changes(self) -> list[DevicePresence]:
        """Copies of the states that records touched since the last call."""
        changed, self._changed = self._changed, set()
        self._steps = []
        return [_copy(self._devices[device]) for device in changed]

    def take_steps(self) -> list[PresenceStep]:
        """Each change of a presence, or of what is expected of a device, since the last call of this or of take_changes, in order."""
        steps, self._steps = self._steps, []
        return steps

    def all(self) -> list[DevicePresence]:
        """Copies of all states."""
        return [_copy(state) for state in self._devices.values()]

    def _step(self, state: DevicePresence, event: PresenceEvent, at_ms: int, reason: str) -> None:
        after = TRANSITIONS[state.presence, event]
        if after is not state.presence:
            state.presence, state.since_ms, state.reason = after, at_ms, reason
            self._steps.append((state.device, after, at_ms, state.expect_ms))

    def _state(self, device: str) -> DevicePresence:
        self._changed.add(device)
        state = self._devices.get(device)
        if state is None:
            state = self._devices[device] = DevicePresence(device)
        return state


def session_key(client_id: str, node_id: str) -> str:
    """How a session stands in `clients`. No client id has U+0000 (MQTT 5.0 §1.5.4)."""
    return f"{client_id}\0{node_id}" if node_id else client_id


def client_of(key: str) -> str:
    return key.partition("\0")[0]


def node_of(key: str) -> str:
    """The node of a session; "" for the own one."""
    return key.partition("\0")[2]


def _copy(state: DevicePresence) -> DevicePresence:
    return replace(state, clients=dict(state.clients))


def _session_name(said: object) -> str:
    """A status's session, bounded; "" when it names none. A number is bounded before it is written out."""
    if isinstance(said, int) and not isinstance(said, bool) and abs(said) < 2**64:
        return str(said)
    return said[:_SESSION_CHARACTERS_MAX] if isinstance(said, str) else ""


def _expect_ms(said: object) -> int | None:
    """A status's `expect_s` in ms, EXPECT_MS_MIN at least; None when it says none that can be believed."""
    if isinstance(said, bool) or not isinstance(said, int | float) or not 0 < said <= EXPECT_MS_MAX / 1_000:
        return None
    return max(EXPECT_MS_MIN, round(said * 1_000))


def _seen(state: DevicePresence, at_ms: int) -> None:
    if state.last_seen_at_ms is None or at_ms > state.last_seen_at_ms:
        state.last_seen_at_ms = at_ms
