"""What `homeport rollout` takes to say which devices a rollout is for, and how it goes about it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from appliance.cli.scope_wish import scope_options
from appliance.core.errors import NotFound, UsageError
from appliance.management.rollout_plan import ON_STOP

F = TypeVar("F", bound=Callable[..., Any])
_HOURS: Final = re.compile(r"(\d\d:\d\d)-(\d\d:\d\d)(?:/([a-z,]+))?")
_PLAIN: Final = ("on_stop", "concurrency_max", "bandwidth_bytes_s", "start_spread_s")


def target_options(function: F) -> F:
    """--device, --group, --tag, --all, --except, and --hw."""
    hw = click.option("--hw", "hw", multiple=True, help="Only this kind of hardware; repeatable.")
    return scope_options(hw(function))


def plan_options(function: F) -> F:
    """--wave, --canary, --soak, … and a file for the rest."""
    for option in reversed(
        (
            click.option(
                "--wave",
                "waves",
                multiple=True,
                help="How far each wave goes: 3, 25%. Repeatable; the last is 100%.",
            ),
            click.option(
                "--canary", "canaries", multiple=True, help="A device that comes first; repeatable."
            ),
            click.option("--soak-s", type=int, help="How long a wave is watched, seconds."),
            click.option("--window", help="When devices may be started: 22:00-04:00, 22:00-04:00/sat,sun."),
            click.option("--on-stop", type=click.Choice(ON_STOP), help="What happens when too many fail."),
            click.option("--concurrency-max", type=int, help="Devices that are updated at the same time."),
            click.option("--bandwidth-bytes-s", type=int, help="Of all of them together; 0 for no limit."),
            click.option(
                "--start-spread-s", type=int, help="Devices start at a random time within this, seconds."
            ),
            click.option(
                "--plan-file",
                type=click.Path(path_type=Path),
                help="The whole plan as JSON; options change it.",
            ),
            click.option("--policy-file", type=click.Path(path_type=Path), help="The policy as JSON."),
        )
    ):
        function = option(function)
    return function


def targets_of(words: dict[str, Any]) -> dict[str, Any]:
    """The API's `targets`."""
    found: dict[str, Any] = {
        name: list(words[name]) for name in ("devices", "groups", "tags", "hw") if words[name]
    }
    if words["except_"]:
        found["except"] = list(words["except_"])
    if words["all_"]:
        found["all"] = True
    return found


def plan_of(words: dict[str, Any], plan_file: Path | None, policy_file: Path | None) -> dict[str, Any]:
    """The API's `plan` and `policy`, as far as anything was said.

    Raises:
        UsageError: `window_invalid`, `plan_file`. NotFound: no such file.
    """
    plan = _json_of(plan_file) if plan_file else {}
    plan |= {name: list(words[name]) for name in ("waves", "canaries") if words[name]}
    plan |= {name: words[name] for name in _PLAIN if words[name] is not None}
    if words["soak_s"] is not None:
        plan["gate"] = {**plan.get("gate", {}), "soak_s": words["soak_s"]}
    if words["window"] is not None:
        plan["window"] = _window_of(words["window"])
    found = {"plan": plan} if plan else {}
    return found | ({"policy": _json_of(policy_file)} if policy_file else {})


def _window_of(text: str) -> dict[str, Any]:
    found = _HOURS.fullmatch(text)
    if found is None:
        raise UsageError(
            f"“{text[:40]}” is no maintenance window.",
            hint="Write 22:00-04:00, or with the weekdays on which it begins: 22:00-04:00/sat,sun.",
            code="window_invalid",
        )
    window: dict[str, Any] = {"from": found[1], "to": found[2]}
    return window | ({"days": found[3].split(",")} if found[3] else {})


def _json_of(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except OSError as error:
        raise NotFound(f"{path} can't be read: {error.strerror}.", hint="Name the right file.") from error
    except ValueError as error:
        raise UsageError(
            f"{path} is no JSON: {error}.", hint="See docs/ROLLOUTS.md for what a plan has.", code="plan_file"
        ) from error
    if not isinstance(found, dict):
        raise UsageError(
            f"{path} holds no object.", hint="See docs/ROLLOUTS.md for what a plan has.", code="plan_file"
        )
    return found
