"""What somebody has filled in of a new rollout, step by step, as it stands in the page's address.

The address is all there is until the last step: Back and Forward work by themselves, a link can be sent to a colleague, and who leaves in
the middle leaves nothing behind. Fields keep what was typed; `targets`, `plan` and `policy` read them and say what is wrong. What is as it
usually is does not stand in the address.

Must not know: catalog, templates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Final
from urllib.parse import urlencode

from starlette.datastructures import FormData, QueryParams

from appliance.core.errors import UsageError
from appliance.core.limits_update_pages import ROLLOUT_FORM_BYTES_MAX
from appliance.core.limits_updates import ROLLOUT_NAME_LENGTH_MAX
from appliance.management.gates import Gate
from appliance.management.rollout_plan import ON_STOP, Plan, Policy, Targets
from appliance.management.stop_rule import StopRule
from appliance.management.waves import Wave
from appliance.management.windows import DAYS, Window

URL: Final = "/firmware/rollouts/new"
KIB: Final = 1024
MANY: Final = frozenset({"group", "tag", "day"})
"""Fields that may stand in the address more than once."""
STEPS: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "artifact": ("Artifact", ("artifact",)),
    "targets": ("Devices", ("all", "group", "tag", "devices", "hw", "but")),
    "waves": ("Waves", ("waves", "canaries", "success", "soak_min", "health", "stop_percent", "stop_count", "on_stop")),
    "limits": ("Window and limits", ("day", "from", "to", "concurrency", "kib_s", "spread_min", "wave_h", "deadline_d", "confirm_min")),
    "review": ("Review", ("name",)),
}  # fmt: skip
"""The steps in order: title and fields."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """The fields as text. A field's name is its name in the address, but `from_` for "from".

    Attributes:
        draft: The rollout that is edited; "" for a new one. all: "1" for every device of the site.
        devices, but, canaries: Ids, one in a line: an id may hold anything else. hw: With commas between. day: Weekdays of the window; with from_ and to empty there is none.
        wave_h, deadline_d, confirm_min, soak_min, spread_min: Hours, days, minutes. kib_s: KiB/s, 0 for no limit.
    """

    draft: str = ""
    name: str = ""
    artifact: str = ""
    all: str = ""
    group: tuple[str, ...] = ()
    tag: tuple[str, ...] = ()
    devices: str = ""
    hw: str = ""
    but: str = ""
    waves: str = "1, 5%, 25%, 100%"
    canaries: str = ""
    success: str = "95"
    soak_min: str = "30"
    health: str = "1"
    stop_percent: str = "5"
    stop_count: str = "2"
    on_stop: str = "pause"
    day: tuple[str, ...] = ()
    from_: str = ""
    to: str = ""
    concurrency: str = "50"
    kib_s: str = "0"
    spread_min: str = "1"
    wave_h: str = "24"
    deadline_d: str = "14"
    confirm_min: str = "15"

    @classmethod
    def of(cls, given: QueryParams | FormData) -> Wish:
        """From an address, or from the last step's form. What is not there is as usual.

        Raises:
            UsageError: `rollout_form_large`: more than an address holds.
        """
        found: dict[str, Any] = {}
        size = 0
        for each in fields(cls):
            key = each.name.rstrip("_")
            if key not in given:
                continue
            values = tuple(value for value in given.getlist(key) if isinstance(value, str))
            size += sum(map(len, values))
            found[each.name] = values if key in MANY else (values[-1] if values else "")
        if size > ROLLOUT_FORM_BYTES_MAX:
            raise UsageError(
                "That is more than fits into this form.",
                hint="Put the devices into a group or give them a tag, and choose that.",
                code="rollout_form_large",
            )
        return cls(**found)

    @classmethod
    def of_rollout(
        cls, *, rollout_id: str, name: str, artifact_id: str, targets: Targets, plan: Plan, policy: Policy
    ) -> Wish:
        """The form of a draft."""
        days, from_, to = plan.window.words() if plan.window else ((), "", "")
        return cls(
            draft=rollout_id,
            name=name,
            artifact=artifact_id,
            all="1" if targets.all else "",
            group=targets.groups,
            tag=targets.tags,
            devices="\n".join(targets.devices),
            hw=", ".join(targets.hw),
            but="\n".join(targets.except_),
            waves=", ".join(map(str, plan.waves)),
            canaries="\n".join(plan.canaries),
            success=str(plan.gate.success_percent),
            soak_min=_part(plan.gate.soak_s, 60),
            health="1" if plan.gate.health else "0",
            stop_percent=str(plan.stop.percent),
            stop_count=str(plan.stop.count_min),
            on_stop=plan.on_stop,
            day=days,
            from_=from_,
            to=to,
            concurrency=str(plan.concurrency_max),
            kib_s=_part(plan.bandwidth_bytes_s, KIB),
            spread_min=_part(plan.start_spread_s, 60),
            wave_h=_part(plan.wave_deadline_s, 3_600),
            deadline_d=_part(plan.deadline_s, 86_400),
            confirm_min=_part(policy.confirm_s, 60),
        )

    def pairs(self, *, without: tuple[str, ...] = ()) -> list[tuple[str, str]]:
        """What is not as usual, for an address or as hidden fields.

        Args:
            without: Fields that stand in the form by themselves.
        """
        found = []
        for each in fields(self):
            key, value = each.name.rstrip("_"), getattr(self, each.name)
            if key in without or value == each.default:
                continue
            found += [(key, one) for one in value] if isinstance(value, tuple) else [(key, value)]
        return found

    def url(self, step: str) -> str:
        """The address of a step."""
        return f"{URL}?{urlencode([('step', step), *self.pairs()])}"

    def targets(self) -> Targets:
        """Which devices. Raises UsageError: `targets_invalid`."""
        found = Targets(
            devices=_lines(self.devices),
            groups=tuple(filter(None, self.group)),
            tags=tuple(filter(None, self.tag)),
            all=self.all == "1",
            hw=_lines(self.hw.replace(",", "\n")),
            except_=_lines(self.but),
        )
        found.check()
        return found

    def plan(self) -> Plan:
        """How it goes about it. Raises UsageError: `wave_invalid`, `window_invalid`, `plan_invalid`."""
        found = replace(self._waves(), **self._limits())
        found.check()
        return found

    def policy(self) -> Policy:
        """What each device is asked for. Raises UsageError: `plan_invalid`."""
        found = Policy(confirm_s=_number("The time to prove itself", self.confirm_min, 60))
        found.check()
        return found

    def clean_name(self) -> str:
        """The rollout's name. Raises UsageError: `name_invalid`."""
        name = self.name.strip()
        if not name or len(name) > ROLLOUT_NAME_LENGTH_MAX or not name.isprintable():
            raise UsageError(
                "The rollout needs a name.",
                hint=f"Say in 1 to {ROLLOUT_NAME_LENGTH_MAX} characters what it is for.",
                code="name_invalid",
            )
        return name

    def _waves(self) -> Plan:
        found = Plan(
            waves=tuple(Wave.of(text) for text in self.waves.replace(",", " ").split()),
            canaries=_lines(self.canaries),
            gate=Gate(
                success_percent=_number("The share of successes", self.success),
                soak_s=_number("The time of soaking", self.soak_min, 60),
                health=self.health == "1",
            ),
            stop=StopRule(
                percent=_number("The share of failures", self.stop_percent),
                count_min=_number("The number of failures", self.stop_count),
            ),
            on_stop=next((each for each in ON_STOP if each == self.on_stop), "pause"),
        )
        found.check()
        return found

    def _limits(self) -> dict[str, Any]:
        window = None
        if self.from_.strip() or self.to.strip():
            window = Window.of(self.day, self.from_.strip(), self.to.strip())
        elif self.day:
            raise UsageError(
                "The maintenance window has days and no hours.",
                hint=f"Say from when to when, or tick none of {', '.join(DAYS)}.",
                code="window_invalid",
            )
        return {
            "window": window,
            "concurrency_max": _number("The number of devices at the same time", self.concurrency),
            "bandwidth_bytes_s": _number("The bandwidth", self.kib_s, KIB),
            "start_spread_s": _number("The random start", self.spread_min, 60),
            "wave_deadline_s": _number("The time of a wave", self.wave_h, 3_600),
            "deadline_s": _number("The time of the rollout", self.deadline_d, 86_400),
        }


