"""`homeport doctor`: looks at everything an operator would look at, and says what to do about what is wrong.

It only reads, apart from one small file in data_dir that times fdatasync and is removed again; it runs beside a
running appliance or without one. Each check answers for itself: one that fails keeps no other from running.
"""

from __future__ import annotations

import os
import resource
import statistics
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from appliance.core.clock import Clock
from appliance.core.config import BrokerConfig, Config
from appliance.core.errors import ConfigError, HomeportError
from appliance.core.limits import MIB, WEBSOCKET_CONNECTION_COUNT_MAX
from appliance.identity.tls import RENEW_BEFORE_DAYS
from appliance.run import layout
from appliance.run.doctor_authority import check_authority
from appliance.run.doctor_backup import check_backups
from appliance.run.doctor_check import Check, Result
from appliance.run.doctor_clock import check_clock
from appliance.run.doctor_fleet import check_copies, check_fleet
from appliance.run.doctor_notifications import check_notifications
from appliance.run.doctor_processes import check_processes
from appliance.run.doctor_updates import check_updates
from appliance.run.first_run import check_folder
from appliance.run.roles import roles_of
from broker import tls_files
from broker.tls import TlsFiles, server_context
from storage.catalog.catalog import Catalog
from storage.log.disk import OsDisk
from storage.log.disk_level import DiskLevel, DiskLevels
from storage.log.dropped import read_dropped
from storage.log.reader import LogReader
from storage.log.scrub_state import read_scrub_state
from storage.telemetry.database import set_aside_files

__all__ = ["Check", "Result", "examine"]
FREE_BYTES_MIN: Final = 256 * MIB
FREE_RATIO_LOW: Final = 0.1
FILES_BESIDE_CONNECTIONS: Final = 1024
"""Segments, databases, sockets and libraries, with room to spare."""
FSYNC_SLOW_MS: Final = 50
FSYNC_ROUNDS: Final = 20
DAY_MS: Final = 86_400_000
CRL_WARN_DAYS: Final = 2
"""Lists are usually issued for a week and renewed daily."""
OF_CATALOG: Final = frozenset({"roles", "backup", "updates", "notifications"})
"""Looks that open the catalog's file, after the one at the file itself."""
CERTIFICATE_HINT: Final = "Restart Homeport: it makes a new one, which devices know by the site's authority in tls.crt. Renew it where it came from if it isn't ours."
AUTHORITY_HINT: Final = (
    "Add the authority's new certificate to broker.tls_client_ca; the broker takes it as it runs."
)
CRL_HINT: Final = (
    "Put the authority's newest list in broker.tls_client_crl: with one that ended, no certificate is taken."
)


def examine(config: Config, clock: Clock) -> list[Check]:
    """Run every check, in the order in which an operator would mend what they find."""
    looks: list[tuple[str, Callable[[], Check | Iterable[Check]]]] = [
        ("folders", lambda: check_folders(config)),
        ("disk space", lambda: check_disk_space(config.node.data_dir)),
        ("disk level", lambda: check_disk_level(config)),
        ("file limit", lambda: check_file_limit(config.broker)),
        ("clock", lambda: check_clock(config, clock)),
        ("sync time", lambda: check_sync_time(config.node.data_dir)),
        ("log", lambda: check_log(layout.telemetry_log(config))),
        ("scrubbing", lambda: check_scrub(config, clock)),
        ("retention", lambda: check_dropped(layout.telemetry_log(config))),
        ("catalog", lambda: check_catalog(layout.catalog(config), clock)),
        ("store", lambda: check_store(config.node.data_dir)),
        ("roles", lambda: check_roles(config, layout.catalog(config), clock)),
        ("certificate", lambda: check_certificates(config, clock)),
        ("authority", lambda: check_authority(config, clock)),
        ("fleet", lambda: check_fleet(config, clock)),
        ("copies", lambda: check_copies(config)),
        ("backup", lambda: check_backups(config, clock)),
        ("updates", lambda: check_updates(config, clock)),
        ("notifications", lambda: check_notifications(config, clock)),
        ("sockets", lambda: check_processes(config)),
    ]
    found = [
        Check(
            name="configuration",
            result=Result.OK,
            detail=f"Read from {config.source or 'built-in defaults'}.",
        )
    ]
    is_locked = False
    for name, look in looks:
        if is_locked and name in OF_CATALOG:
            # Each would wait for the lock as long as the first one did, and say the same.
            detail = "The catalog is locked, so nothing can be read of it."
            found.append(Check(name=name, result=Result.SKIPPED, detail=detail))
            continue
        try:
            answer = look()
            found.extend([answer] if isinstance(answer, Check) else answer)
        except HomeportError as error:
            is_locked = is_locked or error.code == "catalog_locked"
            found.append(Check(name=name, result=Result.FAILED, detail=error.message, hint=error.hint))
        except OSError as error:
            hint = "Look at the folder's owner, mode and disk."
            found.append(Check(name=name, result=Result.FAILED, detail=f"{error}.", hint=hint))
    return found


