"""Two bodies of one node that have both written, a disk that is gone under load, a person's word: nothing that was called safe is lost, nothing is twice."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from storage.log.reader import LogReader
from tests.fleet.network import run
from tests.fleet.rig import Devices, SiteBox, register, within
from tests.fleet.test_identity import METRIC, Pair, copy_of, epoch_of, has_device, pair, problem_of, writes

__all__ = ["pair"]  # the fixture
pytestmark = pytest.mark.long
DISK_BYTES = 4 * 1024**3
"""Of a sparse file: what is written is a few MiB."""


class DiskBox(SiteBox):
    """A box with its data on a disk of its own, which can be copied as a whole: nothing tells the copy from the first."""

    @property
    def image(self) -> Path:
        return self.folder / "image"

    @property
    def data_dir(self) -> Path:
        return self.folder / "disk" / "data"

    def mount(self, image: Path | None = None) -> None:
        """Have a disk: an empty one, or a copy of one that nobody has mounted."""
        if image is None:
            with self.image.open("wb") as file:
                file.truncate(DISK_BYTES)
            run("mkfs.ext4", "-q", "-m", "0", str(self.image))
        else:
            run("cp", "--sparse=always", str(image), str(self.image))
        self.mount_again()
        self.data_dir.mkdir(mode=0o700, exist_ok=True)

    def mount_again(self) -> None:
        self.data_dir.parent.mkdir(exist_ok=True)
        run("mount", "-o", "loop", str(self.image), str(self.data_dir.parent))

    def unmount(self) -> None:
        run("umount", str(self.data_dir.parent))


@pytest.fixture
def disks(tmp_path: Path) -> Iterator[tuple[DiskBox, DiskBox]]:
    """Two boxes that may have one disk, the first with an empty one. Skips where nothing can be mounted; in CI that fails."""
    if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
        pytest.skip("a disk of its own needs root and mkfs.ext4")
    one, clone = DiskBox(tmp_path, "one"), DiskBox(tmp_path, "clone")
    one.mount()
    try:
        yield one, clone
    finally:
        for box in (one, clone):
            if box.data_dir.parent.is_mount():
                box.unmount()


def forks_of(box: SiteBox, node_id: str) -> list[int]:
    """Epochs in which a node's telemetry is known to be forked."""
    return [
        int(fork["epoch"])
        for fork in box.replication()["forks"]
        if fork["node_id"] == node_id and fork["name"] == "telemetry"
    ]


def newest_epoch(box: SiteBox, node_id: str) -> int:
    """Of a node's telemetry, in whatever history a box holds it: a holder calls the one by the stream's name that it had first."""
    return max(
        int(held["epoch"])
        for held in box.replication()["held"]
        if held["node_id"] == node_id and held["name"].startswith("telemetry")
    )


def branches_of(folder: Path, node_id: str) -> list[Path]:
    return sorted((folder / "replicas" / node_id).glob("telemetry.fork-*"))


def test_two_bodies_that_both_wrote_are_one_history_with_a_branch(
    disks: tuple[DiskBox, DiskBox], tmp_path: Path
) -> None:
    one, clone = disks
    other = SiteBox(tmp_path, "other")
    with ExitStack() as stack:
        one.start_and_wait()
        stack.callback(one.stopped)
        assert other.join(one.invite()).exit_code == 0
        other.start_and_wait()
        stack.callback(other.stopped)
        within(60, lambda: one.links() == {"other": "up"}, "linked")
        pair = Pair(one, other, register(one, 4))
        pair.send(one, at_least=40)
        within(60, lambda: one.replication()["rpo_ms"] == 0, "all is on the other box")
        one.stop()
        other.stop()
        one.unmount()
        clone.mount(one.image)
        one.mount_again()
        # Nobody is there who could tell them apart: both write the same epoch.
        one.start_and_wait()
        clone.start_and_wait()
        stack.callback(clone.stopped)
        assert problem_of(one) == problem_of(clone) == ""
        pair.send(one, at_least=40)
        pair.send(clone, at_least=40)
        one.answer("device", "add", "of-one")
        clone.answer("device", "add", "of-clone")

        other.start_and_wait()
        within(120, lambda: "up" in {*one.links().values(), *clone.links().values()}, "one of them is linked")
        within(120, lambda: bool(problem_of(one)) != bool(problem_of(clone)), "one of them ends writing")
        goes_on, waits = (one, clone) if writes(one) else (clone, one)
        pair.send(goes_on, at_least=40)
        within(60, lambda: goes_on.replication()["rpo_ms"] == 0, "all of the first is on the other box")
        goes_on.kill()
        took_s = within(180, lambda: waits.links() == {"other": "up"} and writes(waits), "the second goes on")
        print(f"the second body went on {took_s:.1f} s after the first was killed")
        pair.send(waits, at_least=40)
        pair.one = waits
        pair.are_equal()
        assert newest_epoch(waits, one.node_id) == newest_epoch(other, one.node_id) == 2
        for box in (waits, other):
            assert forks_of(box, one.node_id), "the fork is known"
            for device in ("of-one", "of-clone"):
                within(60, partial(has_device, box, device), f"{device} is on {box.name}")
        assert branches_of(other.data_dir, one.node_id), "the other box has both branches"
        # The first one waits when it is back: somebody has taken its place.
        goes_on.start_and_wait()
        within(60, lambda: problem_of(goes_on) != "", "the first one waits")
        pair.are_equal()


