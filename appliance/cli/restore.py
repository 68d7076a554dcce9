"""`homeport restore`: a box out of a backup, or out of its peers. Homeport is stopped meanwhile."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import click

from appliance.cli.common import Context, verb
from appliance.cli.exit_codes import EXIT_CODES
from appliance.cli.recovery_kit import read_kit
from appliance.core import logs
from appliance.core.clock import SystemClock
from appliance.core.config import Config
from appliance.core.errors import LogDamaged, UsageError
from appliance.core.limits import MIB
from appliance.core.settings import BadValueError, Bind
from appliance.identity.recovery_kit import RecoveryKit
from appliance.run.first_run import prepare_folders
from appliance.run.peer_restoring import FromPeers, restore_from_peers
from appliance.run.restoring import find_repository, restore_backup
from appliance.run.tier_restoring import is_tier_address, restore_from_tier
from storage.replicas.streams import is_node_id


@click.command()
@click.argument("directory", type=click.Path(path_type=Path), required=False)
@click.option(
    "--from",
    "peer",
    help="Not a backup but a peer, host:port of any node of the fleet, or a region of the cloud: s3://…, nats://…, postgresql://….",
)
@click.option(
    "--kit",
    type=click.Path(path_type=Path, allow_dash=True),
    default="-",
    show_default=True,
    help="The recovery kit's file; - for standard input.",
)
@click.option(
    "--credentials",
    type=click.Path(path_type=Path),
    help="With --from a cloud: its file of credentials; that of the same address in the configuration if not given.",
)
@click.option("--backup", "backup_id", help="Which one; the newest if not given.")
@click.option(
    "--node",
    "node_id",
    help="With --from: which node this is to be; the one that the kit was made on if not given.",
)
@click.option(
    "--without-past",
    is_flag=True,
    help="With --from: don't wait for what the log had before; it comes while devices are served already.",
)
@click.option(
    "--replace", is_flag=True, help="Move aside what is in the data folder; nothing of it is deleted."
)
@verb
def restore(
    context: Context,
    directory: Path | None,
    peer: str | None,
    kit: Path,
    credentials: Path | None,
    backup_id: str | None,
    node_id: str | None,
    without_past: bool,
    replace: bool,
) -> None:
    """Restore a backup in DIRECTORY, or what peers or a cloud hold, into the data folder of this box, which is stopped.

    Exit code 9 if it is restored, but records are missing that a cloud should have had.
    """
    if (directory is None) == (peer is None):
        raise UsageError("Name a folder with backups, or --from with a peer.", hint="One of the two.")
    config = context.config()
    # Root may read what the service's user may not: the kit is read before root becomes that user.
    if str(kit) == "-" and sys.stdin.isatty():
        click.echo("Paste or type the recovery kit's numbered lines, then Ctrl-D:", err=True)
    opened = read_kit(kit)
    prepare_folders(config)
    if directory is not None:
        _from_backup(context, config, directory, opened, backup_id, replace=replace)
    elif peer is not None:
        _check_node_id(node_id)
        if is_tier_address(peer):
            _from_tier(
                context,
                config,
                peer,
                credentials,
                opened,
                node_id,
                without_past=without_past,
                replace=replace,
            )
        else:
            _from_peers(context, config, peer, opened, node_id, without_past=without_past, replace=replace)


def _from_backup(
    context: Context,
    config: Config,
    directory: Path,
    kit: RecoveryKit,
    backup_id: str | None,
    *,
    replace: bool,
) -> None:
    done = restore_backup(
        config,
        find_repository(directory.absolute()),
        kit,
        clock=SystemClock(),
        backup_id=backup_id,
        replace=replace,
    )
    manifest = done.manifest
    lines = [
        f"Restored {manifest.backup_id}: {len(manifest.files)} files, {manifest.total_bytes / MIB:.1f} MiB,"
        f" everything acknowledged before record {manifest.log_next_seq}.",
        "Start Homeport: devices' tokens and certificates are good again, and the store is built anew from archive and log.",
        "What was revoked after the backup was made is good again too: revoke it again. If the old box still lives, keep it off.",
    ]
    if any(file.name.startswith("config/") for file in manifest.files):
        lines.append(
            f"The configuration of then lies in {config.node.data_dir / 'config'}; compare it with yours."
        )
    lines += [f"It was so when the backup was made: {each}" for each in done.problems]
    if done.replaced is not None:
        lines.append(_replaced(done.replaced))
    context.emit(
        {
            "backup_id": manifest.backup_id,
            "files": len(manifest.files),
            "bytes": manifest.total_bytes,
            "log_next_seq": manifest.log_next_seq,
            "problems": list(done.problems),
            "replaced": None if done.replaced is None else str(done.replaced),
        },
        "\n".join(lines),
    )


def _from_peers(
    context: Context,
    config: Config,
    peer: str,
    kit: RecoveryKit,
    node_id: str | None,
    *,
    without_past: bool,
    replace: bool,
) -> None:
    try:
        address = Bind.parse(peer)
    except BadValueError as error:
        raise UsageError(
            f"“{peer}” is no address: {error}.", hint="Give host:port, such as box.example:8885."
        ) from error
    with logs.warnings_only():
        done = restore_from_peers(
            config,
            address,
            kit,
            clock=SystemClock(),
            node_id=node_id,
            replace_there=replace,
            is_past_later=without_past,
            progress=_show_progress(context),
        )
    _say(context, done)


def _from_tier(
    context: Context,
    config: Config,
    address: str,
    credentials: Path | None,
    kit: RecoveryKit,
    node_id: str | None,
    *,
    without_past: bool,
    replace: bool,
) -> None:
    with logs.warnings_only():
        done = restore_from_tier(
            config,
            address,
            credentials,
            kit,
            clock=SystemClock(),
            node_id=node_id,
            replace_there=replace,
            is_past_later=without_past,
            progress=_show_progress(context),
        )
    _say(context, done)


def _check_node_id(node_id: str | None) -> None:
    if node_id is not None and not is_node_id(node_id):
        raise UsageError(
            f"“{node_id}” is no node's id.",
            hint="It has 32 hexadecimal digits; homeport peer list on another node shows it.",
        )


def _say(context: Context, done: FromPeers) -> None:
    """What came of it, from peers or from a cloud."""
    log = done.telemetry
    lines = [
        f"Node {done.node_id} is here again, out of {', '.join(done.asked)}: {done.records} changes of the site's catalog,"
        + (
            f" and the log before record {log.next_seq}."
            if log is not None and not done.is_past_later
            else " and the end of the log; its past comes while devices are served (homeport peer list says how far it is)."
        ),
        "Start Homeport: devices' tokens and certificates are good again, and the store is built anew from the log, while they are served.",
        "Not among it: archived days, firmware images, and this box's configuration. If the old box still lives, keep it off.",
    ]
    lines += [f"Missing: {each.what}: {each.why}." for each in done.lacking]
    if done.away:
        lines.append(f"Not reached, and may have more: {', '.join(done.away)}.")
    if done.replaced is not None:
        lines.append(_replaced(done.replaced))
    context.emit(
        {
            "node_id": done.node_id,
            "log_next_seq": log.next_seq if log is not None else None,
            "log_epoch": log.epoch if log is not None else None,
            "catalog_next_seq": done.catalog.next_seq if done.catalog is not None else None,
            "records": done.records,
            "past": not done.is_past_later,
            "asked": list(done.asked),
            "away": list(done.away),
            "missing": [
                {
                    "what": each.what,
                    "why": each.why,
                    "first_seq": each.first_seq if each.is_gap else None,
                    "next_seq": each.next_seq if each.is_gap else None,
                }
                for each in done.lacking
            ],
            "replaced": None if done.replaced is None else str(done.replaced),
        },
        "\n".join(lines),
    )
    if any(each.is_gap for each in done.lacking):
        sys.exit(EXIT_CODES[LogDamaged])


def _show_progress(context: Context) -> Callable[[str, int, int], None]:
    """A line on standard error that tells a terminal how far it is."""
    if context.json or not sys.stderr.isatty():
        return lambda what, done, total: None
    return lambda what, done, total: click.echo(
        f"\r{what}: {done} of {total} records ", nl=done >= total, err=True
    )


def _replaced(aside: Path) -> str:
    return f"What was there before lies in {aside}; remove it when nobody misses anything."