def check_folders(config: Config) -> Iterable[Check]:
    """data_dir and run_dir are there, ours with all that is in them, and closed to others."""
    for name, folder in (("data folder", config.node.data_dir), ("run folder", config.node.run_dir)):
        try:
            check_folder(folder)
        except HomeportError as error:
            yield Check(name=name, result=Result.FAILED, detail=error.message, hint=error.hint)
            continue
        # What somebody else put there, such as root from a backup, can't be opened or can't be replaced.
        strange = [path for path in _files(folder) if path.stat().st_uid != os.geteuid()]
        if strange:
            detail = f"{len(strange)} files in {folder} belong to other users, such as {strange[0]}."
            hint = f"As root, run: chown -R --reference={folder} {folder}"
            yield Check(name=name, result=Result.FAILED, detail=detail, hint=hint)
        else:
            yield Check(name=name, result=Result.OK, detail=f"{folder} is ours and closed to others.")


def check_disk_space(folder: Path) -> Check:
    """There is room for what comes in."""
    space = os.statvfs(_existing(folder))
    free_bytes, total_bytes = space.f_bavail * space.f_frsize, space.f_blocks * space.f_frsize
    detail = f"{free_bytes // MIB} of {total_bytes // MIB} MiB are free."
    hint = "Free space on this disk, or move node.data_dir to a larger one."
    if free_bytes < FREE_BYTES_MIN:
        return Check(name="disk space", result=Result.FAILED, detail=detail, hint=hint)
    if free_bytes < total_bytes * FREE_RATIO_LOW:
        return Check(name="disk space", result=Result.WARNING, detail=detail, hint=hint)
    return Check(name="disk space", result=Result.OK, detail=detail)


def check_disk_level(config: Config) -> Check:
    """Whether the log's disk takes what devices publish (docs/OPERATIONS.md)."""
    levels = DiskLevels(
        low_percent=config.log.disk_low_percent,
        hold_percent=config.log.disk_hold_percent,
        read_only_percent=config.log.disk_read_only_percent,
    )
    used_ratio = OsDisk().space(_existing(layout.telemetry_log(config))).used_ratio()
    level = levels.after(DiskLevel.OK, used_ratio)
    detail = f"{used_ratio * 100:.0f} % used: level {level.name.lower()}."
    hint = "Free space on this disk, or lower log.keep_percent so that the log takes less of it."
    result = {DiskLevel.OK: Result.OK, DiskLevel.LOW: Result.WARNING}.get(level, Result.FAILED)
    return Check(name="disk level", result=result, detail=detail, hint="" if result is Result.OK else hint)


def check_dropped(directory: Path) -> Check:
    """What retention has removed, and whether anything went that somebody had still to read."""
    dropped = read_dropped(OsDisk(), directory)
    if not dropped.ranges:
        return Check(name="retention", result=Result.OK, detail="Nothing was ever removed from the log.")
    detail = f"{dropped.records} records were removed, up to {dropped.next_seq - 1}; {dropped.unread_records} of them unread."
    if dropped.unread_records:
        hint = "The log reached its quota while somebody was behind: raise log.quota_percent, or set it to 0."
        return Check(name="retention", result=Result.WARNING, detail=detail, hint=hint)
    return Check(name="retention", result=Result.OK, detail=detail)


