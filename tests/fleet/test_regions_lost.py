"""A box that ships to two regions, with devices on it: a region is switched off and comes back.

Everything is real: `homeport run`, a JetStream cluster of three with synced disks, SIGKILL.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from appliance.core.errors import Unavailable
from appliance.identity.keys import SiteKeys
from replication.tier.keys import SiteTierKeys
from replication.tier.pieces import PieceName
from storage.replicas.streams import StreamId
from tests.fleet.rig import Devices, SiteBox, register, within
from tests.tier_servers import Region, jetstream_region

pytestmark = pytest.mark.long
RPO_MS_MAX = 10_000
LIVE_S_MAX = 60.0
DEVICES = 20
WATCHED_S = 75.0


class Watch:
    """What a box says of its regions, looked at again and again: the worst RPO, and how far it called itself safe."""

    def __init__(self, box: SiteBox) -> None:
        self.box = box
        self.rpo_ms_max = 0
        self.safe_next_seq = 0

    def regions(self) -> dict[str, dict[str, Any]]:
        state = self.box.replication()
        self.rpo_ms_max = max(self.rpo_ms_max, state["rpo_ms"] or 0)
        own = [
            held
            for held in state["held"]
            if held["node_id"] == state["node_id"] and held["name"] == "telemetry"
        ]
        if state["unsafe_entries"] == 0:
            self.safe_next_seq = max(self.safe_next_seq, own[0]["next_seq"])
        return {region["name"]: region for region in state["tier"]}


def start(box: SiteBox) -> None:
    """Start a box, and wait until its replicator says something."""

    def is_told() -> bool:
        try:
            return box.api().get("/api/v1/replication")["state"] is not None
        except Unavailable:
            return False  # it is being started

    box.start()
    within(180, is_told, "the replicator is there")


def box_with(folder: Path, *regions: Region) -> SiteBox:
    return SiteBox(
        folder, "box", more="[tier]\naudit_hours = 1\n" + "".join(region.config for region in regions)
    )


def verified(box: SiteBox, region: Region) -> list[PieceName]:
    """What a region has of the box's log: every piece opened, one after the other without gap or overlap."""
    stream = StreamId(box.node_id, "telemetry")
    return region.verified(
        stream, SiteTierKeys(SiteKeys.load_existing(box.data_dir).derive, 1).opening(stream)
    )


def test_a_region_is_switched_off_under_load_and_comes_back(tmp_path: Path) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(jetstream_region(tmp_path, "first"))
        second = stack.enter_context(jetstream_region(tmp_path, "second", servers=1))
        box = box_with(tmp_path, first, second)
        start(box)
        stack.callback(box.stopped)
        devices = Devices.at(box, register(box, DEVICES), interval_ms=500)
        watch = Watch(box)
        within(
            120,
            lambda: all(
                region["lag_entries"] is not None and region["pieces"] for region in watch.regions().values()
            ),
            "both regions have something",
        )
        within(60, lambda: box.replication()["rpo_ms"] == 0, "all is safe once")
        assert watch.regions()["first"]["is_live"]
        watch.rpo_ms_max = 0

        first.switch_off()
        off_at = time.monotonic()
        before = watch.regions()["second"]["pieces"]
        live_after_s = shipped_after_s = 0.0
        while time.monotonic() - off_at < WATCHED_S:
            seen, elapsed_s = watch.regions()["second"], time.monotonic() - off_at
            live_after_s = live_after_s or (elapsed_s if seen["is_live"] else 0.0)
            shipped_after_s = shipped_after_s or (elapsed_s if seen["pieces"] > before + 1 else 0.0)
            time.sleep(0.25)
        print(
            f"first region off: RPO at most {watch.rpo_ms_max} ms, shipping went on after {shipped_after_s:.1f} s, the second one was live after {live_after_s:.1f} s"
        )
        assert watch.rpo_ms_max <= RPO_MS_MAX
        assert 0 < shipped_after_s <= LIVE_S_MAX
        assert 0 < live_after_s <= LIVE_S_MAX

        had = watch.regions()["first"]["pieces"]
        first.switch_on()
        on_at = time.monotonic()
        within(120, lambda: watch.regions()["first"]["pieces"] > had, "the first region gets what it missed")
        report = devices.finish()
        assert report.ok, report.failures
        within(
            120,
            lambda: all(region["lag_entries"] == 0 for region in watch.regions().values()),
            "both regions have everything",
        )
        print(
            f"the first region had everything {time.monotonic() - on_at:.1f} s after it was back; worst RPO {watch.rpo_ms_max} ms"
        )
        box.has_each_reading_once("temperature_celsius", report.acknowledged)
        for region in (first, second):
            assert verified(box, region)[-1].next_seq >= watch.safe_next_seq, "something called safe is lost"
        assert watch.rpo_ms_max <= RPO_MS_MAX