CHECKS: Final[dict[str, Callable[[Wish], object]]] = {
    "targets": Wish.targets,
    "waves": Wish._waves,
    "limits": lambda wish: (wish.plan(), wish.policy()),
    "review": Wish.clean_name,
}
"""What a step's fields have to stand before the next one is shown; the artifact's is the catalog's business."""


def _lines(text: str) -> tuple[str, ...]:
    """What stands in the lines, each once."""
    return tuple(dict.fromkeys(filter(None, (line.strip() for line in text.splitlines()))))


def _number(what: str, text: str, factor: int = 1) -> int:
    """A number as it was typed, 30 or 0.5, times `factor`; what is too large is the plan's to refuse."""
    whole, _, rest = text.strip().replace(",", ".").partition(".")
    if (
        not (whole + rest).isascii()
        or not (whole or "0").isdigit()
        or not (rest or "0").isdigit()
        or len(whole + rest) > 9
        or not whole + rest
    ):
        raise UsageError(
            f"{what} is no number: “{text[:20]}”.", hint="Write digits only, 30 or 0.5.", code="plan_invalid"
        )  # fmt: skip
    return round(float(f"{whole or '0'}.{rest or '0'}") * factor)


def _part(value: int, unit: int) -> str:
    """The inverse of `_number`: 90 s → "1.5" minutes."""
    return f"{value / unit:.6f}".rstrip("0").rstrip(".")
