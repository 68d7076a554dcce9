"""Which blobs a box lacks: images that its catalog names, and days of other boxes of its site that it doesn't make itself."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock, SystemClock
from appliance.core.config import Config, NodeConfig
from appliance.core.errors import StorageError
from appliance.core.limits_replication import DAY_HOLDER_COUNT
from appliance.management.fleet import Roster
from appliance.run import layout
from appliance.run.blob_wiring import SiteBlobs
from appliance.run.day_blobs import FOLDER, UNNAMED_KEPT_MS, DayBlobs, day_holders
from replication.blob_work import BlobUnit, safety_of
from storage.archive.layout import generation_folder
from storage.archive.manifest import ArchiveFile, Manifest, Position, publish
from storage.artifacts.space import Room
from storage.catalog import Catalog
from storage.catalog.archived_days import ArchivedDay
from storage.catalog.artifacts import Artifact
from storage.log.disk_level import Space

IMAGE = b"an image"
NAME = hashlib.sha256(IMAGE).digest()
OURS, THEIRS = "aa" * 16, "bb" * 16
DAY = 20_000


def test_what_the_catalog_names_and_the_folder_lacks_is_wanted(tmp_path: Path) -> None:
    config = Config(node=NodeConfig(data_dir=tmp_path, run_dir=tmp_path))
    blobs = SiteBlobs(config, OURS, lambda: Roster(""), SystemClock())
    with pytest.raises(StorageError):
        blobs.look()
    catalog = Catalog.open(layout.catalog(config), clock=SystemClock(), node_id=bytes(16))
    try:
        assert not blobs.look().wanted
        artifact = Artifact(
            artifact_id="a1",
            name="pump",
            version="1.0",
            sha256=NAME.hex(),
            sha1="cd" * 20,
            size_bytes=len(IMAGE),
            filename="pump.bin",
            format="raw",
            hw=("rev2",),
            epoch=1,
            created_by="anna",
        )
        catalog.add_artifact(artifact)
        look = blobs.look()
        assert (look.held, look.wanted, look.lacking["image"]) == ({}, {NAME: len(IMAGE)}, 1)
        assert blobs.write(NAME, len(IMAGE), 0, IMAGE[:3]) == "more"
        assert blobs.look().begun == {NAME: 3}
        assert blobs.write(NAME, len(IMAGE), 3, IMAGE[3:]) == "whole"
        look = blobs.look()
        assert (look.held, look.wanted, look.begun) == ({NAME: len(IMAGE)}, {}, {})
        assert [(unit.kind, unit.blobs) for unit in look.units] == [("image", {NAME: len(IMAGE)})]
        assert blobs.read(NAME, 3, 100) == (IMAGE[3:], len(IMAGE))
        assert blobs.write(bytes(32), 3, 0, b"abc") == "failed", "nobody wants it"
    finally:
        catalog.close()


class Archive:
    """A node's archive, and what it announces."""

    def __init__(self, folder: Path, node_id: str) -> None:
        self.root = folder
        self.node_id = node_id

    def day(self, day: int, data: bytes, *, generation: int = 1, content: str = "") -> ArchivedDay:
        folder = generation_folder(self.root, day, generation)
        folder.mkdir(parents=True)
        (folder / "default-000.parquet").write_bytes(data)
        file = ArchiveFile(
            name="default-000.parquet", class_id="default", rows=1, bytes=len(data), sha256=hashlib.sha256(data).hexdigest(),
            first_device="a", last_device="a", first_ms=0, last_ms=0,
        )  # fmt: skip
        manifest = Manifest(
            format_version=1, day=folder.parent.name, generation=generation, through=Position(epoch=1, next_seq=1), made_at_ms=5,
            classes=(), rows=1, bytes=len(data), content_sum="1", content_hash="h", files=(file,),
        )  # fmt: skip
        publish(folder, manifest)
        written = (folder / "manifest.json").read_bytes()
        return ArchivedDay(
            node_id=self.node_id, lineage="0" * 16, day=day, generation=generation, manifest_sha256=hashlib.sha256(written).hexdigest(),
            manifest_bytes=len(written), total_bytes=len(written) + len(data), content=content or data.hex(), made_at_ms=5,
        )  # fmt: skip


