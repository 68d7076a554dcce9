"""What must happen when regions of the tier are away for a day, or gone for good."""

from __future__ import annotations

from itertools import pairwise

from replication.simulation.body import Body
from replication.simulation.region import Region
from replication.simulation.tier_world import TierWorld
from replication.tier.shipping import ShippingOptions

HOUR_MS = 3_600_000


def started(*, write_interval_ms: int = 10_000) -> tuple[TierWorld, Body]:
    """One box alone, which ships to two regions as it does by default."""
    world = TierWorld(1, 1, faults_ms=10**12, options=ShippingOptions())
    (body,) = world.bodies
    body.write_interval_ms = write_interval_ms
    body.start()
    run(world, 300_000)
    return world, body


def run(world: TierWorld, for_ms: int) -> None:
    world.scheduler.run_until(world.scheduler.now_ms + for_ms)


def rpo_ms(world: TierWorld, body: Body) -> int:
    return body.gossip.rpo_ms(world.scheduler.now_ms)


def in_one_chain(region: Region, body: Body) -> bool:
    """Whether a region has all of a box's log, each record once."""
    ((_, names),) = region.names.items()
    frames = body.disk.logs[body.own].frames
    return (
        all(name.follows(before) for before, name in pairwise(names))
        and (names[0].first_seq, names[-1].next_seq) == (frames[0].first_seq, frames[-1].next_seq)
        and names[-1].hash == frames[-1].hash
    )


def test_the_cloud_is_away_for_a_day_and_nothing_is_lost() -> None:
    """Scenario 6."""
    world, body = started(write_interval_ms=40_000)
    for region in world.regions:
        region.state = "refuses"
    run(world, 24 * HOUR_MS)
    assert rpo_ms(world, body) >= 24 * HOUR_MS - 600_000, "and says how much it would lose"
    lacked = [len(region.data) for region in world.regions]
    for region in world.regions:
        region.state = "well"
    run(world, 15 * 60_000)
    worst_ms = 0
    for _ in range(60):
        run(world, 1_000)
        worst_ms = max(worst_ms, rpo_ms(world, body))
    assert worst_ms <= 10_000, "what came meanwhile is through, and what is new is safe as soon as before"
    assert all(len(region.data) > count + 200 for region, count in zip(world.regions, lacked, strict=True))
    body.write_interval_ms = 0
    run(world, 180_000)
    assert all(in_one_chain(region, body) for region in world.regions)
    assert not world.judge.breaches


def test_a_region_is_lost_under_load_and_shipping_goes_on_within_a_minute() -> None:
    """Scenario 6: of the live region, by silence and by refusal; it is live again once it has caught up and stayed well."""
    for state in ("silent", "refuses"):
        world, body = started(write_interval_ms=2_000)
        assert body.tier.shipper is not None
        regions = body.tier.shipper.machine.regions
        assert regions.live == "west"
        world.regions[0].state = state
        run(world, 60_000)
        assert regions.live == "east"
        worst_ms = 0
        for _ in range(600):
            run(world, 1_000)
            worst_ms = max(worst_ms, rpo_ms(world, body))
        assert worst_ms <= 10_000
        world.regions[0].state = "well"
        run(world, 200_000)
        assert regions.live == "east", "not before it has been well for 5 minutes"
        run(world, 400_000)
        assert regions.live == "west"
        body.write_interval_ms = 0
        run(world, 180_000)
        assert all(in_one_chain(region, body) for region in world.regions)
        assert not world.judge.breaches


def test_a_region_is_lost_for_good_and_the_box_with_it_and_the_other_has_all_that_was_safe() -> None:
    """Scenario 6: a new box from the region that is left."""
    world, body = started(write_interval_ms=2_000)
    run(world, HOUR_MS // 2)
    world.regions[0].state = "refuses"
    world.tier_judge.lost_regions.add("west")
    run(world, 300_000)
    safe_seq = body.gossip.safe_seq(body.own)
    world.lose_disk(body)
    run(world, 60_000)
    assert body.is_up
    assert body.disk.epoch == 2
    log = body.disk.logs[body.own]
    assert log.frames[0].first_seq == 1
    assert any(frame.next_seq == safe_seq for frame in log.frames), "all that was called safe"
    run(world, 300_000)
    assert rpo_ms(world, body) <= 10_000
    world.judge.final()
    assert world.tier_judge.restored_total == 1
    assert not world.judge.breaches
