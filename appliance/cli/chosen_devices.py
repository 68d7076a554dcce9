"""Many devices of a verb: those of groups, tags or words, after their number was confirmed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import click

from appliance.cli.common import Context, printable, table
from appliance.cli.confirming import confirm
from appliance.core.errors import UsageError
from appliance.core.limits import PAGE_ITEM_COUNT_MAX
from appliance.run.local_api import LocalApi


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What was said of the devices: one id, or a choice of several."""

    groups: tuple[str, ...]
    tags: tuple[str, ...]
    q: str
    yes: bool

    @property
    def is_empty(self) -> bool:
        return not (self.groups or self.tags or self.q)

    def body(self) -> dict[str, Any]:
        """As the API takes it."""
        return {"groups": self.groups, "tags": self.tags, "q": self.q}


def choosing(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command --group, --tag, --filter and --yes."""
    for option in (
        click.option("--yes", is_flag=True, help="Don't ask, whatever the number of devices is."),
        click.option("--filter", "q", default="", help="Part of an id, name, serial number or tag."),
        click.option("--tag", "tags", multiple=True, help="With all of these tags."),
        click.option("--group", "groups", multiple=True, help="In any of these groups."),
    ):
        function = option(function)
    return function


def do_for_many(context: Context, target: str, chosen: Chosen, more: dict[str, Any], what: str) -> None:
    """Have the node do something with each, after asking; print what came of each.

    Args:
        target: Of the API, which does nothing when they are another number by then.
        what: What is done, to be read before the number of devices: "Send reboot to".
    Raises:
        UsageError: `devices_not_chosen`, `not_confirmed`. And as LocalApi.post.
    """
    if chosen.is_empty:
        raise UsageError(
            "No devices are chosen.",
            hint="Name one, or use --group, --tag or --filter.",
            code="devices_not_chosen",
        )
    api = context.api()
    count = _count(api, chosen)
    confirm(f"{what} {count} device{'s' * (count != 1)}.", str(count), yes=chosen.yes)
    done = api.post(target, {"devices": chosen.body(), "device_count": count, **more})
    rows = [
        {**each, "outcome": "done" if not each["code"] else printable(each["message"])}
        for each in done["items"]
    ]
    context.emit(
        done,
        f"{table(rows, {'device_id': 'DEVICE', 'command_id': 'COMMAND', 'outcome': 'OUTCOME'})}\n"
        f"Done for {done['done_count']}, not for {done['failed_count']}.",
    )


def _count(api: LocalApi, chosen: Chosen) -> int:
    query: dict[str, Any] = {
        "state": "active",
        "group": chosen.groups,
        "tag": chosen.tags,
        "q": chosen.q,
        "limit": PAGE_ITEM_COUNT_MAX,
    }
    count = 0
    while True:
        page = api.get(f"/api/v1/devices?{urlencode(query, doseq=True)}")
        count += len(page["devices"])
        if page["next_cursor"] is None:
            return count
        query["cursor"] = page["next_cursor"]
