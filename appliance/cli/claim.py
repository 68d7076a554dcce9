"""`homeport claim`: tokens that let devices come in by themselves."""

from __future__ import annotations

import re

import click

from appliance.cli.common import Context, table, verb
from appliance.core.errors import UsageError
from appliance.run.claim_commands import Row, claim_commands
from storage.catalog.claims import CLAIM_STATES, ClaimState, check_claim

_COLUMNS = {
    "claim_id": "CLAIM",
    "state": "STATE",
    "used": "USED",
    "device_id": "DEVICE",
    "name": "NAME",
    "groups": "GROUPS",
    "tags": "TAGS",
    "adopt": "ADOPT",
}
_UNITS_S = {"m": 60, "h": 3_600, "d": 86_400}
_LIFE = re.compile(r"([1-9][0-9]{0,7})([mhd])")


@click.group()
def claim() -> None:
    """Claims: tokens that let one device or a batch come in by themselves. Works whether the appliance runs or not."""


@claim.command()
@click.option("--name", default="", help="What the claim is for, for people.")
@click.option("--device", "device_id", default="", help="The one device that it is for.")
@click.option(
    "--count", "use_count_max", type=int, default=1, show_default=True, help="How many devices may come in."
)
@click.option("--life", default="7d", show_default=True, help="How long it is good: 30m, 12h, 7d.")
@click.option("--group", "groups", multiple=True, help="A group that they are put into; several times.")
@click.option("--tag", "tags", multiple=True, help="A tag that they get; may be given several times.")
@click.option("--adopt", is_flag=True, help="Let them in at once; otherwise they wait for adoption.")
@verb
def create(
    context: Context,
    name: str,
    device_id: str,
    use_count_max: int,
    life: str,
    groups: tuple[str, ...],
    tags: tuple[str, ...],
    adopt: bool,
) -> None:
    """Make a claim and print its token, this once."""
    life_s = _life_s(life)
    check_claim(name, device_id, groups, use_count_max, life_s * 1000)
    with claim_commands(context.config()) as commands:
        made = commands.create(
            name=name,
            device_id=device_id,
            groups=list(groups),
            tags=list(tags),
            adopt=adopt,
            use_count_max=use_count_max,
            life_s=life_s,
        )
    whom = f"the device {device_id}" if device_id else f"{use_count_max} device{'s' * (use_count_max != 1)}"
    then = "let in at once" if adopt else "waiting for your adoption then"
    context.emit(
        made,
        f"Claim {made['claim_id']} lets {whom} come in, {then}, for {life}. Its token, shown only now:\n{made['token']}",
    )


@claim.command("list")
@click.option("--state", type=click.Choice(CLAIM_STATES), help="Only those in this state.")
@verb
def list_(context: Context, state: ClaimState | None) -> None:
    """List claims, the newest first."""
    with claim_commands(context.config()) as commands:
        claims = list(commands.list(state=state))
    context.emit({"claims": claims}, table([_shown(each) for each in claims], _COLUMNS))


@claim.command()
@click.argument("claim_id")
@verb
def revoke(context: Context, claim_id: str) -> None:
    """Let nobody in by CLAIM_ID any more. Devices that came in stay."""
    with claim_commands(context.config()) as commands:
        revoked = commands.revoke(claim_id)
    context.emit(revoked, f"Claim {claim_id} is revoked; {revoked['use_count']} devices came in by it.")


def _shown(row: Row) -> Row:
    return {
        **row,
        "used": f"{row['use_count']} of {row['use_count_max']}",
        "adopt": "at once" if row["adopt"] else "waits",
    }


def _life_s(text: str) -> int:
    found = _LIFE.fullmatch(text)
    if found is None:
        raise UsageError(
            f"“{text[:20]}” is no length of time.", hint="Write a number and m, h or d: 30m, 12h, 7d."
        )
    return int(found[1]) * _UNITS_S[found[2]]
