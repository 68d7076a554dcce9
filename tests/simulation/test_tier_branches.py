"""A box that came back as it was, and wrote where no region could be reached, goes on: what it calls safe is there."""

from __future__ import annotations

from replication.simulation.body import Body
from replication.simulation.tier_pieces import ModelCopy
from replication.simulation.tier_world import TierWorld
from replication.tier.shipping import ShippingOptions
from storage.replicas.streams import StreamId


def run(world: TierWorld, for_ms: int) -> None:
    world.scheduler.run_until(world.scheduler.now_ms + for_ms)


def test_a_tail_of_which_regions_have_another_bodys_is_safe_when_it_is_there() -> None:
    world = TierWorld(1, 1, faults_ms=10**12, options=ShippingOptions(audit_ms=60_000))
    (body,) = world.bodies
    body.write_interval_ms = 10_000
    body.start()
    run(world, 300_000)
    image = body.disk.image()
    world.judge.may_both_write(image)
    run(world, 120_000)
    for line in body.lines.values():
        line.is_cut = True
    body.crash()
    body.disk = image
    body.start()
    run(world, 130_000)
    tail = [frame.hash for frame in body.disk.logs[body.own].frames]
    for line in body.lines.values():
        line.is_cut = False
    run(world, 30_000)
    assert body.disk.must_claim, "it was found out that another one wrote"
    body.crash()
    body.disk.epoch, body.disk.must_claim = body.disk.epoch + 1, False
    world.judge.claimed(body)
    body.start()
    body.write_interval_ms = 10_000
    run(world, 600_000)
    assert not world.judge.breaches, "nothing was called safe that no region had"
    body.write_interval_ms = 0
    run(world, 90_000)
    assert body.gossip.safe_seq(body.own) == body.disk.logs[body.own].end.next_seq
    assert body.gossip.rpo_ms(world.scheduler.now_ms) == 0
    shipper = body.tier.shipper
    assert shipper is not None
    for region in world.regions:
        branches = [stream for stream, _ in region.names if stream.branch]
        assert len(branches) == 1
        restored = restored_from(world, body, region.name, branches[0])
        assert set(tail) <= restored
        assert {frame.hash for frame in body.disk.logs[body.own].frames[-3:]} <= restored, "and goes on"
        counts = shipper.machine.counts[region.name]
        assert counts.audits > 3
        assert counts.lost == 0, "an audit takes the branch for no gap"
    mended = [shipper.machine.counts[region.name].mended for region in world.regions]
    run(world, 300_000)
    assert mended == [shipper.machine.counts[region.name].mended for region in world.regions]


def restored_from(world: TierWorld, body: Body, region: str, branch: StreamId) -> set[bytes]:
    """The hashes of the frames that a restore has of a stream and of a branch of it."""
    source = world._source_of(body, region, body.lines[region])
    copies = [ModelCopy(body.own), ModelCopy(branch)]

    async def work(copy: ModelCopy) -> None:
        await source.copy(copy.log.stream, copy)

    for copy in copies:
        world.run_beside(work(copy))
    run(world, 30_000)
    return {frame.hash for copy in copies for frame in copy.log.frames}
