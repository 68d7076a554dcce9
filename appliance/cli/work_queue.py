"""`homeport work-queue`: devices that need a hand after an update."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

import click

from appliance.cli.common import Context, table, verb
from appliance.cli.confirming import confirm

_COLUMNS = {
    "device_id": "DEVICE",
    "state": "STATE",
    "rollbacks": "ROLLBACKS",
    "why": "WHY",
    "next_step": "NEXT STEP",
    "acts": "ACTS",
    "execution_id": "EXECUTION",
}
_DRIFT_COLUMNS = {
    "device_id": "DEVICE",
    "version": "RUNS",
    "expected_version": "SHOULD RUN",
    "execution_id": "EXECUTION",
}
_KNOWN_BAD_COLUMNS = {
    "device_id": "DEVICE",
    "hw": "HARDWARE",
    "reason": "WHY",
    "known_bad_id": "MARK",
}
_PAGE = 1_000


@click.group("work-queue")
def work_queue() -> None:
    """Devices that an update left in need of a hand: why, what to do next, and doing it. Needs the running appliance."""


@work_queue.command("list")
@verb
def list_(context: Context) -> None:
    """List them, the longest waiting first, each with its next step."""
    rows: list[dict[str, Any]] = []
    cursor: list[tuple[str, str]] = []
    while True:
        page = context.api().get(f"/api/v1/work-queue?{urlencode([*cursor, ('limit', str(_PAGE))])}")
        rows += page["items"]
        if not page["next_cursor"]:
            break
        cursor = [("cursor", page["next_cursor"])]
    shown = [
        {
            **row,
            **row["execution"],
            "why": row["execution"]["manual_reason"] or row["execution"]["error_text"],
            "rollbacks": f"{row['execution']['rollback_attempt_count']} of {row['execution']['max_rollback_attempts']}",
            "acts": ", ".join(row["execution"]["may"]),
        }
        for row in rows
    ]
    context.emit({"items": rows}, table(shown, _COLUMNS) if rows else "Nobody needs a hand.")


@work_queue.command()
@verb
def drift(context: Context) -> None:
    """List devices that report another version than their last update ended with."""
    found = context.api().get("/api/v1/firmware/drift")
    rows = found["devices"]
    context.emit(
        found, table(rows, _DRIFT_COLUMNS) if rows else "Every device runs what its last update ended with."
    )


@work_queue.command("known-bad")
@verb
def known_bad(context: Context) -> None:
    """List images that are not offered again to a device or a kind of hardware, and why."""
    found = context.api().get("/api/v1/firmware/known-bad")
    rows = found["known_bad"]
    context.emit(
        found, table(rows, _KNOWN_BAD_COLUMNS) if rows else "Every image may be offered to every device."
    )


@work_queue.command()
@click.argument("known_bad_id", metavar="MARK")
@click.option("--reason", required=True, help="Why it may be tried again; it is in the audit.")
@verb
def forgive(context: Context, known_bad_id: str, reason: str) -> None:
    """Let an image that is known bad be offered again; MARK is the id that `known-bad` shows."""
    found = context.api().post("/api/v1/firmware/forgive", {"known_bad_id": known_bad_id, "reason": reason})
    whose = found["device_id"] or f"hardware {found['hw']}"
    context.emit(found, f"It may be offered to {whose} again.")


def _verb(name: str, path: str, summary: str, *, done: str, asks: str = "") -> None:
    """Make a verb of an act; one that can't be taken back asks first."""

    def act(context: Context, execution_id: str, reason: str, yes: bool = False) -> None:
        if asks:
            confirm(asks, execution_id, yes=yes)
        address = f"/api/v1/executions/{quote(execution_id, safe='')}/{path}"
        found = context.api().post(address, {"reason": reason})
        context.emit(found, f"{found['device_id']} {done}; it is {found['state'].replace('_', ' ')} now.")

    command = click.option("--reason", default="", help="For its history.")(verb(act))
    if asks:
        command = click.option("--yes", is_flag=True, help="Don't ask.")(command)
    work_queue.command(name, help=summary)(click.argument("execution_id")(command))


_verb("retry", "retry", "Try the update of EXECUTION_ID once more, from the beginning.", done="tries again")
_verb(
    "retry-rollback", "retry-rollback", "Have the device of EXECUTION_ID go back once more; its attempts count anew.",
    done="is to go back again",
)  # fmt: skip
_verb(
    "recovered", "mark-recovered", "Mark EXECUTION_ID recovered, by the version that its device has reported since.",
    done="is marked recovered",
)  # fmt: skip
_verb(
    "replace", "replace", "Take EXECUTION_ID out of its rollout, because its device is replaced by other hardware.",
    done="is taken out", asks="Its rollout has no part in this device any more.",
)  # fmt: skip
_verb(
    "ignore", "ignore", "Close EXECUTION_ID without knowing what its device runs; give a reason.",
    done="is let be", asks="Nobody is reminded of this device any more, whatever it runs.",
)  # fmt: skip
_verb(
    "accept",
    "accept",
    "Accept that the device of EXECUTION_ID fell back to its old version later.",
    done="stays as it is",
)
_verb(
    "cancel",
    "cancel",
    "Call EXECUTION_ID off, as long as nothing was written to its device.",
    done="is let off",
)
_verb(
    "rollback",
    "rollback",
    "Have the device of EXECUTION_ID alone go back to what it ran before.",
    done="is to go back",
)