def check_scrub(config: Config, clock: Clock) -> Check:
    """Whether the whole log was read and verified lately, and what that found."""
    hours = config.log.scrub_hours
    state = read_scrub_state(layout.telemetry_log(config))
    last, now_ms = state.last, clock.now_ms()
    if state.damaged_total:
        hint = "Run 'homeport log verify' for the ranges, and look at the disk's health."
        detail = f"{state.damaged_total} damaged ranges were found in the log."
        return Check(name="scrubbing", result=Result.FAILED, detail=detail, hint=hint)
    if not last.ended_at_ms:
        return Check(name="scrubbing", result=Result.SKIPPED, detail="The log was not read as a whole yet.")
    age_hours = max(0, now_ms - last.ended_at_ms) // 3_600_000
    detail = f"{last.bytes // MIB} MiB of log were read and found whole {age_hours} h ago."
    if hours and age_hours > 2 * hours:
        hint = "Scrubbing runs in the node: see that it runs, or run 'homeport log scrub --now'."
        return Check(name="scrubbing", result=Result.WARNING, detail=detail, hint=hint)
    return Check(name="scrubbing", result=Result.OK, detail=detail)


def check_file_limit(broker: BrokerConfig) -> Check:
    """Each connection is an open file, one over WebSocket two more."""
    connections_max = broker.connections_max
    needed = connections_max + FILES_BESIDE_CONNECTIONS
    if broker.ws_bind is not None or broker.wss_bind is not None:
        needed += 2 * min(WEBSOCKET_CONNECTION_COUNT_MAX, connections_max)
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    detail = f"{hard} files may be open, for up to {connections_max} connections."
    if hard != resource.RLIM_INFINITY and hard < needed:
        hint = f"Set LimitNOFILE={needed} in the unit, or lower broker.connections_max."
        return Check(name="file limit", result=Result.WARNING, detail=detail, hint=hint)
    return Check(name="file limit", result=Result.OK, detail=detail)


def check_sync_time(folder: Path) -> Check:
    """How long a reading waits for the disk before it can be acknowledged."""
    if not folder.is_dir():
        return Check(name="sync time", result=Result.SKIPPED, detail="There is no data folder yet.")
    path = folder / f".doctor-{os.getpid()}"
    durations_ms = []
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        for _ in range(FSYNC_ROUNDS):
            os.write(descriptor, bytes(4096))
            began_s = time.perf_counter()
            os.fdatasync(descriptor)
            durations_ms.append((time.perf_counter() - began_s) * 1000)
    finally:
        os.close(descriptor)
        path.unlink()
    median_ms, worst_ms = statistics.median(durations_ms), max(durations_ms)
    detail = f"fdatasync of 4 KiB: median {median_ms:.2f} ms, worst {worst_ms:.2f} ms of {FSYNC_ROUNDS}."
    if median_ms > FSYNC_SLOW_MS:
        hint = "Put node.data_dir on a faster disk, or raise log.linger_ms so that readings share a sync."
        return Check(name="sync time", result=Result.WARNING, detail=detail, hint=hint)
    return Check(name="sync time", result=Result.OK, detail=detail)


def check_log(directory: Path) -> Check:
    """The newest segment reads back whole, up to the durable head. `homeport log verify` reads all of them."""
    if not directory.is_dir():
        return Check(name="log", result=Result.SKIPPED, detail="There is no log yet.")
    reader = LogReader(directory)
    try:
        head = reader.head()
        seq, block_count = head.segment_first_seq, 0
        while seq < head.next_seq:
            blocks = reader.read(seq)
            if not blocks:
                break
            block_count += len(blocks)
            seq = blocks[-1].first_seq + blocks[-1].record_count
    finally:
        reader.close()
    return Check(
        name="log",
        result=Result.OK,
        detail=f"The newest segment is whole: {block_count} blocks, up to record {seq - 1}.",
    )


def check_catalog(path: Path, clock: Clock) -> Check:
    """The catalog's file has no damage that SQLite can see."""
    if not path.exists():
        return Check(name="catalog", result=Result.SKIPPED, detail="There is no catalog yet.")
    catalog = Catalog.open_read_only(path, clock=clock)
    try:
        answer = str(catalog.rows("PRAGMA integrity_check(1)")[0][0])
    finally:
        catalog.close()
    if answer != "ok":
        hint = "Stop Homeport and restore catalog.db from a backup."
        return Check(
            name="catalog", result=Result.FAILED, detail=f"The catalog is damaged: {answer}.", hint=hint
        )
    return Check(name="catalog", result=Result.OK, detail="The catalog is whole.")


