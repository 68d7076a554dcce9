"""Streams of nodes to which no link leads get to whoever is to hold them, and news of them soon; nobody else takes them."""

from __future__ import annotations

from itertools import combinations, pairwise

from replication.effects import Send
from replication.gossip.fleet_view import FleetView
from replication.messages import AskHeads, Heads
from tests.gossip_kit import World, fleet

A, B, C = (f"{n:032x}" for n in (1, 2, 3))


def missing(world: World) -> list[tuple[str, str]]:
    """Who is to hold whose stream and hasn't got all of it."""
    view = FleetView("", world.infos)
    return [
        (holder.name, origin.name)
        for origin in world.nodes.values()
        for holder in world.nodes.values()
        if view.is_holder(holder.name, origin.name)
        and holder.machine.head(origin.own).next_seq != origin.machine.head(origin.own).next_seq
    ]


def copy_count(world: World) -> int:
    return sum(stream.node_id != node.name for node in world.nodes.values() for stream in node.logs)


def write_everywhere(world: World) -> None:
    for name in world.nodes:
        world.write(name, records=2, body=bytes(500))


def test_a_ring_that_is_cut_later_goes_the_other_way_round() -> None:
    infos = fleet(9)
    names = [info.node_id for info in infos]
    world = World(7, infos)
    for one, two in [*pairwise(names), (names[-1], names[0])]:
        world.link(one, two)
    write_everywhere(world)
    assert world.run(300_000, until=lambda: not missing(world)), missing(world)
    world.cut(names[3], names[4])
    write_everywhere(world)
    assert world.run(400_000, until=lambda: not missing(world)), missing(world)


def test_where_all_have_links_nobody_takes_what_it_is_not_to_hold() -> None:
    infos = fleet(12)
    world = World(8, infos)
    for one, two in combinations([info.node_id for info in infos], 2):
        world.link(one, two)
    world.run(1_000)
    write_everywhere(world)
    assert world.run(60_000, until=lambda: not missing(world))
    world.run(200_000)
    assert copy_count(world) <= 12 * 3, "three holders each, of which two are pushed to"


def test_news_of_a_stream_pass_a_corner_within_two_seconds() -> None:
    world = World(9, fleet(3))
    world.link(A, B)
    world.link(B, C)
    world.run(30_000)
    for _ in range(30):
        world.write(A)
        assert world.run(2_000, until=world.has_converged)
        world.run(700)
    assert world.nodes[C].machine.reacher.reached_by(A) == B
    assert world.nodes[C].machine.reacher.reached_by(B) == ""
    assert world.nodes[C].machine.reacher.reached_by("0" * 32) == ""


def test_one_that_is_not_of_the_fleet_is_answered_and_nothing_is_begun_for_it() -> None:
    infos = fleet(12)
    world = World(10, infos)
    names = [info.node_id for info in infos]
    world.link(A, B)
    world.run(5_000)
    machine = world.nodes[A].machine
    before = machine.statistics(world.now_ms).passing
    for asker, asked in (("f" * 32, C), (B, "f" * 32), (B, B)):
        if asker not in names:
            machine.connected(asker, world.now_ms)
        answer = machine.receive(asker, AskHeads(asked), world.now_ms)
        assert [type(each.message) for each in answer if isinstance(each, Send)] == [Heads]
    assert machine.statistics(world.now_ms).passing == before


def test_what_is_held_for_others_ends_when_nobody_asks_any_more() -> None:
    infos = fleet(12)
    world = World(11, infos)
    view = FleetView("", infos)
    world.link(A, B)
    world.run(5_000)
    node_id = next(
        info.node_id
        for info in infos[2:]
        if not view.is_holder(A, info.node_id) and not view.is_holder(B, info.node_id)
    )
    machine = world.nodes[A].machine
    world.give(A, machine.receive(B, AskHeads(node_id), world.now_ms))
    assert node_id in machine.statistics(world.now_ms).passing
    world.run(200_000)
    assert node_id not in machine.statistics(world.now_ms).passing