def kit_of(box: SiteBox) -> Path:
    kit = box.folder / "kit.txt"
    kit.write_text(box.run("recovery-kit", "show").output)
    return kit


def test_a_disk_that_is_deleted_under_load_loses_nothing_that_was_safe(pair: Pair) -> None:
    one, other = pair.one, pair.other
    kit, node_id = kit_of(one), one.node_id
    pair.send(one, at_least=40)
    within(60, lambda: one.replication()["rpo_ms"] == 0, "all is on the other box")
    safe_count = pair.acknowledged
    devices = Devices.at(one, pair.credentials, interval_ms=100, seed=50)
    within(60, lambda: sum(devices.acknowledged().values()) >= 40, "readings are acknowledged")
    for path in one.data_dir.iterdir():
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    one.kill()
    shutil.rmtree(one.data_dir)
    one.answer("restore", "--from", f"127.0.0.1:{other.peer_port}", "--kit", str(kit))
    assert one.node_id == node_id
    one.start_and_wait()
    within(120, lambda: one.links() == {"other": "up"} and writes(one), "it may write")
    acknowledged = sum(devices.acknowledged().values())
    within(60, lambda: sum(devices.acknowledged().values()) >= acknowledged + 20, "devices are served")
    report = devices.finish()
    assert report.ok, report.failures
    pair.acknowledged += report.acknowledged
    pair.send(one, at_least=40)
    # What was acknowledged in the moment before the disk went, and no other box had yet, may be lost: no more than that, and the same on both.
    within(
        120,
        lambda: one.readings(METRIC) == other.readings(METRIC) and not one.replication()["rpo_ms"],
        "both have the same",
    )
    rows, different = one.readings(METRIC)
    assert rows == different, "nothing is there twice"
    print(f"{pair.acknowledged} acknowledged, {different} there")
    assert safe_count + 40 < different <= pair.acknowledged
    assert pair.acknowledged - different <= 4, "a device has one reading in flight"
    assert epoch_of(one, node_id) == epoch_of(other, node_id) == 2


def test_a_copy_goes_on_by_an_administrators_word_where_no_other_box_is_left(pair: Pair) -> None:
    one, other = pair.one, pair.other
    pair.send(one, at_least=40)
    within(60, lambda: one.replication()["rpo_ms"] == 0, "all is on the other box")
    one.kill()
    other.kill()
    clone = copy_of(one, "clone")
    clone.start_and_wait()
    try:
        within(60, lambda: "copy of the node" in problem_of(clone), "it knows that it is a copy")
        refused = clone.run("peer", "grant", "--reason", "box burnt")
        assert refused.exit_code != 0, "nobody answered whether the others are off"
        assert not writes(clone)
        granted = clone.answer("peer", "grant", "--reason", "box burnt", "--yes")
        took_s = within(120, lambda: writes(clone), "it may write")
        print(f"the copy went on {took_s:.1f} s after it was granted")
        pair.send(clone, at_least=40)
        clone.has_each_reading_once(METRIC, pair.acknowledged)
        assert epoch_of(clone, clone.node_id) == 2
        (grant,) = clone.answer("peer", "list")["grants"]
        assert (grant["epoch"], grant["reason"]) == (2, "box burnt")
        other.start_and_wait()
        within(120, lambda: clone.links() == {"other": "up"}, "the other box is back, and takes it")
        pair.one = clone
        pair.are_equal()
        reader = LogReader(other.data_dir / "replicas" / clone.node_id / "telemetry")
        assert reader.head().epoch == 2
        reader.close()
        assert granted["branch"] in headers_of(clone.data_dir / "log" / "telemetry")
    finally:
        clone.stopped()


def headers_of(log: Path) -> str:
    """The headers of all segments, hexadecimal."""
    return " ".join(path.read_bytes()[:4096].hex() for path in sorted(log.glob("*-*.*")))
