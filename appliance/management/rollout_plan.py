"""What a rollout is to do: its devices, its waves and what is between them, what each device is asked for. Pure.

Each of the three is kept as JSON in the rollout's row; `to_json` and `of_json` are each other's inverse, and what a person wrote is
checked by `check`.

Must not know: tables, devices, time.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal, get_args

from appliance.core.errors import UsageError
from appliance.core.limits_updates import (
    ROLLOUT_BANDWIDTH_BYTES_S_MAX,
    ROLLOUT_CANARY_COUNT_MAX,
    ROLLOUT_CONCURRENCY_DEFAULT,
    ROLLOUT_CONCURRENCY_MAX,
    ROLLOUT_DEADLINE_S_MAX,
    ROLLOUT_SOAK_S_MAX,
    ROLLOUT_START_SPREAD_S_MAX,
    ROLLOUT_TARGET_WORD_COUNT_MAX,
    ROLLOUT_WAVE_DEADLINE_S_MAX,
)
from appliance.management.gates import Gate
from appliance.management.stop_rule import StopRule
from appliance.management.waves import DEFAULT_WAVES, Wave, check_waves
from appliance.management.windows import Window

OnStop = Literal["pause", "rollback_wave", "rollback_all"]
ON_STOP: Final[tuple[OnStop, ...]] = get_args(OnStop)
DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """Which devices a rollout is for: those named, in any of the groups, or with any of the tags.

    Attributes:
        all: Every device of the site, in place of devices, groups and tags.
        hw: Only of these kinds of hardware; none for any. except_: Device ids that are left out.
    """

    devices: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    all: bool = False
    hw: tuple[str, ...] = ()
    except_: tuple[str, ...] = ()

    def check(self) -> None:
        """Raises UsageError: `targets_invalid`."""
        chosen = bool(self.devices or self.groups or self.tags)
        if not chosen and not self.all:
            raise UsageError(
                "The rollout names no devices.",
                hint="Name devices, groups or tags, or say that all devices are meant.",
                code="targets_invalid",
            )
        if chosen and self.all:
            raise UsageError(
                "The rollout is for all devices, and names some as well.",
                hint="Leave one of the two out; “except” and “hw” narrow all devices down.",
                code="targets_invalid",
            )
        for words in (self.devices, self.groups, self.tags, self.hw, self.except_):
            if len(words) > ROLLOUT_TARGET_WORD_COUNT_MAX:
                raise UsageError(
                    f"The rollout names more than {ROLLOUT_TARGET_WORD_COUNT_MAX} of a kind.",
                    hint="Put the devices into a group, and name the group.",
                    code="targets_invalid",
                )

    def to_json(self) -> dict[str, Any]:
        """As the row keeps it."""
        return {
            "devices": list(self.devices),
            "groups": list(self.groups),
            "tags": list(self.tags),
            "all": self.all,
            "hw": list(self.hw),
            "except": list(self.except_),
        }

    @classmethod
    def of_json(cls, found: dict[str, Any]) -> Targets:
        """What `to_json` gave; a member that is missing is as usual."""
        return cls(
            devices=tuple(found.get("devices", ())),
            groups=tuple(found.get("groups", ())),
            tags=tuple(found.get("tags", ())),
            all=found.get("all", False),
            hw=tuple(found.get("hw", ())),
            except_=tuple(found.get("except", ())),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a rollout goes about it.

    Attributes:
        canaries: Device ids that come first.
        on_stop: What happens when the stop rule fires.
        concurrency_max: Devices that are updated at the same time.
        bandwidth_bytes_s: All of them together, 0 for no limit of the rollout's own.
        start_spread_s: A device starts at a random time within this after its turn came.
        window: When devices may be started; None for always.
        wave_deadline_s: After which a wave goes on without devices that stay away.
        deadline_s: After which whoever was not updated is given up.
    """

    waves: tuple[Wave, ...] = DEFAULT_WAVES
    canaries: tuple[str, ...] = ()
    gate: Gate = field(default_factory=Gate)
    stop: StopRule = field(default_factory=StopRule)
    on_stop: OnStop = "pause"
    concurrency_max: int = ROLLOUT_CONCURRENCY_DEFAULT
    bandwidth_bytes_s: int = 0
    start_spread_s: int = 60
    window: Window | None = None
    wave_deadline_s: int = DAY_S
    deadline_s: int = 14 * DAY_S

    def check(self) -> None:
        """Raises UsageError: `wave_invalid`, `plan_invalid`."""
        check_waves(self.waves)
        if len(self.canaries) > ROLLOUT_CANARY_COUNT_MAX:
            raise _refused(f"a rollout names at most {ROLLOUT_CANARY_COUNT_MAX} devices that come first")
        _within("success_percent", self.gate.success_percent, 1, 100)
        _within("soak_s", self.gate.soak_s, 0, ROLLOUT_SOAK_S_MAX)
        _within("percent of the stop rule", self.stop.percent, 1, 100)
        _within("count_min of the stop rule", self.stop.count_min, 1, 1_000)
        _within("executed_min of the stop rule", self.stop.executed_min, 1, 1_000)
        _within("concurrency_max", self.concurrency_max, 1, ROLLOUT_CONCURRENCY_MAX)
        _within("bandwidth_bytes_s", self.bandwidth_bytes_s, 0, ROLLOUT_BANDWIDTH_BYTES_S_MAX)
        _within("start_spread_s", self.start_spread_s, 0, ROLLOUT_START_SPREAD_S_MAX)
        _within("wave_deadline_s", self.wave_deadline_s, 60, ROLLOUT_WAVE_DEADLINE_S_MAX)
        _within("deadline_s", self.deadline_s, 3_600, ROLLOUT_DEADLINE_S_MAX)

    def to_json(self) -> dict[str, Any]:
        """As the row keeps it."""
        window = None
        if self.window is not None:
            days, from_, to = self.window.words()
            window = {"days": list(days), "from": from_, "to": to}
        return {
            "waves": [str(wave) for wave in self.waves],
            "canaries": list(self.canaries),
            "gate": asdict(self.gate),
            "stop": asdict(self.stop),
            "on_stop": self.on_stop,
            "concurrency_max": self.concurrency_max,
            "bandwidth_bytes_s": self.bandwidth_bytes_s,
            "start_spread_s": self.start_spread_s,
            "window": window,
            "wave_deadline_s": self.wave_deadline_s,
            "deadline_s": self.deadline_s,
        }

    @classmethod
    def of_json(cls, found: dict[str, Any]) -> Plan:
        """What `to_json` gave; a member that is missing is as usual."""
        plain = (
            "on_stop",
            "concurrency_max",
            "bandwidth_bytes_s",
            "start_spread_s",
            "wave_deadline_s",
            "deadline_s",
        )
        values: dict[str, Any] = {name: found[name] for name in plain if name in found}
        if "waves" in found:
            values["waves"] = tuple(Wave.of(text) for text in found["waves"])
        if window := found.get("window"):
            values["window"] = Window.of(tuple(window["days"]), window["from"], window["to"])
        return cls(
            canaries=tuple(found.get("canaries", ())),
            gate=Gate(**found.get("gate", {})),
            stop=StopRule(**found.get("stop", {})),
            **values,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What each device is asked for: how long it may take to boot and to prove itself, and how often it tries."""

    confirm_s: int = 900
    reboot_s: int = 600
    max_attempts: int = 3
    max_rollback_attempts: int = 3

    def check(self) -> None:
        """Raises UsageError: `plan_invalid`."""
        _within("confirm_s", self.confirm_s, 10, DAY_S)
        _within("reboot_s", self.reboot_s, 10, DAY_S)
        _within("max_attempts", self.max_attempts, 1, 10)
        _within("max_rollback_attempts", self.max_rollback_attempts, 1, 10)

    def to_json(self) -> dict[str, Any]:
        """As the row keeps it."""
        return asdict(self)

    @classmethod
    def of_json(cls, found: dict[str, Any]) -> Policy:
        """What `to_json` gave; a member that is missing is as usual."""
        return cls(**found)


def _within(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise _refused(f"{name} is {least} to {most}, not {value}")


def _refused(why: str) -> UsageError:
    return UsageError(
        f"The plan can't be used: {why}.", hint="Leave it out for the usual value.", code="plan_invalid"
    )
