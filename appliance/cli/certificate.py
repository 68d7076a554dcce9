"""`homeport certificate`: devices' certificates of the site's authority."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from appliance.cli.common import Context, table, verb
from appliance.core.errors import NotFound
from appliance.core.limits import CSR_BYTES_MAX
from appliance.run.certificate_commands import Row, certificate_commands
from storage.catalog import REVOKED_BECAUSE, CertificateState, RevokedBecause

_COLUMNS = {
    "device_id": "DEVICE",
    "serial": "SERIAL",
    "state": "STATE",
    "ends": "UNTIL",
    "issued_by": "BY",
    "revoked_because": "REVOKED",
}
_HOLDER = "homeport certificate"


@click.group()
def certificate() -> None:
    """Devices' certificates: list, issue, revoke. Listing and revoking work while the appliance is stopped, too."""


@certificate.command("list")
@click.option("--device", "device_id", help="Only those of this device.")
@click.option("--state", type=click.Choice(["valid", "ended", "revoked"]), help="Only those in this state.")
@click.option(
    "--ends-within", "days", type=click.IntRange(0, 3_660), help="Only those that end within so many days."
)
@verb
def list_(context: Context, device_id: str | None, state: CertificateState | None, days: int | None) -> None:
    """List certificates in the order in which they end."""
    with certificate_commands(context.config(), holder=_HOLDER) as commands:
        found = list(commands.list(device_id=device_id, state=state, ends_within_days=days))
    context.emit({"certificates": found}, table([_shown(each) for each in found], _COLUMNS))


@certificate.command()
@click.argument("device_id")
@click.argument("csr", type=click.Path(path_type=Path, allow_dash=True))
@verb
def issue(context: Context, device_id: str, csr: Path) -> None:
    """Issue a certificate to DEVICE_ID for the request in the file CSR (- for standard input), and print it with its chain."""
    request = _read(csr)
    with certificate_commands(context.config(), holder=_HOLDER) as commands:
        issued = commands.issue(device_id, request)
    context.emit(issued, f"{issued['certificate']}{issued['chain']}".rstrip())


@certificate.command()
@click.argument("serial")
@click.option(
    "--because",
    type=click.Choice(REVOKED_BECAUSE),
    default="unspecified",
    show_default=True,
    help="The reason, as RFC 5280 has them.",
)
@verb
def revoke(context: Context, serial: str, because: RevokedBecause) -> None:
    """Revoke the certificate with the number SERIAL, for good. Connections made with it end within a second."""
    with certificate_commands(context.config(), holder=_HOLDER) as commands:
        revoked = commands.revoke(serial.lower().replace(":", "").lstrip("0"), because)
    context.emit(
        revoked,
        f"Certificate {revoked['serial']} of {revoked['device_id']} is revoked ({revoked['revoked_because']}). "
        "Its tokens are good as before.",
    )


def _read(path: Path) -> str:
    try:
        if str(path) == "-":
            data = sys.stdin.buffer.read(CSR_BYTES_MAX + 1)
        else:
            with path.open("rb") as file:
                data = file.read(CSR_BYTES_MAX + 1)
    except OSError as error:
        raise NotFound(
            f"{path} can't be read: {error.strerror}.", hint="Name the file of the request."
        ) from error
    return data.decode("ascii", "replace")


def _shown(row: Row) -> Row:
    return {**row, "ends": day(row["not_after_at_ms"])}


def day(at_ms: int) -> str:
    """A day in UTC, for people."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d")
