"""`homeport audit`: who did what, a file of it, and whether it is whole."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from appliance.cli.common import Context, table, verb
from appliance.cli.exit_codes import EXIT_CODES
from appliance.core.errors import LogDamaged, UsageError
from appliance.identity.audit_check import AuditVerdict
from appliance.run import audit_commands as commands
from ui.audit_export import Format
from ui.utc import iso_utc

_COLUMNS = {
    "at": "AT",
    "who": "WHO",
    "action": "ACTION",
    "object": "OBJECT",
    "outcome": "OUTCOME",
    "address": "FROM",
    "detail": "DETAIL",
}
VERIFY_FAILED = EXIT_CODES[LogDamaged]
_F = TypeVar("_F", bound=Callable[..., Any])


def _filters(function: _F) -> _F:
    """The options of `list` and `export` that say which entries."""
    for option in reversed(
        (
            click.option("--actor", help="Only what this user, token or device did."),
            click.option("--action", help="Only this action (device.adopt), or all of a noun (device)."),
            click.option("--object-kind", help="Only what was done to this kind of thing, such as device."),
            click.option("--object-id", help="Only what was done to this one."),
            click.option("--outcome", type=click.Choice(["done", "refused"]), help="Only this outcome."),
            click.option("--trace-id", help="Only what belongs to this request."),
            click.option("--from", "from_", help="From this time on: 2026-03-01T00:00:00Z, or UTC ms."),
            click.option("--to", help="Before this time."),
        )
    ):
        function = option(function)
    return function


@click.group()
def audit() -> None:
    """Who did what: list, export, verify. Works whether the appliance runs or not."""


@audit.command("list")
@_filters
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="At most so many.")
@verb
def list_(context: Context, limit: int, **wanted: str | None) -> None:
    """List entries, the newest first."""
    entries = commands.list_entries(context.config(), _wanted(wanted), limit=limit)
    rows = [
        {
            **entry,
            "at": iso_utc(entry["at_ms"]),
            "who": entry["actor"] or entry["actor_kind"],
            "object": f"{entry['object_kind']} {entry['object_id']}".strip(),
        }
        for entry in entries
    ]
    context.emit({"entries": entries}, _printable(table(rows, _COLUMNS)))


@audit.command()
@_filters
@click.option("--format", "format_", type=click.Choice(["jsonl", "csv"]), default="jsonl", show_default=True)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="A file; else standard output."
)
@verb
def export(context: Context, format_: str, output: Path | None, **wanted: str | None) -> None:
    """Write the audit as a file, with the signed head at its end. The export is itself in the audit."""
    pieces = commands.export(context.config(), cast(Format, format_), _wanted(wanted))
    if output is None:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return
    size_bytes = 0
    try:
        with output.open("xb") as file:
            for piece in pieces:
                size_bytes += file.write(piece)
    except OSError as error:
        raise UsageError(
            f"{output} can't be written: {error.strerror}.", hint="Name a file that isn't there yet."
        ) from error
    context.emit({"file": str(output), "size_bytes": size_bytes}, f"{output}: {size_bytes} bytes.")


@audit.command()
@click.option("--head", default="", help="SEQ:HASH of an entry that must be there, as you noted it.")
@click.option(
    "--file", "path", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Check an export."
)
@verb
def verify(context: Context, head: str, path: Path | None) -> None:
    """Check every hash and signature; ends with code 9 and the first bad entry if the audit is not whole."""
    config = context.config()
    verdict = commands.verify_file(config, path) if path else commands.verify(config, head)
    context.emit(commands.report(verdict), _said(verdict))
    if verdict.fault is not None:
        sys.exit(VERIFY_FAILED)


@audit.command()
@click.option("--yes", is_flag=True, help="You know why the signatures no longer fit.")
@verb
def accept(context: Context, yes: bool) -> None:
    """Go on from the audit as it is, after a catalog was put back from a backup or the box got another key. The node is stopped."""
    if not yes:
        raise UsageError(
            "From here on nobody can tell whether what is there was rewritten.",
            hint="If you know why the signatures no longer fit, say --yes.",
        )
    head = commands.accept(context.config())
    context.emit({"seq": head.seq, "hash": head.hash}, f"The audit goes on from {head.seq}:{head.hash}.")


def _wanted(options: dict[str, str | None]) -> dict[str, str | None]:
    return {("from" if key == "from_" else key): value for key, value in options.items()}


def _said(verdict: AuditVerdict) -> str:
    lines = []
    for chain in verdict.chains:
        if chain.fault:
            at = f" at {iso_utc(chain.fault.at_ms)}" if chain.fault.at_ms is not None else ""
            lines += [
                f"BROKEN: entry {chain.fault.entry_id}{at}: {chain.fault.message} ({chain.fault.code})",
                f"{chain.entry_count} entries before it are right.",
            ]
        else:
            lines += [
                f"Whole: {chain.entry_count} entries of node {chain.origin}, signed up to {chain.signed_seq}.",
                f"Head, to note elsewhere: {chain.newest_seq}:{chain.newest_hash}",
            ]
    return "\n".join(lines)


def _printable(text: str) -> str:
    """Without what a terminal would take for a command: names come from whoever signed in."""
    return "".join(each if each.isprintable() or each == "\n" else "�" for each in text)