class Site:
    """Two boxes: the other one has days, this one copies them."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.folder = folder
        self.theirs = Archive(folder / "theirs" / "archive", THEIRS)
        self.ours = Archive(folder / "ours" / "archive", OURS)
        self.holder = self.box("ours")
        self.maker = self.box("theirs")

    def box(self, name: str, *, quota_bytes: int = 2**30, free_percent: int = 90) -> DayBlobs:
        data_dir = self.folder / name
        data_dir.mkdir(exist_ok=True)
        space = Space(total_bytes=2**40, free_bytes=2**40 * free_percent // 100)
        room = Room(
            size_bytes_max=2**30, quota_bytes=quota_bytes, used_percent_max=100, space=lambda _: space
        )
        return DayBlobs(data_dir, data_dir / "archive", room, low_percent=85, clock=self.clock)

    def pull(self, rows: list[ArchivedDay]) -> None:
        """Until nothing is lacking any more that the maker has."""
        self.maker.look(rows, THEIRS, lambda _: False)
        for _ in range(3):
            self.holder.look(rows, OURS, lambda _: True)
            for blob, size_bytes in self.holder.wanted.items():
                data, found_bytes = self.maker.read(blob, 0, 2**20)
                assert data is not None
                assert found_bytes == size_bytes
                assert self.holder.write(blob, size_bytes, 0, data) == "whole"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_day_comes_by_its_manifest_and_is_served_on(site: Site) -> None:
    row = site.theirs.day(DAY, b"parquet")
    manifest, file = bytes.fromhex(row.manifest_sha256), hashlib.sha256(b"parquet").digest()
    site.holder.look([row], OURS, lambda _: True)
    assert set(site.holder.wanted) == {manifest}
    site.pull([row])
    assert site.holder.held == {manifest: row.manifest_bytes, file: 7}
    assert site.holder.wanted == {}
    assert site.holder.copies_bytes == row.total_bytes
    assert site.holder.read(file, 2, 3) == (b"rqu", 7)
    assert site.holder.units == (), "copies of others are nothing that this box could lose"
    (unit,) = site.maker.units
    assert unit == BlobUnit(kind="day", blobs=site.holder.held, since_ms=5)


def test_nobody_copies_who_is_no_holder(site: Site) -> None:
    site.holder.look([site.theirs.day(DAY, b"parquet")], OURS, lambda _: False)
    assert site.holder.wanted == {}


def test_a_day_with_the_same_readings_is_not_copied_and_counts(site: Site) -> None:
    theirs, ours = site.theirs.day(DAY, b"one", content="c"), site.ours.day(DAY, b"two", content="c")
    other = site.theirs.day(DAY + 1, b"three", content="d")
    site.holder.look([other, theirs, ours], OURS, lambda _: True)
    assert set(site.holder.wanted) == {bytes.fromhex(other.manifest_sha256)}
    (unit,) = site.holder.units
    assert unit.instead == {bytes.fromhex(theirs.manifest_sha256): theirs.manifest_bytes}
    assert safety_of("day", [unit], unit.instead.__contains__).safe_count == 1
    (generation_folder(site.ours.root, DAY, 1) / "default-000.parquet").unlink()
    site.holder.look([other, theirs, ours], OURS, lambda _: True)
    assert site.holder.units == ()
    assert len(site.holder.wanted) == 2, (
        "this box's own day is gone: it counts no more, and the other one's is copied"
    )


def test_a_day_that_was_written_anew_replaces_its_copies_an_hour_later(site: Site) -> None:
    old = site.theirs.day(DAY, b"old")
    site.pull([old])
    new = site.theirs.day(DAY, b"new", generation=2)
    site.pull([new])
    gone = hashlib.sha256(b"old").digest()
    assert gone in site.holder.held
    site.clock.advance(UNNAMED_KEPT_MS)
    site.holder.look([new], OURS, lambda _: True)
    assert set(site.holder.held) == {bytes.fromhex(new.manifest_sha256), hashlib.sha256(b"new").digest()}
    assert not (site.folder / "ours" / FOLDER / "blobs" / gone.hex()[:2] / gone.hex()).exists()
    site.holder.look([], OURS, lambda _: True)
    assert site.holder.held, "a catalog that is just being put back names nothing"
    site.clock.advance(UNNAMED_KEPT_MS)
    site.holder.look([], OURS, lambda _: True)
    assert site.holder.held == {}


def test_the_newest_days_have_the_room(site: Site) -> None:
    old, new = site.theirs.day(DAY, b"old"), site.theirs.day(DAY + 1, b"new")
    site.pull([old])
    site.holder = site.box("ours", quota_bytes=new.total_bytes + 1)
    site.holder.look([new, old], OURS, lambda _: True)
    assert site.holder.left_out_count == 1
    assert site.holder.held == {}
    assert set(site.holder.wanted) == {bytes.fromhex(new.manifest_sha256)}


def test_a_disk_that_fills_up_lets_copies_go(site: Site) -> None:
    row = site.theirs.day(DAY, b"old")
    site.pull([row])
    site.holder = site.box("ours", free_percent=10)
    site.holder.look([row], OURS, lambda _: True)
    assert (site.holder.left_out_count, site.holder.held) == (1, {})


def test_two_boxes_of_a_site_hold_the_days_of_each() -> None:
    sites = {f"{n:032x}": "s" for n in range(6)} | {"elsewhere": "t"}
    for origin in sites:
        holders = day_holders(sites, origin)
        assert len(holders) == (0 if origin == "elsewhere" else DAY_HOLDER_COUNT)
        assert origin not in holders
        assert "elsewhere" not in holders
    assert day_holders(sites, "unknown") == frozenset()
    one = next(iter(day_holders(sites, "elsewhere") | day_holders(sites, f"{0:032x}")))
    left = {node: site for node, site in sites.items() if node != one}
    assert len(day_holders(left, f"{0:032x}") & day_holders(sites, f"{0:032x}")) == DAY_HOLDER_COUNT - 1


def test_a_manifest_that_is_none_is_not_believed(site: Site) -> None:
    row = site.theirs.day(DAY, b"parquet")
    path = generation_folder(site.theirs.root, DAY, 1) / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b"default-000", b"default-001"))
    site.maker.look([row], THEIRS, lambda _: False)
    assert (site.maker.held, site.maker.units) == ({}, ())


def test_units_are_counted_by_what_others_have() -> None:
    units = [
        BlobUnit(kind="day", blobs={b"a": 5, b"b": 7}, since_ms=30),
        BlobUnit(kind="day", blobs={b"c": 9}, since_ms=20),
        BlobUnit(kind="day", blobs={b"d": 1}, since_ms=10),
        BlobUnit(kind="image", blobs={b"e": 1}, since_ms=1),
    ]
    found = safety_of("day", units, frozenset((b"a", b"d")).__contains__)
    assert (found.count, found.safe_count, found.unsafe_bytes, found.oldest_unsafe_ms) == (3, 1, 16, 20)
    found = safety_of("image", units, lambda _: True)
    assert (found.count, found.safe_count, found.unsafe_bytes, found.oldest_unsafe_ms) == (1, 1, 0, None)
