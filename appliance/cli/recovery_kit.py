"""`homeport recovery-kit`: the only copy of a site's secrets outside its boxes. The node need not run."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import click

from appliance.cli.common import Context, verb
from appliance.core.clock import SystemClock
from appliance.core.errors import NotFound, UsageError
from appliance.core.limits import RECOVERY_KIT_BYTES_MAX
from appliance.identity import recovery
from appliance.identity.backup_public_key import write_public_key
from appliance.identity.ca import SiteCa
from appliance.identity.keys import SiteKeys
from appliance.identity.recovery_kit import PENDING, RecoveryKit
from appliance.run import layout
from appliance.run.certificate_commands import certificate_commands
from appliance.run.first_run import become_owner, lock, prepare_folders

_FILE = click.argument("file", type=click.Path(path_type=Path, allow_dash=True))


def read_kit(file: Path) -> RecoveryKit:
    """The kit of a file, or of standard input for "-". Secrets never come as arguments.

    Raises:
        NotFound: there is no such file. UsageError: it holds no kit, or one with a typing error.
    """
    try:
        if str(file) == "-":
            data = sys.stdin.buffer.read(RECOVERY_KIT_BYTES_MAX + 1)
        else:
            with file.open("rb") as opened:
                data = opened.read(RECOVERY_KIT_BYTES_MAX + 1)
    except OSError as error:
        raise NotFound(
            f"{file} can't be read: {error.strerror}.", hint="Name the file of the kit."
        ) from error
    try:
        return RecoveryKit.parse(data.decode())
    except UnicodeDecodeError:
        raise UsageError(
            f"{file} is no text.", hint="Give the text of the kit.", code="recovery_kit_invalid"
        ) from None


@click.group("recovery-kit")
def recovery_kit() -> None:
    """The recovery kit: print it, say that it is kept, check a copy, make a new box from it."""


@recovery_kit.command()
@verb
def show(context: Context) -> None:
    """Print the kit, until it was confirmed. Who reads it can be the site: mind who looks."""
    config = context.config()
    become_owner(config.node.data_dir)
    kit = RecoveryKit.of(config.node.data_dir)
    text = kit.text(config.node.name)
    context.emit({"text": text, "qr_text": kit.qr_text, "ca_fingerprint": kit.ca_fingerprint}, text)


@recovery_kit.command("confirm")
@_FILE
@verb
def confirm_(context: Context, file: Path) -> None:
    """Say that the kit is kept elsewhere, and show it: FILE is the saved copy (- for standard input). The box then forgets its own."""
    data_dir = context.config().node.data_dir
    kit = read_kit(file)
    become_owner(data_dir)
    if not (data_dir / PENDING).exists():
        _check(data_dir, kit)
        context.emit({"confirmed": True, "was_pending": False}, "The kit was confirmed before.")
        return
    if kit != RecoveryKit.of(data_dir):
        raise UsageError(
            "That is a recovery kit, but not this box's.",
            hint="Print it with `homeport recovery-kit show`, keep that, and confirm it.",
            code="recovery_kit_of_another_site",
        )
    with certificate_commands(context.config(), holder="homeport recovery-kit") as commands:
        was_pending = commands.confirm_kit()
    context.emit(
        {"confirmed": True, "was_pending": was_pending},
        "The box has forgotten the root's secret. Keep the kit where the box is not.",
    )


@recovery_kit.command()
@_FILE
@verb
def check(context: Context, file: Path) -> None:
    """Look whether FILE (- for standard input) is this box's kit, without a typing error."""
    kit = read_kit(file)
    _check(context.config().node.data_dir, kit)
    context.emit(
        {"ok": True, "ca_fingerprint": kit.ca_fingerprint, "made_on": kit.made_on.isoformat()},
        f"It is this box's kit. The authority's root: {kit.ca_fingerprint}",
    )


@recovery_kit.command("backup-key")
@_FILE
@verb
def backup_key(context: Context, file: Path) -> None:
    """Keep the public half of FILE (- for standard input), which backups are encrypted to: for a box older than backups."""
    data_dir = context.config().node.data_dir
    kit = read_kit(file)
    _check(data_dir, kit)
    is_new = write_public_key(data_dir, kit.root_secret)
    context.emit(
        {"written": is_new},
        "Backups can be made now; only the kit opens them." if is_new else "The box had it already.",
    )


@recovery_kit.command()
@_FILE
@click.option(
    "--generation",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    help="Which key of the issuing authority; another than 1 only after `homeport ca renew --new-key`.",
)
@verb
def restore(context: Context, file: Path, generation: int) -> None:
    """Put the site key, the node's id and the authority of FILE (- for standard input) on this box, which is stopped."""
    config = context.config()
    kit = read_kit(file)
    prepare_folders(config)
    with lock(layout.node_lock(config), holder="homeport recovery-kit"):
        done = recovery.restore(config.node.data_dir, kit, clock=SystemClock(), generation=generation)
    data = dataclasses.asdict(done)
    words = [name.replace("_", " ") for name, put_back in data.items() if put_back]
    context.emit(
        data,
        f"Put back: {', '.join(words)}." if words else "All of it was there already; nothing was changed.",
    )


def _check(data_dir: Path, kit: RecoveryKit) -> None:
    become_owner(data_dir)
    keys = SiteKeys.load_existing(data_dir)
    if not keys.is_site_key(kit.site_key):
        raise UsageError(
            "That is a recovery kit, but its site key is not this box's.",
            hint="Look for the one whose node id and fingerprint `homeport ca show` prints.",
            code="recovery_kit_of_another_site",
        )
    SiteCa.load_or_create(data_dir, keys, clock=SystemClock()).check_kit(kit)
