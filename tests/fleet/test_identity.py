"""A body of a node that is not its newest: an old snapshot that came back, a clone. Nothing that either wrote is lost, and nothing is there twice."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from device_fw_sim.load.options import Credential
from tests.fleet.rig import Devices, SiteBox, register, within
from tests.integration.test_broker_verbs import until

METRIC = "temperature_celsius"


@dataclass
class Pair:
    """Two boxes of a site."""

    one: SiteBox
    other: SiteBox
    credentials: tuple[Credential, ...]
    acknowledged: int = 0
    seeds: list[int] = field(default_factory=list)

    def send(self, box: SiteBox, *, at_least: int) -> None:
        """Devices of a box send until so many readings were acknowledged."""
        self.seeds.append(1)
        devices = Devices.at(box, self.credentials, interval_ms=200, seed=len(self.seeds))
        within(60, lambda: sum(devices.acknowledged().values()) >= at_least, "readings are acknowledged")
        report = devices.finish()
        assert report.ok, report.failures
        self.acknowledged += report.acknowledged

    def are_equal(self) -> None:
        for box in (self.one, self.other):
            box.has_each_reading_once(METRIC, self.acknowledged)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with ExitStack() as stack:
        one, other = SiteBox(tmp_path, "one"), SiteBox(tmp_path, "other")
        one.start_and_wait()
        stack.callback(one.stopped)
        assert other.join(one.invite()).exit_code == 0
        other.start_and_wait()
        stack.callback(other.stopped)
        until(lambda: one.links() == {"other": "up"} and other.links() == {"one": "up"})
        yield Pair(one, other, register(one, 4))


def epoch_of(box: SiteBox, node_id: str) -> int:
    """Of a node's telemetry, as a box holds it."""
    return max(
        int(held["epoch"])
        for held in box.replication()["held"]
        if held["node_id"] == node_id and held["name"] == "telemetry"
    )


def writes(box: SiteBox) -> bool:
    """It is linked as what it is now, and nothing speaks against writing."""
    return problem_of(box) == ""


def problem_of(box: SiteBox) -> str:
    """Why it copies nothing; its replicator may be starting."""
    answer = box.api().get("/api/v1/replication")
    return str((answer["state"] or answer)["problem"])


def has_device(box: SiteBox, device_id: str) -> bool:
    return any(device["device_id"] == device_id for device in box.answer("device", "list")["devices"])


def test_an_old_snapshot_goes_on_where_its_history_ended(pair: Pair) -> None:
    one, other = pair.one, pair.other
    pair.send(one, at_least=40)
    one.stop()
    shutil.copytree(one.data_dir, one.folder / "snapshot", symlinks=True)
    one.start_and_wait()
    pair.send(one, at_least=40)
    one.answer("device", "add", "later")
    within(
        30, lambda: has_device(other, "later") and not one.replication()["rpo_ms"], "all is on the other box"
    )
    one.kill()
    for path in one.data_dir.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.copytree(one.folder / "snapshot", one.data_dir, symlinks=True, dirs_exist_ok=True)
    one.start_and_wait()
    within(60, lambda: one.links() == {"other": "up"} and writes(one), "it may write")
    pair.send(one, at_least=40)
    pair.are_equal()
    assert has_device(one, "later"), "the catalog's own past is had back as well"
    assert epoch_of(one, one.node_id) == epoch_of(other, one.node_id) == 2
    assert one.replication()["forks"] == other.replication()["forks"] == []


def copy_of(box: SiteBox, name: str) -> SiteBox:
    """A box with ports of its own and a copy of another one's data folder."""
    clone = SiteBox(box.folder.parent, name)
    shutil.copytree(box.data_dir, clone.data_dir, symlinks=True)
    return clone


@pytest.mark.long
def test_a_clone_waits_until_the_first_is_gone(pair: Pair) -> None:
    one = pair.one
    pair.send(one, at_least=40)
    one.stop()
    clone = copy_of(one, "clone")
    one.start_and_wait()
    until(lambda: one.links() == {"other": "up"})
    clone.start_and_wait()
    try:
        within(30, lambda: "refused" in clone.links().values(), "the clone is refused")
        assert "writes nothing" in clone.replication()["problem"]
        pair.send(one, at_least=40)
        assert not one.replication()["problem"]
        within(30, lambda: one.replication()["rpo_ms"] == 0, "all is on the other box")
        one.kill()
        took_s = within(120, lambda: writes(clone), "the clone may write")
        print(f"the clone went on {took_s:.1f} s after the first was killed")
        within(90, lambda: clone.links() == {"other": "up"}, "the clone is linked")
        pair.one = clone
        pair.send(clone, at_least=40)
        pair.are_equal()
        assert epoch_of(clone, clone.node_id) == 2
        one.start_and_wait()
        within(30, lambda: "has taken its place" in problem_of(one), "the first one waits")
        pair.are_equal()
    finally:
        clone.stopped()
