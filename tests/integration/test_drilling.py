"""A drill over the replicator's own links: what comes back from a peer is what is here, nothing else is changed, nothing is left."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from appliance.core.clock import ManualClock, SystemClock
from appliance.identity.fleet import Fleet
from appliance.management.drill import DrillReport
from appliance.run import drilling, layout
from appliance.run.drilling_process import carry_out
from replication.guest_socket import GuestServer
from replication.guests import Guests
from storage.log import LogWriter
from tests import log_kit
from tests.fleet_kit import Box, make_fleet, open_node, until
from tests.integration.test_peer_restoring import copy_to, open_log, running, write_catalog
from tests.log_kit import Record

CLOCK = SystemClock()
HOUR_MS = 3_600_000


@pytest.fixture
def boxes(tmp_path: Path) -> tuple[Box, Box]:
    own, peer = make_fleet(tmp_path, "own", "peer", clock=ManualClock(CLOCK.now_ms() - HOUR_MS))
    write_catalog(own, "pump", "valve")
    write_catalog(peer, "fan")
    write_log(own, 200)
    copy_to(own, peer)
    copy_to(peer, own)
    return own, peer


def write_log(box: Box, count: int) -> None:
    writer: LogWriter = open_log(box.config, box.keys)
    for number in range(count):
        log_kit.append(writer, [Record(b"%d" % number * 300, at_ms=CLOCK.now_ms())] * 5)
    assert writer.wait_idle(10)
    writer.close()


@asynccontextmanager
async def linked(own: Box, peer: Box) -> AsyncIterator[None]:
    """Both run; the own box's links are open to guests."""
    async with running(peer) as (other, _), trio.open_nursery() as nursery:
        node = open_node(own, seed=3, peers=(other,))
        ear = Ear()
        node.links.listener = guests = Guests(node.links, ear)
        await nursery.start(GuestServer(layout.guest_socket(own.config), guests).serve)
        await nursery.start(node.run)
        await until(node.links.peers)
        yield
        await node.links.stop()
        nursery.cancel_scope.cancel()


class Ear:
    def link_up(self, peer: str) -> None: ...

    def link_down(self, peer: str) -> None: ...

    def message(self, peer: str, data: bytes) -> None: ...


async def drill_of(box: Box) -> DrillReport:
    return await carry_out(box.config, "d1", is_scheduled=False, progress=lambda step, done, total: None)


def everything(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(("catalog.db", "roster"))
    }


async def test_what_comes_back_is_what_is_here_and_nothing_is_changed(boxes: tuple[Box, Box]) -> None:
    own, peer = boxes
    identity = Fleet.load(own.data_dir, own.keys).identity
    async with linked(own, peer):
        before = everything(own.data_dir), everything(peer.data_dir)
        report = await drill_of(own)
        assert (everything(own.data_dir), everything(peer.data_dir)) == before, (
            "nothing is left, nor written at the peer"
        )
    assert report.differences == ()
    assert (report.outcome, report.problem) == ("good", "")
    assert (report.rpo_ms, report.rpo_records) == (0, 0)
    assert (report.compared_records, report.compared_series) == (1_000, 1)
    assert (report.asked, report.away, report.lacking) == (("peer",), (), ())
    assert {table.name: table.rows for table in report.tables}["devices"] == 3
    assert {(each.node_id, each.name): each.is_same for each in report.streams} == {
        (own.node_id, "telemetry"): True,
        (own.node_id, "catalog"): True,
        (peer.node_id, "catalog"): None,
    }
    assert report.serve_ms is not None
    assert report.whole_ms is not None
    assert report.serve_ms <= report.whole_ms
    assert report.bytes > 0
    assert "recovery kit" in report.notes[0]
    assert Fleet.load(own.data_dir, own.keys).identity.instance == identity.instance


async def test_what_nobody_else_has_yet_is_told_and_is_no_difference(boxes: tuple[Box, Box]) -> None:
    own, peer = boxes
    write_log(own, 3)
    write_catalog(own, "motor")
    async with linked(own, peer):
        report = await drill_of(own)
    assert report.outcome == "good", report.differences
    assert report.rpo_records is not None
    assert report.rpo_records > 15
    assert report.rpo_ms is not None
    assert 0 < report.rpo_ms < HOUR_MS
    assert report.compared_records == 1_000


async def test_a_peer_with_another_history_is_found(boxes: tuple[Box, Box], tmp_path: Path) -> None:
    own, peer = boxes
    log = layout.telemetry_log(own.config)
    log.rename(tmp_path / "away")
    write_log(own, 201)
    async with linked(own, peer):
        report = await drill_of(own)
    assert report.outcome == "different"
    assert any("another history" in each for each in report.differences)
    assert report.difference_count >= len(report.differences) > 1


async def test_what_a_drill_can_not_do_is_said(
    boxes: tuple[Box, Box], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, peer = boxes
    async with linked(own, peer):
        with monkeypatch.context() as patched:
            patched.setattr(drilling, "DRILL_SPARE_BYTES", 2**60)
            report = await drill_of(own)
            assert report.outcome == "failed"
            assert "MiB are to be had" in report.problem
        (own.data_dir / "drill").write_bytes(b"somebody's file")
        report = await drill_of(own)
        assert report.outcome == "failed"
        assert "can't be made" in report.problem
    (own.data_dir / "drill").unlink()
    stranger, other = make_fleet(tmp_path / "more", "third", "fourth")
    async with linked(stranger, other):
        report = await drill_of(stranger)
        assert "Nobody who can be reached has anything" in report.problem
