"""`homeport peer`: other boxes that hold this one's data, and whose data it holds."""

from __future__ import annotations

import sys
from typing import Any

import click

from appliance.cli.common import Context, printable, table, verb
from appliance.cli.copies_text import blobs_only_here, only_here
from appliance.cli.secret_input import confirm
from appliance.cli.times import shown_at
from appliance.core.clock import SystemClock
from appliance.core.errors import UsageError
from appliance.core.limits_replication import (
    DECOMMISSION_REASON_LENGTH_MAX,
    GRANT_REASON_LENGTH_MAX,
    INVITATION_TOKEN_LENGTH_MAX,
)
from appliance.identity.fleet_invitations import read_token
from appliance.run.first_run import prepare_folders
from appliance.run.fleet_joining import join as join_fleet
from appliance.run.peer_commands import decommission as decommission_node
from appliance.run.peer_commands import grant_epoch, list_peers, make_invitation
from appliance.run.peer_commands import invitations as waiting_invitations
from appliance.run.peer_commands import uninvite as call_invitation_off
from appliance.run.peer_reading import set_reading

_COLUMNS = {
    "name": "NAME",
    "node": "NODE",
    "site": "SITE",
    "region": "REGION",
    "link": "LINK",
    "rtt_ms": "RTT MS",
    "lag_entries": "LACKS",
    "behind_entries": "WE LACK",
    "addresses": "ADDRESSES",
    "ends": "CERTIFICATE ENDS",
}
_INVITATION_COLUMNS = {
    "shown": "INVITATION",
    "for": "FOR",
    "note": "NOTE",
    "made": "MADE",
    "ends": "ENDS",
}
_SHOWN_DIGITS = 12


@click.group()
def peer() -> None:
    """Boxes that copy each other's data: who belongs to them, who may come, who is gone for good. Works whether the appliance runs or not."""


@peer.command()
@click.option(
    "--other-site",
    is_flag=True,
    help="For a box of another site: it holds copies and gets no secrets of this one.",
)
@click.option("--note", default="", help="What the invitation is for, for people.")
@verb
def invite(context: Context, other_site: bool, note: str) -> None:
    """Invite one box and print the invitation, this once. The first invitation begins a fleet of this box."""
    config = context.config()
    prepare_folders(config)
    made = make_invitation(config, "other" if other_site else "site", note=note[:100])
    whom = (
        "a box of another site"
        if other_site
        else "a new box of this site, which gets this site's secrets: keep it as secret as a password"
    )
    context.emit(
        made,
        f"For {whom}. Good until {shown_at(made['ends_at_ms'])}, for one box, at {', '.join(made['addresses'])}.\n"
        f"On that box: homeport peer join, and this line:\n{made['token']}",
    )


@peer.command()
@click.option(
    "--replace",
    is_flag=True,
    help="Move aside what is in the data folder of a box that is to be of the same site; nothing of it is deleted.",
)
@verb
def join(context: Context, replace: bool) -> None:
    """Join the fleet of the box that made an invitation, which is read from standard input."""
    config = context.config()
    token = read_token(read_invitation())
    prepare_folders(config)
    done = join_fleet(config, token, clock=SystemClock(), replace=replace)
    lines = [f"This box is node {done.node_id} now, invited by {done.inviter.name}."]
    if done.is_same_site:
        lines.append(
            "It is of the same site and has its secrets. Start Homeport: devices, people and settings come by themselves."
        )
    else:
        lines.append("It keeps all it has, as a site of its own; copies begin when Homeport runs.")
    if done.replaced is not None:
        lines.append(f"What was there before lies in {done.replaced}; remove it when nobody misses anything.")
    context.emit(
        {
            "node_id": done.node_id,
            "site_id": done.site_id,
            "inviter": done.inviter.node_id,
            "is_same_site": done.is_same_site,
            "replaced": None if done.replaced is None else str(done.replaced),
        },
        "\n".join(lines),
    )


@peer.command("list")
@verb
def list_(context: Context) -> None:
    """List the boxes of the fleet, how their links are, and invitations that wait."""
    config = context.config()
    prepare_folders(config)
    found = list_peers(config, clock=SystemClock())
    lines = [table([_shown(node) for node in found["nodes"]], _COLUMNS)]
    if found["is_running"]:
        lines.append(only_here(found["rpo_ms"], found["unsafe_entries"]))
        if words := blobs_only_here(found["blobs"]):
            lines.append(words)
        lines += _past(found["past"])
    lines += [printable(f"{node['name']}: {node['problem']}") for node in found["nodes"] if node["problem"]]
    lines += [
        f"Invitation {each['invitation_id'][:_SHOWN_DIGITS]} for {_whom(each['kind'])}"
        f" waits until {shown_at(each['ends_at_ms'])}. {each['note']}".rstrip()
        for each in found["invitations"]
    ]
    lines.append(
        f"Fleet {found['authority']}"
        + ("" if found["can_sign"] else "; this box can't invite or decommission")
    )
    lines += [
        printable(
            f"Epoch {each['epoch']} was granted by {each['by']} on {shown_at(each['at_ms'])}. {each['reason']}".rstrip()
        )
        for each in found["grants"]
    ]
    if found["doubt"]:
        lines.append(found["doubt"])
    if not found["is_running"]:
        lines.append("The replicator does not run; links are not known.")
    context.emit(found, "\n".join(lines))


