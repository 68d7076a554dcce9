"""`homeport artifact key`: keys that sign, and whose signatures count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from appliance.cli.common import Context, printable, table, verb
from appliance.cli.secret_input import confirm, read_passphrase
from appliance.core.errors import NotFound, UsageError
from appliance.identity import artifact_key_files, artifact_signing
from appliance.management import artifact_keys
from appliance.management.artifact_keys import KeySet, PublicKey
from appliance.management.manifest import Signed
from appliance.run.artifact_commands import ArtifactCommands, read_signed

_FILE = click.Path(path_type=Path)


@click.group()
def key() -> None:
    """Keys that sign artifacts, and whose signatures count."""


@key.command()
@click.argument("file", type=_FILE)
@click.option(
    "--passphrase", is_flag=True, help="Protect it: typed twice, or the first line of standard input."
)
@verb
def new(context: Context, file: Path, passphrase: bool) -> None:
    """Make a key in FILE (mode 0600) and its public half in FILE.pub; needs no node."""
    made = artifact_key_files.make_file(file, passphrase=read_passphrase(asked=passphrase, is_new=True))
    public = artifact_signing.public_of(made, name=file.name)
    context.emit(
        {"file": str(file), "key_id": public.key_id, "public": public.public},
        f"Key {public.key_id[:16]}… is in {file}; what others may know is in {file}.pub:\n{public.public}",
    )


@key.command("list")
@verb
def list_(context: Context) -> None:
    """Whose signatures count, how many are needed, and what may go without."""
    found = ArtifactCommands(context.api()).keys()
    context.emit(found, _words(found))


@key.command()
@click.argument("output", type=_FILE)
@click.option(
    "--add", "added", multiple=True, metavar="NAME=FILE.pub", help="A key to trust; may be given again."
)
@click.option("--remove", "removed", multiple=True, metavar="NAME", help="A key that is to count no more.")
@click.option("--threshold", type=click.IntRange(1), help="How many must sign; as now if not given.")
@verb
def propose(
    context: Context, output: Path, added: tuple[str, ...], removed: tuple[str, ...], threshold: int | None
) -> None:
    """Write the next set of keys to OUTPUT: have it signed by enough of those that count now, then apply it."""
    from appliance.cli.artifact_signing_verbs import write_signed

    now = ArtifactCommands(context.api()).keys()
    keys = {each["name"]: PublicKey(name=each["name"], public=each["public"]) for each in now["keys"]
            if each["state"] == "trusted"}  # fmt: skip
    for name in removed:
        if keys.pop(name, None) is None:
            raise NotFound(
                f"No trusted key is called “{name[:64]}”.",
                hint="homeport artifact key list",
                code="artifact_key_missing",
            )
    for each in added:
        name, _, file = each.partition("=")
        keys[name] = artifact_key_files.public_key(_text_of(Path(file)), name=name)
    wanted = KeySet(
        version=now["version"] + 1, threshold=threshold or now["threshold"], keys=list(keys.values())
    )
    artifact_keys.check_set(artifact_keys.parse(wanted.text()))
    signed = Signed(document=wanted.text())
    write_signed(output, signed)
    needed = now["threshold"] if now["version"] else 0
    context.emit(
        msgspec.to_builtins(signed),
        f"{output} is set {wanted.version}; {needed} of the keys that count now must sign it.",
    )


@key.command()
@click.argument("file", type=_FILE)
@click.option("--sign-here", is_flag=True, help="Add the signature of the box's own key.")
@click.option(
    "--reset",
    is_flag=True,
    help="Without anybody's signature, because keys are lost; only on the box itself.",
)
@click.option("--yes", is_flag=True, help="Don't ask.")
@verb
def apply(context: Context, file: Path, sign_here: bool, reset: bool, yes: bool) -> None:
    """Put the set of keys in FILE in force."""
    signed = read_signed(file)
    artifact_keys.parse(signed.document)
    if reset:
        confirm("Trust these keys without a signature of those that count now?", yes=yes)
    found = ArtifactCommands(context.api()).set_keys(signed, sign_here=sign_here, reset=reset)
    context.emit(found, _words(found))


@key.command("on-box")
@click.option("--remove", is_flag=True, help="Forget it, for good; who is trusted stays as it is.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@verb
def on_box(context: Context, remove: bool, yes: bool) -> None:
    """Make the box's own key. Convenient, and whoever takes the box over can sign: docs/ARTIFACTS.md."""
    commands = ArtifactCommands(context.api())
    if remove:
        confirm("Forget the box's own signing key, for good?", yes=yes)
        commands.remove_box_key()
        context.emit({"removed": True}, "The box's own key is gone.")
        return
    found = commands.make_box_key()
    context.emit(found, _words(found))


@key.command()
@click.argument("unsigned", type=click.Choice(("refuse", "vendor_signed", "allow")))
@verb
def policy(context: Context, unsigned: str) -> None:
    """Say what may be rolled out without a manifest signed here: nothing, what its vendor signed, or all."""
    found = ArtifactCommands(context.api()).set_unsigned(unsigned)
    context.emit(found, _words(found))


def _words(found: dict[str, Any]) -> str:
    rows = [
        {**each, "name": printable(each["name"]), "where": "this box" if each["is_on_box"] else ""}
        for each in found["keys"]
    ]
    columns = {"name": "NAME", "state": "STATE", "where": "SECRET ON", "key_id": "ID"}
    needed = (
        f"Set {found['version']}: {found['threshold']} of the trusted keys must sign."
        if found["version"]
        else "Nobody is trusted yet: make the box's own key (on-box), or propose and apply a set of keys."
    )
    unsigned = {
        "refuse": "Nothing is rolled out unsigned.",
        "vendor_signed": "What its vendor signed may be rolled out without.",
        "allow": "Unsigned artifacts may be rolled out.",
    }[found["unsigned"]]
    return f"{table(rows, columns)}\n{needed} {unsigned}"


def _text_of(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError as error:
        raise UsageError(
            f"{path} can't be read: {error.strerror}.",
            hint="Give --add NAME=FILE.pub.",
            code="file_unreadable",
        ) from error
