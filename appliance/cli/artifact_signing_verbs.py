"""`homeport artifact describe|sign|manifest|import|export`: manifests made, signed and carried between machines.

`describe` and `sign --key` need no node: they work on a build machine that has never seen one.
"""

from __future__ import annotations

import time
from pathlib import Path

import click
import msgspec

from appliance.cli.common import Context, verb
from appliance.cli.secret_input import read_passphrase
from appliance.core.errors import Conflict, UsageError
from appliance.core.limits_updates import DAY_MS
from appliance.identity import artifact_key_files, artifact_signing, files
from appliance.management import artifact_keys, manifest
from appliance.management.artifact_format import check_said, format_of
from appliance.management.artifact_image import ARTIFACT_FORMATS, Found
from appliance.management.manifest import Manifest, ManifestArtifact, ManifestCompat, Signed
from appliance.run.artifact_commands import ArtifactCommands, look_at, read_signed, recognize_file

_FILE = click.Path(path_type=Path)
_DAYS = click.option(
    "--expires-days",
    type=click.IntRange(1, 36_500),
    help="For how many days the manifest is good from now on.",
)
_PASSPHRASE = click.option(
    "--passphrase", is_flag=True, help="The key has one: typed, or the first line of standard input."
)


def add_to(group: click.Group) -> None:
    """Make these verbs of `homeport artifact`."""
    for each in (describe, sign, manifest_, import_, export):
        group.add_command(each)


def check_has_version(version: str, found: Found) -> None:
    """Refuse an image of which neither its header nor whoever calls says the version. Raises UsageError: `artifact_version_missing`."""
    if not version and not found.version:
        raise UsageError(
            "The image does not say which version it is.",
            hint="Give --version.",
            code="artifact_version_missing",
        )


@click.command()
@click.argument("image", type=_FILE)
@click.argument("output", type=_FILE)
@click.option("--name", required=True)
@click.option("--version", default="", help="The image's own if it has one.")
@click.option("--format", "format_", type=click.Choice(ARTIFACT_FORMATS), help="What it must be.")
@click.option("--hw", multiple=True, help="Hardware that it fits; may be given again.")
@click.option("--min-version")
@click.option("--max-version")
@click.option("--epoch", type=int)
@click.option(
    "--release-counter", type=click.IntRange(1), required=True, help="One more than the last of this name."
)
@click.option("--expires-days", type=click.IntRange(1, 36_500), default=365, show_default=True)
@verb
def describe(
    context: Context,
    image: Path,
    output: Path,
    name: str,
    version: str,
    format_: str | None,
    hw: tuple[str, ...],
    min_version: str | None,
    max_version: str | None,
    epoch: int | None,
    release_counter: int,
    expires_days: int,
) -> None:
    """Write the manifest of IMAGE to OUTPUT, to be signed; needs no node."""
    manifest.check_name(name)
    found = recognize_file(image, None if format_ is None else format_of(format_))
    check_said(found, version=version, compat=hw, epoch=epoch)
    check_has_version(version, found)
    size_bytes, sha256 = look_at(image)
    now_ms = time.time_ns() // 1_000_000
    made = Manifest(
        artifact=ManifestArtifact(
            name=name, version=version or found.version, size=size_bytes, sha256=sha256, format=found.format
        ),
        compat=ManifestCompat(hw=list(hw or found.compat), min_version=min_version, max_version=max_version),
        epoch=(found.epoch or 0) if epoch is None else epoch,
        not_before=now_ms,
        expires=now_ms + expires_days * DAY_MS,
        release_counter=release_counter,
    )
    signed = Signed(document=manifest.parse(made.text()).text())
    write_signed(output, signed)
    context.emit(
        msgspec.to_builtins(signed),
        f"{output} is the manifest of {name} {made.artifact.version}; sign it now.",
    )


@click.command()
@click.argument("what")
@click.option(
    "--key", "key_file", type=_FILE, help="Sign the document in the file WHAT with this key; needs no node."
)
@_PASSPHRASE
@_DAYS
@verb
def sign(
    context: Context, what: str, key_file: Path | None, passphrase: bool, expires_days: int | None
) -> None:
    """Add a signature to the document in the file WHAT (--key), or have the box sign the artifact WHAT with its own key."""
    if key_file is None:
        commands = ArtifactCommands(context.api())
        row = commands.sign_on_box(
            commands.find(what)["artifact_id"], expires_at_ms=_expires_at(expires_days)
        )
        state = "may be rolled out" if row["refusal"] is None else row["refusal"]["message"]
        context.emit(row, f"{row['name']} {row['version']} is signed: {state}.")
        return
    if expires_days is not None:
        raise UsageError(
            "The end is in the document, which is signed as it is.",
            hint="Make the document anew: homeport artifact manifest.",
            code="usage",
        )
    path = Path(what)
    signed = read_signed(path)
    words = _described(signed.document)
    key = artifact_key_files.load_file(key_file, passphrase=read_passphrase(asked=passphrase, is_new=False))
    signature = artifact_signing.sign(key, signed.document)
    others = [each for each in signed.signatures if each.keyid != signature.keyid]
    write_signed(path, Signed(document=signed.document, signatures=[*others, signature]), replace=True)
    context.emit(
        {"file": str(path), "keyid": signature.keyid, "signatures": len(others) + 1},
        f"Signed {words} with key {signature.keyid[:16]}…; {path} has {len(others) + 1} signatures now.",
    )


