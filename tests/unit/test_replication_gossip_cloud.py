"""A cloud node among boxes: it takes no copies, passes none on, counts for nobody's safety, and has its own stream held."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

from replication.gossip.fleet_view import FleetView, PeerInfo
from tests.gossip_kit import World, fleet

A, B, CLOUD = (f"{n:032x}" for n in (1, 2, 3))


def infos() -> list[PeerInfo]:
    a, b, cloud = fleet(3)
    return [a, b, replace(cloud, is_cloud=True)]


def test_it_is_to_hold_nothing_and_is_no_place_that_is_apart() -> None:
    view = FleetView(A, infos())
    assert not view.is_holder(CLOUD, A)
    assert view.is_holder(A, CLOUD)
    assert view.is_holder(B, A)
    assert not view.is_cloud
    assert FleetView(CLOUD, infos()).is_cloud
    assert not FleetView("f" * 32, infos()).is_cloud
    assert not FleetView(A, [infos()[0], infos()[2]]).is_somebody_apart("node")


def test_boxes_write_and_the_cloud_node_takes_nothing() -> None:
    world = World(3, infos())
    for one, two in combinations((A, B, CLOUD), 2):
        world.link(one, two)
    world.run(1_000)
    for name in (A, B, CLOUD):
        world.write(name, records=2, body=bytes(500))
    world.run(200_000)
    assert {stream.node_id for stream in world.nodes[CLOUD].logs} == {CLOUD}
    for name in (A, B):
        assert {stream.node_id for stream in world.nodes[name].logs} == {A, B, CLOUD}


def test_nothing_goes_through_it_where_boxes_have_no_link() -> None:
    world = World(4, infos())
    world.link(A, CLOUD)
    world.link(B, CLOUD)
    world.run(1_000)
    world.write(A, records=2, body=bytes(500))
    world.run(200_000)
    assert not world.nodes[CLOUD].logs
    assert A not in {stream.node_id for stream in world.nodes[B].logs}