@peer.command()
@verb
def invitations(context: Context) -> None:
    """List invitations of this box by which somebody may still come."""
    config = context.config()
    prepare_folders(config)
    found = waiting_invitations(config, clock=SystemClock())
    rows = [
        {
            **each,
            "shown": each["invitation_id"][:_SHOWN_DIGITS],
            "for": _whom(each["kind"]),
            "made": shown_at(each["made_at_ms"]),
            "ends": shown_at(each["ends_at_ms"]),
        }
        for each in found
    ]
    context.emit({"invitations": found}, table(rows, _INVITATION_COLUMNS) if rows else "No invitation waits.")


@peer.command()
@click.argument("invitation")
@verb
def uninvite(context: Context, invitation: str) -> None:
    """Call INVITATION off (its id or the beginning of it): nobody can come by it any more."""
    config = context.config()
    prepare_folders(config)
    gone = call_invitation_off(config, invitation, clock=SystemClock())
    context.emit(
        gone,
        f"The invitation {gone['invitation_id'][:_SHOWN_DIGITS]} for {_whom(gone['kind'])} is called off.",
    )


@peer.command()
@click.argument("node")
@click.option("--reason", default="", help="Why, for people.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@verb
def decommission(context: Context, node: str, reason: str, yes: bool) -> None:
    """Have NODE (its name or id) be gone for good: no box of the fleet talks to it any more, and it can't come back."""
    config = context.config()
    prepare_folders(config)
    confirm(f"Decommission {node} for good?", yes=yes)
    done = decommission_node(config, node, reason[:DECOMMISSION_REASON_LENGTH_MAX], clock=SystemClock())
    context.emit(
        done, f"{done['name']} is decommissioned. Every box of the fleet hears of it; its copies stay."
    )


@peer.command()
@click.option("--reason", default="", help="Why, for people and the audit.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@verb
def grant(context: Context, reason: str, yes: bool) -> None:
    """Have this box write as its node though it can't know that no other does, and no majority of the fleet can be asked."""
    config = context.config()
    prepare_folders(config)
    confirm("Is every other box that has run as this node off, for good?", yes=yes)
    done = grant_epoch(config, reason[:GRANT_REASON_LENGTH_MAX])
    context.emit(
        done,
        f"Granted, signed with the site's key: branch {done['branch']}. Homeport goes on within seconds, or once it is started.",
    )


@peer.command("allow-reading")
@click.argument("node")
@verb
def allow_reading(context: Context, node: str) -> None:
    """Let NODE (a cloud node's name or id) read this site's devices, readings and alarms, until that is taken back."""
    _set_reading(context, node, allow=True)


@peer.command("forbid-reading")
@click.argument("node")
@verb
def forbid_reading(context: Context, node: str) -> None:
    """Have NODE (a cloud node's name or id) not read this site any more, from its next question on."""
    _set_reading(context, node, allow=False)


def _set_reading(context: Context, node: str, *, allow: bool) -> None:
    config = context.config()
    prepare_folders(config)
    done = set_reading(config, node, allow=allow)
    words = "may read this site from now on" if allow else "may not read this site any more"
    context.emit(done, printable(f"{done['name']} {words}; all boxes of the site hear of it."))


def _past(past: dict[str, Any] | None) -> list[str]:
    """How far the log's past has come, which this box was restored without."""
    if past is None:
        return []
    text = f"The log's past: {past['done']} of {past['total']} records are here"
    if past["state"] == "ready":
        return [f"{text}; it takes its place when Homeport is started the next time."]
    return [printable(f"{text}. {past['problem']}".rstrip())]


def read_invitation() -> str:
    """The invitation: typed unseen, or the first line of standard input; never from arguments, which others can read.

    Raises:
        UsageError: `invitation_missing`.
    """
    if sys.stdin.isatty():
        typed: str = click.prompt("Invitation", hide_input=True, err=True)
        return typed.strip()
    line = sys.stdin.readline(INVITATION_TOKEN_LENGTH_MAX + 1).strip()
    if not line:
        raise UsageError(
            "There is no invitation on standard input.",
            hint="Paste it at a terminal, or send it as one line: homeport peer join < FILE",
            code="invitation_missing",
        )
    return line


def _whom(kind: str) -> str:
    return "this site" if kind == "site" else "another site"


def _shown(node: dict[str, Any]) -> dict[str, Any]:
    return {
        **node,
        "node": node["node_id"][:_SHOWN_DIGITS],
        "site": "this one" if node["is_of_this_site"] else node["site_id"][:_SHOWN_DIGITS],
        "link": node["link"] if node["state"] == "admitted" else "decommissioned",
        "ends": shown_at(node["certificate_ends_at_ms"]),
    }
