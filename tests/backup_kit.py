"""A box that has something to lose, for tests of backups: keys, a confirmed kit, a catalog, a log of several segments, an archive."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from pathlib import Path

from appliance.core.clock import ManualClock
from appliance.core.config import BackupConfig, Config, NodeConfig
from appliance.identity import backup_keys, recovery_kit
from appliance.identity.ca import SiteCa
from appliance.identity.keys import SiteKeys
from appliance.identity.recovery_kit import RecoveryKit
from storage.archive import manifest as archive_manifest
from storage.archive.manifest import encode_manifest
from storage.backup import repository as repositories
from storage.backup.manifest import Manifest
from storage.catalog.catalog import Catalog
from storage.log import LogReader, LogWriter
from tests.acts import ACT
from tests.log_kit import Record, body_of
from ui import backup_work

NOW_MS = 1_795_700_000_000
SEGMENT_BYTES = 64 * 1024
IDLE_TIMEOUT_S = 120
"""Hundreds of segments are sealed, on a disk that others sync too."""
DAY_MS = 1_793_491_200_000
"""2026-11-01."""


@dataclass
class Box:
    """One box; its log is written by the real writer."""

    config: Config
    keys: SiteKeys
    kit: RecoveryKit
    clock: ManualClock

    @property
    def data_dir(self) -> Path:
        return self.config.node.data_dir

    @property
    def log(self) -> Path:
        return self.data_dir / "log" / "telemetry"

    def open_log(self) -> LogWriter:
        return LogWriter.open(
            self.log,
            stream="telemetry",
            node_id=self.keys.node_id,
            signer=self.keys.signer,
            clock=self.clock,
            segment_bytes=SEGMENT_BYTES,
        )

    def publish(self, count: int, *, start: int = 0, size: int = 4_000) -> None:
        """Append so many blocks of one record, and leave the log as a writer that ended leaves it."""
        writer = self.open_log()
        for at in range(start, start + count):
            write_one(writer, at, size)
        assert writer.wait_idle(IDLE_TIMEOUT_S)
        writer.close()

    def back_up(self, directory: Path) -> backup_work.Made:
        return backup_work.back_up(self.config, self.keys, directory, clock=self.clock)


def payload(at: int, size: int = 4_000) -> bytes:
    """What doesn't compress, and is the same each time."""
    return b"%d " % at + random.Random(at).randbytes(size)


def write_one(writer: LogWriter, at: int, size: int = 4_000) -> None:
    body, first_ms, last_ms = body_of([Record(payload(at, size), at_ms=NOW_MS)])
    writer.append(body, 1, first_ms, last_ms)


def read_all(directory: Path) -> list[int]:
    """The numbers of all records that a log gives out."""
    reader = LogReader(directory)
    found: list[int] = []
    seq = reader.first_seq()
    while blocks := reader.read(seq):
        for block in blocks:
            found += [int(each.split(b" ", 1)[0]) for each in block.columns().payloads()]
        seq = blocks[-1].next_seq
    reader.close()
    return found


def make_repository(config: Config, keys: SiteKeys) -> tuple[Path, Manifest]:
    """A repository of a box beside its data, with one backup that has no files."""
    data_dir = config.node.data_dir
    recovery_kit.confirm(data_dir)
    header = backup_keys.new_repository(
        data_dir, site_key=keys.derive(backup_work.HEADER_LABEL), node_id=keys.node_id, now_ms=NOW_MS
    )
    directory = data_dir.parent / f"{data_dir.name}-usb"
    repositories.create(directory, header)
    made = Manifest(
        backup_id="20261127T101112Z-00000000",
        made_at_ms=NOW_MS,
        node_id=keys.node_id.hex(),
        node_name="box",
        program="0",
        catalog=(),
        formats={},
        log_epoch=1,
        log_next_seq=1,
        files=(),
    )
    backup_work.open_repository(data_dir, keys, directory).finish(made)
    return directory, made


def day_manifest(content: bytes) -> archive_manifest.Manifest:
    """What the archive says of a day with one file of this content."""
    file = archive_manifest.ArchiveFile(
        name="default-001.parquet",
        class_id="default",
        rows=1,
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        first_device="pump-1",
        last_device="pump-1",
        first_ms=DAY_MS,
        last_ms=DAY_MS,
    )
    return archive_manifest.Manifest(
        format_version=archive_manifest.FORMAT_VERSION,
        day="2026-11-01",
        generation=1,
        through=archive_manifest.Position(epoch=1, next_seq=1),
        made_at_ms=NOW_MS,
        classes=(),
        rows=1,
        bytes=len(content),
        content_sum="1",
        content_hash="none",
        files=(file,),
    )


def make_box(folder: Path, *, keep: int = 14, is_confirmed: bool = True) -> Box:
    """A box that was set up."""
    data_dir, run_dir = folder / "data", folder / "run"
    for each in (data_dir, run_dir):
        each.mkdir(mode=0o700, parents=True)
    clock = ManualClock(now_ms=NOW_MS)
    keys = SiteKeys.load_or_create(data_dir)
    SiteCa.load_or_create(data_dir, keys, clock=clock)
    kit = RecoveryKit.of(data_dir)
    if is_confirmed:
        assert recovery_kit.confirm(data_dir)
    catalog = Catalog.open(data_dir / "catalog.db", clock=clock, node_id=keys.node_id)
    with catalog.transaction(ACT):
        catalog.add_device("pump-1")
        catalog.set_token("pump-1", keys.token_hash(b"hpd_token"))
    catalog.close()
    (data_dir / "cursors").mkdir()
    (data_dir / "cursors" / "bridge-up.json").write_text('{"next_seq": 1}')
    day = data_dir / "archive" / "2026" / "2026-11-01" / "000001"
    day.mkdir(parents=True)
    content = payload(7, 30_000)
    (day / "default-001.parquet").write_bytes(content)
    (day / "manifest.json").write_bytes(encode_manifest(day_manifest(content)))
    (data_dir / "archive" / "state").mkdir()
    (data_dir / "archive" / "state" / "1-5.state").write_bytes(b"state")
    config_file = folder / "homeport.toml"
    config_file.write_text(f'[node]\ndata_dir = "{data_dir}"\nrun_dir = "{run_dir}"\n')
    config = Config(
        node=NodeConfig(name="box", data_dir=data_dir, run_dir=run_dir),
        backup=BackupConfig(directories=(folder,), keep=keep),
        source=config_file,
    )
    return Box(config=config, keys=keys, kit=kit, clock=clock)
