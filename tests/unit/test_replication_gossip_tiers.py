"""Regions of the tier as holders: what is there is safe, what they lost is not, everybody hears of it, and nobody asks them for anything."""

from __future__ import annotations

from replication.gossip.fleet_view import FleetView, PeerInfo
from replication.tier.pieces import tier_holder
from storage.replicas.streams import StreamHead
from tests.gossip_kit import World, fleet

A, B = (f"{n:032x}" for n in (1, 2))
EU = tier_holder("eu")
REGION = PeerInfo(node_id=EU, site_id=EU, region="eu", is_tier=True)


def world_of(count: int) -> World:
    world = World(1, fleet(count))
    for node in world.nodes.values():
        node.machine.set_fleet([*fleet(count), REGION], world.now_ms)
    return world


def tell(world: World, node_id: str, head: StreamHead, *, is_less: bool = False) -> None:
    node = world.nodes[node_id]
    node.machine.tiers.has(EU, world.nodes[A].own, head, world.now_ms, is_less=is_less)
    world.give(node_id, node.machine.tick(world.now_ms))


def test_what_a_region_has_is_safe_in_every_domain() -> None:
    world = world_of(1)
    machine = world.nodes[A].machine
    world.write(A, records=3)
    world.run(5_000)
    assert machine.is_somebody_apart("region")
    assert machine.rpo_ms(world.now_ms, "region") == 5_000
    tell(world, A, machine.head(world.nodes[A].own))
    assert machine.rpo_ms(world.now_ms, "region") == 0
    assert machine.tiers.nodes_have(world.nodes[A].own) == 1


def test_what_it_lost_is_safe_there_no_longer() -> None:
    world = world_of(1)
    machine, own = world.nodes[A].machine, world.nodes[A].own
    world.write(A, records=3)
    first = machine.head(own)
    world.run(1_000)
    world.write(A, records=3)
    world.run(1_000)
    tell(world, A, machine.head(own))
    assert machine.safe_seq(own) == 7
    tell(world, A, first, is_less=True)
    assert machine.safe_seq(own) == 4
    tell(world, A, StreamHead(0, 0, b""), is_less=True)
    assert machine.safe_seq(own) == 1


def test_the_writer_hears_of_it_from_whoever_ships() -> None:
    world = world_of(2)
    world.link(A, B)
    world.run(500)
    world.write(A, records=3)
    world.run(500)
    machine, own = world.nodes[A].machine, world.nodes[A].own
    tell(world, B, world.nodes[B].machine.head(own))
    world.run(3_000)
    assert machine.tiers.told(own)[EU].next_seq == 4
    assert machine.tiers.nodes_have(own) == 4
    assert machine.safe_seq(own, "region") == 4


def test_a_region_that_the_fleet_does_not_know_counts_for_nothing() -> None:
    world = World(1, fleet(1))
    world.write(A, records=3)
    machine, own = world.nodes[A].machine, world.nodes[A].own
    machine.tiers.has(EU, own, machine.head(own), world.now_ms)
    assert machine.tiers.told(own) == {}
    assert machine.safe_seq(own) == 1


def test_a_region_is_no_node_that_holds_or_is_counted() -> None:
    nodes = [PeerInfo(node_id=f"{n:032x}", site_id=f"{n:032x}") for n in range(1, 9)]
    view = FleetView(A, [*nodes, REGION])
    assert view.is_holder(B, A)  # eight nodes: everybody holds everything
    assert not view.is_holder(EU, A)
    assert view.is_apart(A, EU, "region")
