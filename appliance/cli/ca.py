"""`homeport ca`: the site's certificate authority."""

from __future__ import annotations

from pathlib import Path

import click

from appliance.cli.certificate import day
from appliance.cli.common import Context, verb
from appliance.cli.recovery_kit import read_kit
from appliance.cli.secret_input import confirm
from appliance.core.errors import NotFound
from appliance.run import layout
from appliance.run.certificate_commands import certificate_commands

_HOLDER = "homeport ca"
_SIGNERS = {
    "site": "signed by that authority",
    "itself": "signed by itself, from before there was that authority (homeport ca sign-box)",
    "former": "of a site that it belonged to before; a start replaces it",
    "other": "signed by somebody else, and kept",
}


@click.group()
def ca() -> None:
    """The certificate authorities of this site: the one that signs devices' certificates, and the one that signs boxes' own."""


@ca.command()
@verb
def show(context: Context) -> None:
    """What the authority is, how long it is good, and whether the recovery kit is kept."""
    with certificate_commands(context.config(), holder=_HOLDER) as commands:
        found = commands.authority()
    issuing = found["issuing"]
    lines = [
        f"root: until {day(found['root']['not_after_at_ms'])}, SHA-256 {found['root']['fingerprint']}",
        f"issuing authority: until {day(issuing['not_after_at_ms'])}, key {issuing['generation']}, id {issuing['key_id']}",
    ]
    servers = found["servers"]
    lines.append(f"authority for boxes: SHA-256 {servers['fingerprint']}")
    lines.append(
        f"this box's own certificate: until {day(servers['box_not_after_at_ms'])}, {_SIGNERS[servers['box_signer']]}"
    )
    if issuing["is_due"]:
        lines.append("It should be renewed: fetch the recovery kit and run homeport ca renew FILE.")
    if "certificates" in found:
        counts = found["certificates"]
        lines.append(f"certificates: {counts['valid']} valid, {counts['revoked']} revoked")
        lines.append(
            f"devices whose last certificate ends soon: {counts['devices_ending']}, has ended: {counts['devices_ended']}"
        )
    kit = (
        "not kept anywhere yet: homeport recovery-kit show" if found["recovery_kit_pending"] else "confirmed"
    )
    lines.append(f"recovery kit: {kit}")
    context.emit(found, "\n".join(lines))


@ca.command()
@verb
def chain(context: Context) -> None:
    """Print the certificates that verify devices' (PEM): the issuing authority's, then the root's."""
    _print(context, layout.devices_ca(context.config()), "chain")


@ca.command()
@verb
def crl(context: Context) -> None:
    """Print the revocation list (PEM)."""
    _print(context, layout.devices_crl(context.config()), "crl")


@ca.command()
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "--new-key", is_flag=True, help="Make another key, too: every certificate of the old one is void at once."
)
@verb
def renew(context: Context, file: Path, new_key: bool) -> None:
    """Renew the issuing authority for 5 years with the recovery kit in FILE (- for standard input)."""
    kit = read_kit(file)
    with certificate_commands(context.config(), holder=_HOLDER) as commands:
        renewed = commands.renew(kit, new_key=new_key)
    issuing = renewed["issuing"]
    text = f"The issuing authority is good until {day(issuing['not_after_at_ms'])}."
    if new_key:
        text += f" Its key is number {issuing['generation']}: write that on the recovery kit. Every device must enrol again."
    context.emit(renewed, text)


@ca.command("sign-box")
@click.option("--yes", is_flag=True, help="Don't ask.")
@verb
def sign_box(context: Context, yes: bool) -> None:
    """Have the certificate that this box signed itself be replaced by one of the site's authority, now instead of at its end."""
    confirm("Devices that hold only the old certificate will not know this box any more. Go on?", yes=yes)
    with certificate_commands(context.config(), holder=_HOLDER) as commands:
        done = commands.sign_box()
    context.emit(
        done,
        f"This box's certificate is good until {day(done['box_not_after_at_ms'])}, SHA-256 {done['box_fingerprint']}, signed by "
        f"{done['fingerprint']}.\nThe broker has it within seconds; restart Homeport for the pages and the devices' port.",
    )


def _print(context: Context, path: Path, name: str) -> None:
    try:
        pem = path.read_text(encoding="ascii")
    except OSError as error:
        raise NotFound(f"{path} can't be read: {error.strerror}.", hint="Start Homeport once.") from error
    context.emit({name: pem}, pem.rstrip())
