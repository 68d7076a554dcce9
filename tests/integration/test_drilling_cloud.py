"""A drill out of a region of the cloud: what comes back is what is here, what the region lost is found, and nothing is written anywhere."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from appliance.core.config import Config
from appliance.core.config_tier import TierRegionConfig
from appliance.core.errors import ConfigError, NotFound, Unavailable
from appliance.management.drill import DrillReport
from appliance.run import drilling_cloud
from appliance.run.drilling_cloud import carry_out_of_cloud
from replication.tier.engine import Opening, TierAway
from storage.replicas.streams import StreamId
from tests.fleet_kit import Box
from tests.integration.test_drilling import boxes, everything, write_log
from tests.integration.test_tier_restoring import ship
from tests.tier_kit import MemoryTier

__all__ = ["boxes"]  # the fixture


def cloudy(box: Box, *addresses: str) -> Config:
    regions = tuple(
        TierRegionConfig(name=f"r{number}", address=address) for number, address in enumerate(addresses)
    )
    return dataclasses.replace(box.config, tier_region=regions)


@pytest.fixture
async def tier(boxes: tuple[Box, Box], monkeypatch: pytest.MonkeyPatch) -> MemoryTier:
    own, peer = boxes
    made = MemoryTier()
    await ship(made, own, "telemetry", "catalog")
    await ship(made, peer, "catalog")

    def openings(config: Config) -> dict[str, Opening]:
        return {region.name: made.open for region in config.tier_region}

    monkeypatch.setattr(drilling_cloud, "openings", openings)
    return made


async def drilled(config: Config, region: str = "") -> DrillReport:
    return await carry_out_of_cloud(
        config, "d1", is_scheduled=False, region=region, progress=lambda step, done, total: None
    )


async def test_what_comes_back_is_what_is_here_and_nothing_is_changed(
    boxes: tuple[Box, Box], tier: MemoryTier
) -> None:
    own, peer = boxes
    before = everything(own.data_dir), dict(tier.data), dict(tier.kept_objects)
    report = await drilled(cloudy(own, "s3://bucket/site"))
    assert (everything(own.data_dir), tier.data, tier.kept_objects) == before
    assert report.differences == ()
    assert (report.outcome, report.problem, report.source) == ("good", "", "cloud")
    assert (report.rpo_ms, report.rpo_records) == (0, 0)
    assert (report.compared_records, report.asked, report.lacking) == (1_000, ("r0",), ())
    assert {table.name: table.rows for table in report.tables}["devices"] == 3
    assert {(each.node_id, each.name) for each in report.streams} == {
        (own.node_id, "telemetry"),
        (own.node_id, "catalog"),
        (peer.node_id, "catalog"),
    }
    assert report.serve_ms is not None


async def test_what_is_not_there_yet_is_its_rpo_and_what_the_region_lost_is_different(
    boxes: tuple[Box, Box], tier: MemoryTier
) -> None:
    own, _ = boxes
    write_log(own, 4)
    late = await drilled(cloudy(own, "s3://bucket/site"))
    assert (late.outcome, late.rpo_records) == ("good", 20)
    gone = tier.of_epoch[StreamId(own.node_id, "telemetry"), 1][2]
    tier.lose(gone)
    report = await drilled(cloudy(own, "s3://bucket/site"))
    assert report.outcome == "different"
    assert any(f"records {gone.first_seq} to" in each for each in report.lacking)
    assert "the region r1" not in report.lacking[0]


async def test_what_can_not_be_tried_says_why(boxes: tuple[Box, Box], tier: MemoryTier) -> None:
    own, _ = boxes
    with pytest.raises(NotFound, match="No region"):
        await drilled(own.config)
    with pytest.raises(NotFound, match="no region elsewhere"):
        await drilled(cloudy(own, "s3://bucket/site"), "elsewhere")
    with pytest.raises(ConfigError):
        await drilled(cloudy(own, "homeport://cloud-1/eu"))
    behind = cloudy(own, "homeport://cloud-1/eu", "s3://bucket/site")
    assert (await drilled(behind)).asked == ("r1",), "the first that is asked itself"
    tier.is_away = True
    with pytest.raises((TierAway, Unavailable)):
        await drilled(cloudy(own, "s3://bucket/site"))


async def test_a_region_with_nothing_of_this_box_fails_the_drill(
    boxes: tuple[Box, Box], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own, _ = boxes
    empty = MemoryTier()
    monkeypatch.setattr(drilling_cloud, "openings", lambda config: {"r0": empty.open})
    report = await drilled(cloudy(own, "s3://bucket/site"))
    assert (report.outcome, report.source) == ("failed", "cloud")
    assert "homeport tier list" in report.problem
