"""`homeport rollout`: firmware for many devices, in waves (docs/ROLLOUTS.md)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import click

from appliance.cli.common import Context, printable, table, verb
from appliance.cli.confirming import confirm
from appliance.cli.rollout_wish import plan_of, plan_options, target_options, targets_of
from appliance.management.rollouts import RolloutState
from appliance.run.artifact_commands import ArtifactCommands
from appliance.run.local_api import LocalApi

_COLUMNS = {
    "rollout_id": "ROLLOUT",
    "state": "STATE",
    "name": "NAME",
    "artifact": "ARTIFACT",
    "wave": "WAVE",
    "devices": "DEVICES",
    "succeeded": "OK",
    "failed": "FAILED",
}
_WAVE_COLUMNS = {
    "wave": "WAVE",
    "device_count": "DEVICES",
    "started": "STARTED",
    "succeeded": "OK",
    "failed": "FAILED",
    "open": "OPEN",
    "states": "STATES",
}
_EXECUTION_COLUMNS = {
    "device_id": "DEVICE",
    "wave": "WAVE",
    "state": "STATE",
    "attempt": "ATTEMPT",
    "rollbacks": "ROLLBACKS",
    "execution_id": "EXECUTION",
    "why": "WHY",
}
_LEFT_OUT_COLUMNS = {"reason": "REASON", "device_count": "DEVICES", "text": "MEANS"}
_PAGE = 1_000


@click.group()
def rollout() -> None:
    """Rollouts of firmware: make, approve, start, watch, stop, roll back. Needs the running appliance."""


@rollout.command()
@click.argument("artifact")
@target_options
@click.option(
    "--wave", "waves", multiple=True, help="How far each wave goes: 3, 25%. Repeatable; the last is 100%."
)
@verb
def preview(context: Context, artifact: str, waves: tuple[str, ...], **targets: Any) -> None:
    """Say which devices a rollout of ARTIFACT (its id, or NAME@VERSION) would get, and who is left out and why."""
    words = targets_of(targets)
    artifact_id = ArtifactCommands(context.api()).find(artifact)["artifact_id"]
    query: list[tuple[str, str]] = [("artifact_id", artifact_id), *(("wave", each) for each in waves)]
    for name, parameter in (
        ("devices", "device"),
        ("groups", "group"),
        ("tags", "tag"),
        ("hw", "hw"),
        ("except", "except"),
    ):
        query += [(parameter, each) for each in words.get(name, ())]
    if words.get("all"):
        query.append(("all", "true"))
    found = context.api().get(f"/api/v1/rollouts/preview?{urlencode(query)}")
    waves_text = " + ".join(str(size) for size in found["wave_sizes"]) or "none"
    approval = " A second person has to approve it." if found["needs_approval"] else ""
    text = f"{found['device_count']} devices to update, by wave: {waves_text}; {found['already_count']} run it already.{approval}"
    if found["left_out"]:
        text += f"\nLeft out:\n{table(found['left_out'], _LEFT_OUT_COLUMNS)}"
    context.emit(found, text)


@rollout.command()
@click.argument("name")
@click.argument("artifact")
@target_options
@plan_options
@verb
def create(
    context: Context,
    name: str,
    artifact: str,
    plan_file: Path | None,
    policy_file: Path | None,
    **words: Any,
) -> None:
    """Make a draft called NAME that brings ARTIFACT (its id, or NAME@VERSION) to devices."""
    artifact_id = ArtifactCommands(context.api()).find(artifact)["artifact_id"]
    wish: dict[str, Any] = {"name": name, "artifact_id": artifact_id, "targets": targets_of(words)}
    wish |= plan_of(words, plan_file, policy_file)
    made = context.api().post("/api/v1/rollouts", wish)
    context.emit(
        made,
        f"Rollout {made['rollout_id']} is a draft. `homeport rollout submit {made['rollout_id']}` says that it is done.",
    )


@rollout.command("list")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([state.value for state in RolloutState]),
    help="Only those; repeatable.",
)
@verb
def list_(context: Context, states: tuple[str, ...]) -> None:
    """List rollouts, the newest first."""
    rows = list(_pages(context.api(), "/api/v1/rollouts", "rollouts", [("state", each) for each in states]))
    context.emit({"rollouts": rows}, table([_row(each) for each in rows], _COLUMNS))


@rollout.command()
@click.argument("rollout_id")
@verb
def show(context: Context, rollout_id: str) -> None:
    """Show ROLLOUT_ID with how its waves stand."""
    found = context.api().get(_address(rollout_id))
    waves = [
        {
            **wave,
            "wave": wave["wave"] + 1,
            "states": ", ".join(f"{n} {name}" for name, n in wave["by_state"].items()),
        }
        for wave in found["waves"]
    ]
    artifact = found["artifact"]
    facts = [
        f"{found['name']}: {artifact['name']} {artifact['version']}, {_words(found['state'])}",
        *([found["reason"]] if found["reason"] else []),
        f"Made by {found['created_by']}, {_approved(found)}.",
        f"What can be done now: {', '.join(_words(each) for each in found['may']) or 'nothing'}.",
    ]
    context.emit(found, "\n".join([*map(printable, facts), table(waves, _WAVE_COLUMNS)]))


@rollout.command()
@click.argument("rollout_id")
@click.option("--state", "states", multiple=True, help="Only those in this state; repeatable.")
@verb
def executions(context: Context, rollout_id: str, states: tuple[str, ...]) -> None:
    """List the devices of ROLLOUT_ID and how far each is."""
    query = [("state", each) for each in states]
    rows = list(_pages(context.api(), _address(rollout_id) + "/executions", "executions", query))
    context.emit({"executions": rows}, table([execution_row(each) for each in rows], _EXECUTION_COLUMNS))


@rollout.command()
@click.argument("rollout_id")
@verb
def submit(context: Context, rollout_id: str) -> None:
    """Say that the draft ROLLOUT_ID is done: it waits for a second person, or is ready."""
    _act(context, rollout_id, "submit")


@rollout.command()
@click.argument("rollout_id")
@verb
def approve(context: Context, rollout_id: str) -> None:
    """Approve ROLLOUT_ID, which somebody else made. The command line of the box counts as one person, `local`."""
    _act(context, rollout_id, "approve")


@rollout.command()
@click.argument("rollout_id")
@click.option("--reason", default="", help="For whoever made it.")
@verb
def refuse(context: Context, rollout_id: str, reason: str) -> None:
    """Send ROLLOUT_ID, which has not started, back to be a draft."""
    _act(context, rollout_id, "refuse", {"reason": reason})


@rollout.command()
@click.argument("rollout_id")
@verb
def start(context: Context, rollout_id: str) -> None:
    """Choose the devices of ROLLOUT_ID, and begin with the first wave."""
    _act(context, rollout_id, "start")


@rollout.command()
@click.argument("rollout_id")
@click.option("--reason", default="", help="For whoever looks at it later.")
@verb
def pause(context: Context, rollout_id: str, reason: str) -> None:
    """Halt whoever has not begun to install in ROLLOUT_ID; the others finish."""
    _act(context, rollout_id, "pause", {"reason": reason})


@rollout.command()
@click.argument("rollout_id")
@verb
def resume(context: Context, rollout_id: str) -> None:
    """Go on with ROLLOUT_ID; the failures so far are accepted by that."""
    _act(context, rollout_id, "resume")


@rollout.command()
@click.argument("rollout_id")
@click.option("--reason", default="", help="For whoever looks at it later.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@verb
def abort(context: Context, rollout_id: str, reason: str, yes: bool) -> None:
    """Stop ROLLOUT_ID for good: whoever has not begun to install is let off."""
    count = context.api().get(_address(rollout_id))["abort_count"]
    confirm(f"{count} devices of {rollout_id} are let off.", str(count), yes=yes)
    _act(context, rollout_id, "abort", {"confirm_count": count, "reason": reason})


@rollout.command()
@click.argument("rollout_id")
@click.option(
    "--from-wave", type=click.IntRange(1), help="From this wave on; the current one if left out, 1 for all."
)
@click.option("--reason", default="", help="For whoever looks at it later.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@verb
def rollback(context: Context, rollout_id: str, from_wave: int | None, reason: str, yes: bool) -> None:
    """Have the devices of ROLLOUT_ID go back to what they ran before."""
    found = context.api().get(_address(rollout_id))
    wave = found["wave"] if from_wave is None else from_wave - 1
    count = next((each["rollback_count"] for each in found["waves"] if each["wave"] == wave), 0)
    confirm(
        f"{count} devices of {rollout_id} go back, of wave {wave + 1} and later ones.", str(count), yes=yes
    )
    _act(context, rollout_id, "rollback", {"confirm_count": count, "from_wave": wave, "reason": reason})


@rollout.command("retry-failed")
@click.argument("rollout_id")
@verb
def retry_failed(context: Context, rollout_id: str) -> None:
    """Try the devices of ROLLOUT_ID that failed or ran out of time once more."""
    done = context.api().post(_address(rollout_id) + "/retry-failed", {})
    context.emit(done, f"{done['retried_count']} devices try again, {done['left_count']} could not.")


@rollout.command("raise-fence")
@click.option("--yes", is_flag=True, help="Don't ask.")
@verb
def raise_fence(context: Context, yes: bool) -> None:
    """Void whatever a box of before may still say to devices, after it was replaced by other means than a restore."""
    confirm("Devices that obey this box refuse orders of any other one from now on.", "raise", yes=yes)
    done = context.api().post("/api/v1/firmware/raise-fence", {})
    context.emit(done, f"The fence is {done['fence']}.")


def execution_row(execution: dict[str, Any]) -> dict[str, Any]:
    """An execution as a table shows it."""
    return {
        **execution,
        "wave": execution["wave"] + 1,
        "attempt": f"{execution['attempt']} of {execution['max_attempts']}",
        "rollbacks": f"{execution['rollback_attempt_count']} of {execution['max_rollback_attempts']}",
        "why": execution["manual_reason"] or execution["error_text"] or execution["error"],
    }


def _act(context: Context, rollout_id: str, name: str, body: Any = None) -> None:
    done = context.api().post(f"{_address(rollout_id)}/{name}", body)
    context.emit(done, f"Rollout {rollout_id} is {_words(done['state'])}.")


def _pages(api: LocalApi, path: str, member: str, query: list[tuple[str, str]]) -> Iterator[dict[str, Any]]:
    cursor: list[tuple[str, str]] = []
    while True:
        page = api.get(f"{path}?{urlencode([*query, *cursor, ('limit', str(_PAGE))])}")
        yield from page[member]
        if not page["next_cursor"]:
            return
        cursor = [("cursor", page["next_cursor"])]


def _row(found: dict[str, Any]) -> dict[str, Any]:
    waves = found["waves"]
    return {
        **found,
        "state": _words(found["state"]),
        "artifact": f"{found['artifact']['name']} {found['artifact']['version']}",
        "wave": f"{found['wave'] + 1} of {len(waves)}" if waves else "",
        "devices": found["device_count"] or "",
        "succeeded": sum(wave["succeeded"] for wave in waves) if waves else "",
        "failed": sum(wave["failed"] for wave in waves) if waves else "",
    }


def _approved(found: dict[str, Any]) -> str:
    return f"approved by {found['approved_by']}" if found["approved_by"] else "approved by nobody else"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _address(rollout_id: str) -> str:
    return f"/api/v1/rollouts/{quote(rollout_id, safe='')}"
