"""`homeport dead-letter`: messages that could not be turned into readings, and reading them again."""

from __future__ import annotations

import time
from typing import Any, Final
from urllib.parse import urlencode

import click

from appliance.cli.common import Context, printable, table, verb
from appliance.cli.times import shown_at
from appliance.core.errors import Unavailable, UsageError
from appliance.core.limits import LETTER_GROUP_COUNT_MAX

_GROUPS: Final = {
    "count": "COUNT",
    "reason": "REASON",
    "pattern": "TOPIC",
    "first": "FIRST",
    "last": "LAST",
    "sample_detail": "OF THE NEWEST",
}
_LETTERS: Final = {
    "position": "RECORD",
    "received": "ARRIVED",
    "reason": "REASON",
    "topic": "TOPIC",
    "payload_bytes": "BYTES",
    "detail": "DETAIL",
}
POLL_S: Final = 0.3


@click.group("dead-letter")
def dead_letter() -> None:
    """Dead letters: list them, read them again after a mapping was mended. Needs the running appliance."""


@dead_letter.command("list")
@click.option("--each", is_flag=True, help="Every letter, the newest first, instead of groups.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, LETTER_GROUP_COUNT_MAX))
@verb
def list_(context: Context, each: bool, limit: int) -> None:
    """List dead letters by reason and topic, the group with the newest first."""
    api, query = context.api(), urlencode({"limit": limit})
    if each:
        found = api.get(f"/api/v1/dead-letters?{query}")
        rows = [_letter(letter) for letter in found["dead_letters"]]
        context.emit(found, table(rows, _LETTERS))
        return
    found = api.get(f"/api/v1/dead-letters/groups?{query}")
    context.emit(found, table([_group(group) for group in found["groups"]], _GROUPS))


@dead_letter.command()
@click.option("--reason", default="", help="Only those of a reason, such as bad_json.")
@click.option("--topic", default="", help="Only those of a pattern, as the list shows it.")
@click.option("--device", default="", help="Only those of a device.")
@click.option("--all", "every", is_flag=True, help="All of them.")
@click.option(
    "--timeout",
    "timeout_s",
    default=60,
    show_default=True,
    type=click.IntRange(0, 3_600),
    help="Seconds to wait for it.",
)
@verb
def replay(context: Context, reason: str, topic: str, device: str, every: bool, timeout_s: int) -> None:
    """Read dead letters again by the mappings that hold now. What can't be read still stays."""
    if every == bool(reason or topic or device):
        raise UsageError(
            "Say which dead letters.", hint="Give --reason, --topic or --device, or --all and none of them."
        )
    api = context.api()
    wish = {"reason": reason, "pattern": topic, "device_id": device}
    found: dict[str, Any] = api.post("/api/v1/dead-letters/replays", wish)
    until_s = time.monotonic() + timeout_s
    while found["state"] == "requested" and time.monotonic() < until_s:
        time.sleep(POLL_S)
        found = api.get(f"/api/v1/dead-letters/replays/{found['replay_id']}")
    if found["state"] == "requested" and timeout_s:
        raise Unavailable(
            f"The replay {found['replay_id']} is not done yet: {found['letter_count']} letters so far.",
            hint="It goes on by itself, when the store has come to the newest mappings; the page Dead letters shows it.",
            code="replay_waits",
        )
    context.emit(
        found,
        f"{found['letter_count']} dead letters were read again: {found['message_count']} became {found['row_count']} readings, "
        f"{found['still_dead']} stay.",
    )


def _group(group: dict[str, Any]) -> dict[str, Any]:
    shown = {key: printable(group[key]) for key in ("count", "reason", "pattern", "sample_detail")}
    return {**shown, "first": shown_at(group["first_at_ms"]), "last": shown_at(group["last_at_ms"])}


def _letter(letter: dict[str, Any]) -> dict[str, Any]:
    shown = {key: printable(letter[key]) for key in ("reason", "topic", "payload_bytes", "detail")}
    return {
        **shown,
        "position": f"{letter['epoch']}:{letter['seq']}",
        "received": shown_at(letter["received_at_ms"]),
    }
