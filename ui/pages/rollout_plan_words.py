"""A rollout's plan as sentences: what an operator reads before it starts, and while it runs.

Must not know: catalog, templates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from appliance.management.rollout_plan import Plan, Policy, Targets
from appliance.management.waves import Wave
from appliance.management.windows import DAYS, Window
from ui.pages.format import bytes_text, duration_text, plural

DAY_WORDS: Final = dict(
    zip(DAYS, ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"), strict=True)
)
ON_STOP_WORDS: Final = {
    "pause": "pause, and let somebody decide",
    "rollback_wave": "send the wave's devices back to the version before",
    "rollback_all": "send all its devices back to the version before",
}


def waves_text(waves: Sequence[Wave]) -> str:
    """(1, 5 %, 100 %) → "First 1 device, then up to 5 % of all, then the rest."."""
    parts = [reach_text(wave) for wave in waves[:-1]]
    if not parts:
        return "All devices at once."
    return f"First {parts[0]}" + "".join(f", then up to {part}" for part in parts[1:]) + ", then the rest."


def gate_text(plan: Plan) -> str:
    """What has to be so before the next wave."""
    gate = plan.gate
    soak = f"{_time(gate.soak_s)} have passed" if gate.soak_s else ""
    health = "the updated devices are as well as before their update" if gate.health else ""
    parts = [f"at least {gate.success_percent} % of those started have succeeded", soak, health]
    return f"A wave is followed by the next when {_joined([part for part in parts if part])}."


def stop_text(plan: Plan) -> str:
    """When it stops by itself, and what happens then."""
    stop = plan.stop
    return (
        f"It stops by itself at the first failure in the first wave, and after that when {plural(stop.count_min, 'device')}"
        f" or {stop.percent} % of those started have failed, whichever is more. Then: {ON_STOP_WORDS[plan.on_stop]}."
    )


def window_text(window: Window | None) -> str:
    """When devices are started."""
    if window is None:
        return "At any time."
    days, from_, to = window.words()
    when = "every day" if len(days) == len(DAYS) else _joined([DAY_WORDS[day] for day in days])
    return f"From {from_} to {to}{' of the next day' if to <= from_ else ''}, {when}, in the site's time."


def limits_text(plan: Plan, policy: Policy) -> tuple[str, ...]:
    """The rest, a sentence each."""
    speed = (
        f"{bytes_text(plan.bandwidth_bytes_s)}/s together"
        if plan.bandwidth_bytes_s
        else "no limit of its own"
    )
    start = (
        f"within {_time(plan.start_spread_s)} after its turn came" if plan.start_spread_s else "at its turn"
    )
    return (
        f"At most {plural(plan.concurrency_max, 'device')} at the same time; bandwidth: {speed}.",
        f"A device starts {start}.",
        f"After {_time(plan.wave_deadline_s)} a wave goes on without devices that stay away;"
        f" after {_time(plan.deadline_s)} whoever was not updated is given up.",
        f"A device has {_time(policy.confirm_s)} to prove itself after the reboot,"
        f" {plural(policy.max_attempts, 'attempt')} to install and {policy.max_rollback_attempts} to go back.",
    )  # fmt: skip


def targets_text(targets: Targets) -> str:
    """Which devices are meant."""
    parts = [
        *([f"devices in the group {_joined(targets.groups, 'or')}"] if targets.groups else []),
        *([f"devices with the tag {_joined(targets.tags, 'or')}"] if targets.tags else []),
        *([plural(len(targets.devices), "device") + " by name"] if targets.devices else []),
    ]
    text = "All devices" if targets.all else _joined(parts)
    text = text[:1].upper() + text[1:]
    if targets.hw:
        text += f", of the hardware {_joined(targets.hw, 'or')} only"
    if targets.except_:
        text += f", without {plural(len(targets.except_), 'device')} by name"
    return text + "."


def reach_text(wave: Wave) -> str:
    """How far a wave goes."""
    return f"{wave.amount} % of all" if wave.is_percent else plural(wave.amount, "device")


def _joined(parts: Sequence[str], word: str = "and") -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {word} {parts[-1]}"


def _time(seconds: int) -> str:
    """24 h rather than 24.0 h: these are round numbers that people chose."""
    return duration_text(seconds * 1_000).replace(".0 ", " ")
