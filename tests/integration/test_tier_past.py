"""A box that comes back out of the cloud without waiting for its log's past: it serves at once, and the past comes from the region."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from appliance.core.errors import Conflict, Unavailable
from appliance.identity.keys import SiteKeys
from appliance.management.replication_state import PastState
from appliance.run import layout, past_fetching
from appliance.run.past_fetching import PastFetching
from appliance.run.past_joining import join_pending_past
from appliance.run.tier_claims import TierClaims
from replication.guests import Guests
from replication.tier.keys import SiteTierKeys
from storage.log.verify import verify
from storage.replicas.streams import StreamId
from tests.fleet_kit import Box, until
from tests.integration.test_drilling import Ear
from tests.integration.test_past_fetching import _NoLinks, is_ready, wanted_of
from tests.integration.test_peer_restoring import CLOCK, Site, devices_of, open_log, site
from tests.integration.test_peer_restoring import records_of as blocks_of
from tests.integration.test_tier_restoring import forked, opened, records_of, restored, ship_streams, tier
from tests.replica_kit import segments_of
from tests.storage_log_kit import append_blocks
from tests.tier_kit import MemoryTier

__all__ = ["site", "tier"]  # the fixtures


async def back(site: Site) -> Box:
    """The lost box, restored without its past, which has gone on since."""
    done = await restored(site.config, site.kit, is_past_later=True)
    assert (done.is_past_later, done.lacking) == (True, ())
    box = Box(config=site.config, keys=SiteKeys.load_existing(site.config.node.data_dir))
    writer = open_log(box.config, box.keys)
    assert writer.head.epoch == 2
    append_blocks(writer, 5, seed=2)
    writer.close()
    return box


@asynccontextmanager
async def fetching(
    box: Box, tier: MemoryTier, *, is_alone: Callable[[], bool] = lambda: False
) -> AsyncIterator[PastFetching]:
    regions = TierClaims({"eu": tier.open}, box.node_id, box.data_dir, SiteTierKeys(box.keys.derive, 1))
    guests = Guests(_NoLinks(), Ear())
    past = PastFetching(box.config, box.node_id, guests, clock=CLOCK, regions=regions, is_alone=is_alone)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(past.run)
        yield past
        nursery.cancel_scope.cancel()


async def test_it_serves_at_once_and_the_past_comes_from_the_region(
    site: Site, tier: MemoryTier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(past_fetching, "RETRY_S", 0.01)
    before = segments_of(layout.telemetry_log(site.lost.config))
    box = await back(site)
    assert devices_of(box.config, box.keys) == dict.fromkeys(("fan", "pump", "valve"), True)
    wanted = wanted_of(box)
    assert wanted is not None
    assert wanted.next_seq == tier.of_epoch[StreamId(box.node_id, "telemetry"), 1][-1].next_seq
    tier.is_away = True
    monkeypatch.setattr("replication.tier.source.RETRY_S", 0.001)
    async with fetching(box, tier) as past:
        await until(lambda: past.state is not None and past.state.problem)
        assert past.state is not None
        assert "Nobody who is reached" in past.state.problem
        tier.is_away = False
        await until(lambda: is_ready(past))
        total = wanted.next_seq - 1
        assert past.state == PastState(state="ready", done=total, total=total)
    assert join_pending_past(box.config)
    report = verify(layout.telemetry_log(box.config))
    assert report.ok, report.damaged
    assert (report.first_seq, report.dropped) == (1, ())
    found = segments_of(layout.telemetry_log(box.config))
    sealed = {name: data for name, data in before.items() if name.endswith(".seg")}
    assert sealed
    assert sealed.items() <= found.items()
    ours = blocks_of(layout.telemetry_log(site.lost.config))
    assert blocks_of(layout.telemetry_log(box.config))[: len(ours)] == ours


async def test_a_full_disk_is_said_as_what_it_is(
    site: Site, tier: MemoryTier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(past_fetching, "RETRY_S", 0.01)
    monkeypatch.setattr(past_fetching, "DRILL_SPARE_BYTES", 2**60)
    box = await back(site)
    async with fetching(box, tier) as past:
        await until(lambda: past.state is not None and "so full" in past.state.problem)


async def test_what_a_region_lost_is_passed_over_only_where_nobody_else_could_have_it(
    site: Site, tier: MemoryTier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(past_fetching, "RETRY_S", 0.01)
    names = list(tier.of_epoch[StreamId(site.lost.node_id, "telemetry"), 1])
    begins = [name.first_seq for name in names if opened(tier, site, name).header_page is not None]
    gone = names[2]
    after = next(seq for seq in begins if seq > gone.first_seq)
    tier.lose(gone)
    box = await back(site)
    is_alone = [False]
    async with fetching(box, tier, is_alone=lambda: is_alone[0]) as past:
        await until(lambda: past.state is not None and past.state.problem)
        assert past.state is not None
        assert f"the records before {gone.first_seq}" in past.state.problem
        is_alone[0] = True
        await until(lambda: is_ready(past))
    assert join_pending_past(box.config)
    seqs, gaps = records_of(layout.telemetry_log(box.config))
    assert gaps == [(gone.first_seq, after)]
    assert set(range(1, names[-1].next_seq)) - seqs == set(range(gone.first_seq, after))


async def test_with_two_histories_or_a_damaged_end_it_is_refused(
    site: Site, tier: MemoryTier, tmp_path: Path
) -> None:
    stream = StreamId(site.lost.node_id, "telemetry")
    last = tier.of_epoch[stream, 1][-1]
    whole = tier.data[stream, 1, last.first_seq]
    tier.data[stream, 1, last.first_seq] = b"rot"
    with pytest.raises(Unavailable, match=r"The end of .* can't be used"):
        await restored(site.config, site.kit, is_past_later=True)
    tier.data[stream, 1, last.first_seq] = whole
    _, held = await forked(site, tier, tmp_path)
    await ship_streams(tier, site.peer, held)
    with pytest.raises(Conflict, match="Two boxes have written"):
        await restored(site.config, site.kit, is_past_later=True)
    there = {path.name for path in site.config.node.data_dir.iterdir()}
    assert not there & {"identity", "log", "catalog.db", "restore.new"}, "nothing was changed"
