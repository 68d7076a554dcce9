"""`homeport artifact`: firmware images: add, list, show, check, export, remove; signing is in artifact_signing_verbs, keys in artifact_key."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from appliance.cli import artifact_signing_verbs
from appliance.cli.artifact_key import key
from appliance.cli.common import Context, printable, table, verb
from appliance.cli.confirming import confirm
from appliance.cli.times import shown_at
from appliance.core.limits import MIB
from appliance.management.artifact_format import check_said, format_of
from appliance.management.artifact_image import ARTIFACT_FORMATS
from appliance.management.manifest import check_name
from appliance.run.artifact_commands import ArtifactCommands, Progress, recognize_file

_ARTIFACT = click.argument("artifact", metavar="ARTIFACT")
_FILE = click.Path(path_type=Path)
_COLUMNS = {"name": "NAME", "version": "VERSION", "format": "FORMAT", "mib": "MIB", "state": "MAY BE ROLLED OUT",
            "hw": "HARDWARE", "used": "USED BY", "artifact_id": "ID"}  # fmt: skip


@click.group()
def artifact() -> None:
    """Firmware images. ARTIFACT is an id, or NAME@VERSION; a bare name is its newest version."""


artifact.add_command(key)
artifact_signing_verbs.add_to(artifact)


@artifact.command()
@click.argument("file", type=_FILE)
@click.option("--name", required=True, help="What it is: one name for all its versions.")
@click.option("--version", default="", help="Which version; the image's own if it has one.")
@click.option("--format", "format_", type=click.Choice(ARTIFACT_FORMATS), help="What it must be.")
@click.option(
    "--hw", multiple=True, help="Hardware that it fits; may be given again. The image's own if it names some."
)
@click.option("--min-version", default="", help="Oldest version that a device may have before.")
@click.option("--max-version", default="", help="Newest version that a device may have before.")
@click.option("--epoch", type=int, help="Security epoch; the image's own counter if it has one.")
@click.option("--note", default="", help="What people want to know of it.")
@click.option("--rollback-image", is_flag=True, help="It may be of an older epoch than its name has reached.")
@click.option("--sign", "sign_it", is_flag=True, help="Sign it with the box's own key.")
@verb
def add(
    context: Context,
    file: Path,
    name: str,
    version: str,
    format_: str | None,
    hw: tuple[str, ...],
    min_version: str,
    max_version: str,
    epoch: int | None,
    note: str,
    rollback_image: bool,
    sign_it: bool,
) -> None:
    """Upload FILE; cut off, the same command goes on where it stopped. It is looked at here before a byte is sent."""
    check_name(name)
    said = None if format_ is None else format_of(format_)
    found = recognize_file(file, said)
    check_said(found, version=version, compat=hw, epoch=epoch)
    artifact_signing_verbs.check_has_version(version, found)
    wish: dict[str, Any] = {
        "name": name,
        "version": version or found.version,
        "format": found.format,
        "hw": list(hw) or None,
        "min_version": min_version or None,
        "max_version": max_version or None,
        "epoch": epoch,
        "note": note,
        "is_rollback_image": rollback_image,
    }
    commands = ArtifactCommands(context.api())
    made = commands.add(
        file, {key: value for key, value in wish.items() if value is not None}, show_progress(context)
    )
    if sign_it:
        made = commands.sign_on_box(made["artifact_id"])
    context.emit(made, f"{_words(made)}\n{_trust(made)}")


@artifact.command("list")
@verb
def list_(context: Context) -> None:
    """All artifacts, the newest first, and the room that is left."""
    found = ArtifactCommands(context.api()).list()
    rows = [
        {
            **each,
            "mib": f"{each['size_bytes'] / MIB:.1f}",
            "state": "damaged" if each["is_damaged"] else (each["refusal"] or {"code": "yes"})["code"],
            "used": _used(each),
        }
        for each in found["artifacts"]
    ]
    room = f"{found['used_bytes'] / MIB:.1f} of {found['quota_bytes'] / MIB:.0f} MiB are used."
    context.emit(found, f"{table(rows, _COLUMNS)}\n{room}")


@artifact.command()
@_ARTIFACT
@verb
def show(context: Context, artifact: str) -> None:
    """All that is known of ARTIFACT."""
    found = ArtifactCommands(context.api()).find(artifact)
    lines = [
        _words(found),
        f"SHA-256   {found['sha256']}",
        f"Hardware  {', '.join(found['hw']) or 'any'}",
        f"Epoch     {found['epoch']}",
        f"Added     {shown_at(found['created_at_ms'])} by {printable(found['created_by'])}",
    ]
    if found["has_manifest"]:
        lines.append(
            f"Manifest  release {found['release_counter']}, {shown_at(found['not_before_ms'])} to {shown_at(found['expires_at_ms'])}"
        )
    lines += [
        f"Signature {each['state']}: {printable(each['key_name']) or each['key_id'][:16]}"
        for each in found["signatures"]
    ]
    if found["note"]:
        lines.append(f"Note      {printable(found['note'])}")
    lines += [f"Used by   {_used(found)}"] if _used(found) else []
    context.emit(found, "\n".join([*lines, _trust(found)]))


@artifact.command()
@_ARTIFACT
@verb
def check(context: Context, artifact: str) -> None:
    """Read ARTIFACT's bytes and compare them with their digest; exit code 9 if they are damaged."""
    commands = ArtifactCommands(context.api())
    found = commands.check(commands.find(artifact)["artifact_id"])
    is_ok = not found["is_damaged"]
    words = "They are what they should be." if is_ok else "They are damaged; upload the file again."
    context.emit({"ok": is_ok, "artifact_id": found["artifact_id"]}, words)
    sys.exit(0 if is_ok else 9)


