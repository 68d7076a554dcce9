"""What makes a device manageable, of one boot: slots, update agent, twin and commands behind one door. Pure, above `Flash`.

The device hands on what arrives and when it is connected, and carries out the acts. `boot` is what the power does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

from device_fw_sim.acts import Act
from device_fw_sim.agent import Agent
from device_fw_sim.commands import Commands
from device_fw_sim.events import Moment
from device_fw_sim.flash import FaultyFlash, Flash
from device_fw_sim.image import Behaviour, Image
from device_fw_sim.messages import Firmware
from device_fw_sim.slots import Slots
from device_fw_sim.twin import Twin
from device_fw_sim.work import AgentOptions


class Boot(Enum):
    """How a boot ends."""

    UP = "up"
    CRASHED = "crashed"
    """The bootloader has another try, or goes back."""
    HUNG = "hung"
    """Nothing happens until the power is taken away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagedOptions:
    """What a device is before its first update.

    Args:
        device_id: Its topics are below `dm/{device_id}/`.
        factory: Image in slot A.
        agent: How it takes updates.
        interval_ms: Between two readings at first.
    """

    device_id: str
    factory: Image
    agent: AgentOptions
    interval_ms: int = 5_000


class Managed:
    """One device's firmware side, over all its boots.

    Args:
        options: What it is.
        flash: What survives.
    """

    def __init__(self, options: ManagedOptions, flash: Flash) -> None:
        self.options = options
        self.flash = FaultyFlash(flash)
        self._prefix = f"dm/{options.device_id}/"
        self._slots: Slots | None = None
        self._agent: Agent | None = None
        self._twin: Twin | None = None
        self._commands: Commands | None = None

    # --- Power -----------------------------------------------------------------------------------------

    def boot(self, boot_id: str, now: Moment, *, spoiled_by: Behaviour | None = None) -> Boot:
        """Start what the bootloader chooses. Everything in RAM is gone.

        Args:
            boot_id: New.
            spoiled_by: A fault of this device: an image on trial behaves like this, whatever it is.
        Raises:
            PowerCut: in a write, like every verb.
        """
        self._agent = self._twin = self._commands = None
        slots = self._slots = Slots(self.flash, self.options.factory)
        header = slots.boot()
        behaviour = header.behaviour
        if spoiled_by is not None and not slots.is_confirmed:
            behaviour = spoiled_by
        if behaviour is Behaviour.BOOT_LOOP:
            return Boot.CRASHED
        if behaviour is Behaviour.HANG:
            return Boot.HUNG
        options = self.options
        self._twin = Twin(self.flash, interval_ms=options.interval_ms)
        agent = self._agent = Agent(self.flash, slots, options.agent, boot_id=boot_id, now=now)
        identity = {"device": options.device_id, "hw": options.agent.hardware, "version": header.version}
        self._commands = Commands(self.flash, agent.guard, self._twin, identity)
        return Boot.UP

    # --- Queries ---------------------------------------------------------------------------------------

    @property
    def slots(self) -> Slots:
        """The bootloader's view; there is one from the first boot on."""
        assert self._slots is not None, "it was never booted"
        return self._slots

    @property
    def is_up(self) -> bool:
        """Whether the firmware runs."""
        return self._agent is not None

    @property
    def agent(self) -> Agent:
        """The agent of this boot; there is one while the device is up."""
        assert self._agent is not None, "it is not up"
        return self._agent

    @property
    def firmware(self) -> Firmware:
        """What the status reports."""
        return self.slots.firmware()

    @property
    def running_version(self) -> str:
        """Version of what runs, with a question mark while it is on trial; "" before the first boot."""
        if self._slots is None:
            return ""
        firmware = self._slots.firmware()
        return firmware.version + ("" if firmware.confirmed else "?")

    @property
    def interval_ms(self) -> int:
        """Between two readings."""
        return self.options.interval_ms if self._twin is None else self._twin.interval_ms

    @property
    def takes_readings(self) -> bool:
        """Whether what runs takes any."""
        return self.slots.header.behaviour is not Behaviour.NO_READINGS

    @property
    def filters(self) -> tuple[str, ...]:
        """What to subscribe to at every connect."""
        return tuple(f"{self._prefix}{each}" for each in ("jobs/#", "shadow/#", "streams/#", "cmd/+"))

    def topic(self, suffix: str) -> str:
        """The topic of an act's request."""
        return f"{self._prefix}{suffix}"

    # --- Events and time -------------------------------------------------------------------------------

    def next_deadline_ms(self) -> int | None:
        """Monotonic ms when `on_deadline` wants to be called."""
        return None if self._agent is None else self._agent.next_deadline_ms()

    def on_deadline(self, now: Moment) -> list[Act]:
        """Do what is due."""
        return self._agent_acts(lambda agent: agent.on_deadline(now))

    def connected(self, now: Moment) -> list[Act]:
        """Status and subscription are on their way."""
        twin = [] if self._twin is None else self._twin.connected()
        return [*self._agent_acts(lambda agent: agent.connected(now)), *twin]

    def disconnected(self, now: Moment) -> list[Act]:
        """There is no connection any more."""
        return self._agent_acts(lambda agent: agent.disconnected(now))

    def acknowledged(self, now: Moment) -> list[Act]:
        """One more reading of this boot is on the box's disk."""
        return self._agent_acts(lambda agent: agent.acknowledged(1, now))

    def fetched(self, data: bytes, now: Moment) -> list[Act]:
        """Bytes over HTTPS, b"" at their end."""
        return self._agent_acts(lambda agent: agent.fetched(data, now))

    def received(self, topic: str, payload: bytes, now: Moment) -> list[Act]:
        """A message; one that isn't for this device changes nothing."""
        return list(self._received(topic, payload, now))

    def _received(self, topic: str, payload: bytes, now: Moment) -> Iterator[Act]:
        if not topic.startswith(self._prefix) or self._twin is None or self._commands is None:
            return
        suffix = topic.removeprefix(self._prefix)
        match suffix.split("/"):
            case ["shadow", *rest]:
                yield from self._twin.received(rest, payload)
            case ["cmd", request_id]:
                yield from self._commands.received(request_id, payload, now.wall_ms)
            case _:
                yield from self._agent_acts(lambda agent: agent.received(suffix, payload, now))

    def _agent_acts(self, verb: Callable[[Agent], list[Act]]) -> list[Act]:
        return [] if self._agent is None else verb(self._agent)
