"""A box that was restored without its past has it while it serves, and at a start it is as if it had never been away."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from appliance.core.clock import SystemClock
from appliance.identity.keys import SiteKeys
from appliance.management.replication_state import PastState
from appliance.run import layout, past_fetching
from appliance.run.past_fetching import PastFetching
from appliance.run.past_joining import join_pending_past
from replication.guests import Guests
from storage.log.disk import OsDisk
from storage.log.verify import verify
from storage.replicas.past import PastWanted, past_wanted
from tests.fleet_kit import Box, open_node, until
from tests.integration.test_drilling import Ear
from tests.integration.test_peer_restoring import Site, open_log, restore, running
from tests.integration.test_peer_restoring import site as site
from tests.replica_kit import segments_of
from tests.storage_log_kit import append_blocks

CLOCK = SystemClock()


async def restored(site: Site) -> Box:
    """A box that came back without its past and has gone on since."""
    async with running(site.peer) as (node, _):
        await restore(site, node, is_past_later=True)
    box = Box(config=site.config, keys=SiteKeys.load_existing(site.config.node.data_dir))
    writer = open_log(box.config, box.keys)
    append_blocks(writer, 5, seed=2)
    writer.close()
    return box


@asynccontextmanager
async def fetching(box: Box, peer: Box) -> AsyncIterator[PastFetching]:
    async with running(peer) as (other, _), trio.open_nursery() as nursery:
        node = open_node(box, seed=3, peers=(other,))
        node.links.listener = guests = Guests(node.links, Ear())
        await nursery.start(node.run)
        await until(node.links.peers)
        past = PastFetching(box.config, box.node_id, guests, clock=CLOCK)
        nursery.start_soon(past.run)
        yield past
        await node.links.stop()
        nursery.cancel_scope.cancel()


def is_ready(past: PastFetching) -> bool:
    return past.state is not None and past.state.state == "ready"


def wanted_of(box: Box) -> PastWanted | None:
    return past_wanted(OsDisk(), layout.telemetry_log(box.config))


def make_old(config_dir: Path) -> list[Path]:
    """What is made of the log, and has to begin anew with its past."""
    paths = [
        config_dir / name
        for name in (
            "telemetry.duckdb",
            "site/order",
            "broker/checkpoint",
            "log/telemetry/cursors/pipeline",
            "archive/state/x.state",
        )
    ]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"old")
    return paths


async def test_the_past_comes_while_it_serves_and_is_in_its_place_after_a_start(site: Site) -> None:
    before = segments_of(layout.telemetry_log(site.lost.config))
    box = await restored(site)
    wanted = wanted_of(box)
    assert wanted is not None
    async with fetching(box, site.peer) as past:
        await until(lambda: is_ready(past))
        total = wanted.next_seq - 1
        assert past.state == PastState(state="ready", done=total, total=total)
    assert wanted_of(box) == wanted, "nothing is in its place yet"
    old = make_old(box.data_dir)
    assert join_pending_past(box.config)
    assert [path for path in old if path.exists()] == []
    assert not layout.past(box.config).exists()
    assert not join_pending_past(box.config)
    assert wanted_of(box) is None
    report = verify(layout.telemetry_log(box.config))
    assert report.ok, report.damaged
    assert (report.first_seq, report.dropped) == (1, ())
    found = segments_of(layout.telemetry_log(box.config))
    assert {name: found[name] for name in before} == before
    writer = open_log(box.config, box.keys)
    assert not writer.recovery.damaged
    append_blocks(writer, 5, seed=4)
    assert writer.wait_idle(10)
    writer.close()
    after = verify(layout.telemetry_log(box.config))
    assert after.ok
    assert after.next_seq > report.next_seq
    assert len(after.segments) >= len(before)


async def test_it_goes_on_where_it_was_and_a_start_in_between_changes_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = await restored(site)
    monkeypatch.setattr(past_fetching, "RETRY_S", 0.01)
    with monkeypatch.context() as full:
        full.setattr(past_fetching, "DRILL_SPARE_BYTES", 2**60)
        async with fetching(box, site.peer) as past:
            await until(lambda: past.state is not None and past.state.problem)
            assert past.state is not None
            assert past.state.state == "waiting"
            assert "so full" in past.state.problem
    assert not join_pending_past(box.config)
    begun = segments_of(layout.past(box.config) / "telemetry")
    assert begun, "what came is kept"
    async with fetching(box, site.peer) as past:
        await until(lambda: is_ready(past))
    async with fetching(box, site.peer) as past:
        await until(lambda: is_ready(past))  # as after a restart before which it was not put in place
    assert join_pending_past(box.config)


async def test_a_start_that_was_cut_off_is_done_by_the_next(site: Site) -> None:
    box = await restored(site)
    async with fetching(box, site.peer) as past:
        await until(lambda: is_ready(past))
    ready = layout.past(box.config)
    shutil.copytree(ready, ready.with_name("again"))
    assert join_pending_past(box.config)
    # As if it had been cut off behind the last rename, or before what is made of the log was removed.
    shutil.rmtree(ready, ignore_errors=True)
    (ready.with_name("again")).rename(ready)
    old = make_old(box.data_dir)
    assert not join_pending_past(box.config)
    assert not any(path.exists() for path in old)
    assert verify(layout.telemetry_log(box.config)).ok


async def test_what_nobody_has_or_is_another_history_is_said(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = await restored(site)
    wanted = wanted_of(box)
    assert wanted is not None
    monkeypatch.setattr(past_fetching, "RETRY_S", 0.01)
    with monkeypatch.context() as patched:
        other = PastWanted(epoch=wanted.epoch, next_seq=wanted.next_seq, hash=bytes(32))
        patched.setattr(PastFetching, "_wanted", lambda self: other)
        async with fetching(box, site.peer) as past:
            await until(lambda: past.state is not None and "another history" in past.state.problem)
    shutil.rmtree(layout.past(box.config))
    shutil.rmtree(site.peer.data_dir / "replicas" / box.node_id / "telemetry")
    async with fetching(box, site.peer) as past:
        await until(lambda: past.state is not None and past.state.problem)
        assert past.state is not None
        assert "is had up to record 0" in past.state.problem


async def test_a_past_of_another_restore_is_thrown_away_and_damage_is_said(site: Site) -> None:
    box = await restored(site)
    folder = layout.past(box.config)
    folder.mkdir()
    (folder / "ready").write_text(json.dumps({"epoch": 9, "next_seq": 9, "hash": "00"}))
    assert not join_pending_past(box.config)
    assert not folder.exists()
    folder.mkdir()
    (folder / "ready").write_bytes(b"nonsense")
    assert not join_pending_past(box.config)
    assert folder.exists(), "somebody may look at it"


async def test_a_box_that_lacks_nothing_asks_for_nothing(site: Site) -> None:
    past = PastFetching(site.lost.config, site.lost.node_id, Guests(_NoLinks(), Ear()), clock=CLOCK)
    await past.run()
    assert past.state is None
    (layout.telemetry_log(site.lost.config) / "dropped").write_bytes(b"nonsense")
    await past.run()
    assert past.state is None


class _NoLinks:
    def peers(self) -> list[str]:
        return []

    def send(self, *_: object) -> bool:
        return False