@artifact.command()
@_ARTIFACT
@click.option("--yes", is_flag=True, help="Don't ask.")
@verb
def remove(context: Context, artifact: str, yes: bool) -> None:
    """Remove ARTIFACT, unless a rollout or a device in an update needs it."""
    commands = ArtifactCommands(context.api())
    found = commands.find(artifact)
    name = f"{found['name']}@{found['version']}"
    confirm(f"{name} is removed for good, with its bytes.", name, yes=yes)
    commands.remove(found["artifact_id"])
    context.emit({"removed": found["artifact_id"]}, f"{name} is removed.")


@artifact.command()
@click.option("--remove", "upload_id", help="Remove this one.")
@verb
def uploads(context: Context, upload_id: str | None) -> None:
    """Uploads that are not finished; they end a day after somebody went on with them."""
    commands = ArtifactCommands(context.api())
    if upload_id:
        commands.remove_upload(upload_id)
    found = commands.uploads()
    rows = [
        {
            **each,
            "percent": f"{100 * each['offset'] // each['size_bytes']} %",
            "last": shown_at(each["updated_at_ms"]),
        }
        for each in found["uploads"]
    ]
    columns = {"name": "NAME", "version": "VERSION", "percent": "DONE", "last": "LAST", "upload_id": "ID"}
    context.emit(found, table(rows, columns))


def show_progress(context: Context) -> Progress:
    """A line on standard error that tells a terminal how far it is."""
    if context.json or not sys.stderr.isatty():
        return lambda done, total: None
    return lambda done, total: click.echo(
        f"\r{done / MIB:.1f} of {total / MIB:.1f} MiB ", nl=done >= total, err=True
    )


def _words(found: dict[str, Any]) -> str:
    return (
        f"{printable(found['name'])} {printable(found['version'])}: {found['format']},"
        f" {found['size_bytes'] / MIB:.1f} MiB, id {found['artifact_id']}"
    )


def _trust(found: dict[str, Any]) -> str:
    refusal = found["refusal"]
    return "It may be rolled out." if refusal is None else f"{refusal['message']} {refusal['hint']}"


def _used(found: dict[str, Any]) -> str:
    use = found["used_by"]
    parts = [printable(name) for name in use["rollouts"]]
    if use["device_count"]:
        parts.append(f"{use['device_count']} in an update")
    return ", ".join(parts)