def check_store(data_dir: Path) -> Check:
    """Whether a store was damaged, set aside and built anew: it mends itself, so nobody would look at the disk."""
    aside = set_aside_files(data_dir / "telemetry.duckdb") if data_dir.is_dir() else []
    if not aside:
        return Check(name="store", result=Result.OK, detail="No damaged store is kept.")
    newest_at = datetime.fromtimestamp(int(aside[-1].name.rsplit("-", 1)[1]) / 1_000, UTC)
    size = sum(path.stat().st_size for path in aside) // MIB
    detail = f"{len(aside)} were set aside and built anew, the last {newest_at:%Y-%m-%d %H:%M} UTC; {size} MiB: {aside[-1].name}."
    hint = "Look at the disk's health; remove what was set aside once nobody needs it to find out why."
    return Check(name="store", result=Result.WARNING, detail=detail, hint=hint)


def check_roles(config: Config, path: Path, clock: Clock) -> Check:
    """Every role that somebody has is in the configuration, and can be one.

    Raises:
        ConfigError: a role's pattern can't be used.
    """
    known = roles_of(config)
    if not path.exists():
        return Check(name="roles", result=Result.SKIPPED, detail="There is no catalog yet.")
    catalog = Catalog.open_read_only(path, clock=clock)
    try:
        in_use = catalog.roles_in_use()
    finally:
        catalog.close()
    missing = sorted(in_use.keys() - known.keys())
    if missing:
        count = sum(in_use[role] for role in missing)
        return Check(
            name="roles",
            result=Result.WARNING,
            detail=f"{count} have a role that the configuration doesn't: {', '.join(missing)}. It opens nothing.",
            hint="Write a [[broker_role]] of that name and restart, or change it with 'homeport device access'.",
        )
    return Check(
        name="roles", result=Result.OK, detail=f"{sum(in_use.values())} have one of {len(known)} roles."
    )


def check_certificates(config: Config, clock: Clock) -> Iterable[Check]:
    """The broker's TLS files can be used as they are now, and go on to be.

    A running broker keeps to what it loaded before when they can't: this is where that shows before its next start.
    """
    path = config.node.data_dir / "identity" / "tls.pem"
    if not path.exists():
        yield Check(name="certificate", result=Result.SKIPPED, detail="There is no certificate yet.")
        return
    files = TlsFiles.of(
        config.broker, path, site_ca=layout.devices_ca(config), site_crl=layout.devices_crl(config)
    )
    try:
        server_context(files)
        if files.client_auth == "required" and files.client_ca is None and not files.site_ca_is_there:
            raise ConfigError(
                'broker.tls_client_auth is "required", and there is no authority yet: nobody gets in.',
                hint="Start Homeport once, which makes the site's authority, or set broker.tls_client_ca.",
            )
        ends = [("certificate", tls_files.certificate_ends_at_ms(path), CERTIFICATE_HINT)]
        if files.client_ca is not None:
            ends.append(("authorities", tls_files.certificate_ends_at_ms(files.client_ca), AUTHORITY_HINT))
        if files.client_crl is not None:
            ends.append(("revocation list", tls_files.crl_ends_at_ms(files.client_crl), CRL_HINT))
    except ConfigError as error:
        detail = f"{error.message} A broker that runs keeps to what it loaded before, until its next start."
        yield Check(name="certificate", result=Result.FAILED, detail=detail, hint=error.hint)
        return
    for name, ends_at_ms, hint in ends:
        days = (ends_at_ms - clock.now_ms()) / DAY_MS
        if days < 0:
            yield Check(name=name, result=Result.FAILED, detail=f"It ended {-days:.0f} days ago.", hint=hint)
        elif days < (CRL_WARN_DAYS if name == "revocation list" else RENEW_BEFORE_DAYS):
            yield Check(name=name, result=Result.WARNING, detail=f"It ends in {days:.0f} days.", hint=hint)
        else:
            yield Check(name=name, result=Result.OK, detail=f"It can be used, for {days:.0f} more days.")


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return next(each for each in (folder, *folder.absolute().parents) if each.exists())


def _files(folder: Path) -> Iterable[Path]:
    """Files two levels deep: enough to see the log's segments and the databases."""
    return (path for pattern in ("*", "*/*", "*/*/*") for path in folder.glob(pattern) if path.is_file())