@click.command("manifest")
@click.argument("artifact")
@click.argument("output", type=_FILE)
@_DAYS
@verb
def manifest_(context: Context, artifact: str, output: Path, expires_days: int | None) -> None:
    """Write ARTIFACT's manifest to OUTPUT, to be signed elsewhere: the one it has, or a new one."""
    commands = ArtifactCommands(context.api())
    found = commands.find(artifact)
    signed = commands.manifest(found["artifact_id"], expires_at_ms=_expires_at(expires_days))
    write_signed(output, signed)
    context.emit(
        msgspec.to_builtins(signed), f"{output}: sign it with `homeport artifact sign {output} --key KEY`."
    )


@click.command("import")
@click.argument("document", type=_FILE)
@click.argument("image", type=_FILE, required=False)
@verb
def import_(context: Context, document: Path, image: Path | None) -> None:
    """Bring in the signed manifest in the file DOCUMENT; with IMAGE, add the artifact that it is of first."""
    from appliance.cli.artifact import show_progress

    signed = read_signed(document)
    of = manifest.parse(signed.document)
    commands = ArtifactCommands(context.api())
    rows = [
        each
        for each in commands.list()["artifacts"]
        if (each["name"], each["version"]) == (of.artifact.name, of.artifact.version)
    ]
    if not rows and image is None:
        raise UsageError(
            f"There is no artifact {of.artifact.name} {of.artifact.version} here.",
            hint="Name the image's file too: homeport artifact import DOCUMENT IMAGE.",
            code="artifact_unknown",
        )
    if not rows and image is not None:
        size_bytes, sha256 = look_at(image)
        if (size_bytes, sha256) != (of.artifact.size, of.artifact.sha256):
            raise Conflict(
                f"{image} is not the image that the manifest is of: its SHA-256 is {sha256}.",
                hint="Choose the right file, or have the manifest made of this one.",
                code="manifest_differs",
            )
        wish = {
            "name": of.artifact.name,
            "version": of.artifact.version,
            "format": of.artifact.format,
            "hw": of.compat.hw,
            "epoch": of.epoch,
            **{
                key: value
                for key in ("min_version", "max_version")
                if (value := getattr(of.compat, key)) is not None
            },
        }
        rows = [commands.add(image, wish, show_progress(context))]
    row = commands.add_signatures(rows[0]["artifact_id"], signed)
    state = "It may be rolled out." if row["refusal"] is None else row["refusal"]["message"]
    context.emit(row, f"{row['name']} {row['version']} has {row['good_count']} good signatures. {state}")


@click.command()
@click.argument("artifact")
@click.argument("output", type=_FILE)
@verb
def export(context: Context, artifact: str, output: Path) -> None:
    """Write ARTIFACT's bytes to OUTPUT, and its manifest to OUTPUT.manifest if it has one."""
    commands = ArtifactCommands(context.api())
    found = commands.find(artifact)
    try:
        with output.open("xb") as file:
            for piece in commands.content(found["artifact_id"]):
                file.write(piece)
    except FileExistsError:
        raise _there(output) from None
    except OSError as error:
        raise UsageError(
            f"{output} can't be written: {error.strerror}.", hint="Name another file.", code="file_unwritable"
        ) from error
    if look_at(output)[1] != found["sha256"]:
        output.unlink()
        raise Conflict(
            "What arrived is not what was asked for.", hint="Try again.", code="artifact_sha256_differs"
        )
    written = [str(output)]
    if found["has_manifest"]:
        beside = output.with_name(output.name + ".manifest")
        write_signed(beside, commands.manifest(found["artifact_id"]))
        written.append(str(beside))
    context.emit({"files": written, "sha256": found["sha256"]}, f"Written: {', '.join(written)}.")


def write_signed(path: Path, signed: Signed, *, replace: bool = False) -> None:
    """Write a document with its signatures. Raises Conflict: `file_exists`; StorageError."""
    if path.exists() and not replace:
        raise _there(path)
    files.replace(path, msgspec.json.format(msgspec.json.encode(signed), indent=2) + b"\n", mode=files.PUBLIC)


def _described(text: str) -> str:
    """What a document is, for whoever signs it. Raises UsageError: `manifest_invalid`."""
    if '"type":"artifact-keys"' in text:
        found = artifact_keys.parse(text)
        names = ", ".join(each.name for each in found.keys)
        return f"the set of keys {found.version} ({found.threshold} of {names})"
    of = manifest.parse(text)
    return f"the manifest of {of.artifact.name} {of.artifact.version}, release {of.release_counter}"


def _expires_at(days: int | None) -> int | None:
    return None if days is None else time.time_ns() // 1_000_000 + days * DAY_MS


def _there(path: Path) -> Conflict:
    return Conflict(f"{path} is there already.", hint="Name a file that isn't.", code="file_exists")
