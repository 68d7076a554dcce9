"""Whatever the network does for a while: afterwards everybody has everything, and nothing that was called safe was a mistake."""

from __future__ import annotations

import random
from itertools import combinations, pairwise

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from replication.gossip.fleet_view import FleetView
from tests.gossip_kit import Weather, World, fleet
from tests.sampling import examples

steps = st.lists(
    st.tuples(st.sampled_from(["write", "cut", "link", "wait"]), st.integers(0, 6), st.integers(0, 6)),
    min_size=5,
    max_size=60,
)


def called_safe_is_stored_elsewhere(world: World) -> None:
    for node in world.nodes.values():
        seq = node.machine.safe_seq(node.own)
        others = [other for other in world.nodes.values() if other is not node and node.own in other.logs]
        if seq > 1:
            best = max(
                (
                    frame.next_seq
                    for other in others
                    for frame in other.logs[node.own].frames
                    if frame in node.logs[node.own].frames
                ),
                default=1,
            )
            assert best >= seq


@given(
    seed=st.integers(0, 2**32),
    size=st.integers(2, 6),
    sites=st.integers(1, 3),
    loss=st.sampled_from([0.0, 0.1, 0.3]),
    twice=st.sampled_from([0.0, 0.2]),
    disorder=st.sampled_from([0.0, 0.3]),
    slowest_ms=st.sampled_from([5, 300, 3000]),
    steps=steps,
)
@settings(max_examples=examples(40), suppress_health_check=list(HealthCheck))
def test_any_weather_then_a_calm_brings_everything_to_everybody(
    seed: int,
    size: int,
    sites: int,
    loss: float,
    twice: float,
    disorder: float,
    slowest_ms: int,
    steps: list[tuple[str, int, int]],
) -> None:
    infos = fleet(size, sites=sites)
    world = World(
        seed, infos, weather=Weather(loss=loss, twice=twice, disorder=disorder, delay_ms=(1, slowest_ms))
    )
    names = [info.node_id for info in infos]
    for step, x, y in steps:
        one, two = names[x % size], names[y % size]
        is_linked = frozenset((one, two)) in world.links
        if step == "write":
            world.write(one, records=1 + y, body=bytes(1000 * (1 + y) ** 2))
        elif step == "cut" and is_linked:
            world.cut(one, two)
        elif step == "link" and one != two and not is_linked:
            world.link(one, two)
        else:
            world.run(500 * (1 + x))
        called_safe_is_stored_elsewhere(world)
    world.weather.loss = world.weather.twice = world.weather.disorder = 0.0
    world.weather.delay_ms = (1, 50)
    for one, two in pairwise(names):
        if frozenset((one, two)) not in world.links:
            world.link(one, two)
    assert world.run(240_000, until=world.has_converged)
    world.run(30_000 * size)
    called_safe_is_stored_elsewhere(world)
    for node in world.nodes.values():
        assert node.machine.rpo_ms(world.now_ms) == 0
        assert node.machine.forks.proofs == ()
        numbers = node.machine.statistics(world.now_ms)
        assert (numbers.under_way_bytes, numbers.lagging_count) == (0, 0)
        # What was on its way when a link was cut is counted off when it was dropped.
        assert numbers.unsent_bytes == 0
        for peer in numbers.peers:
            assert (peer.pushed_bytes, peer.pulled_bytes, peer.unsent_bytes) == (0, 0, 0)


@given(seed=st.integers(0, 2**32), size=st.integers(3, 5))
@settings(max_examples=examples(10))
def test_the_same_seed_is_the_same_run(seed: int, size: int) -> None:
    def run() -> tuple[int, dict[str, tuple[int, int, bytes]]]:
        infos = fleet(size)
        world = World(seed, infos, weather=Weather(loss=0.2, delay_ms=(1, 100)))
        for one, two in combinations([info.node_id for info in infos], 2):
            world.link(one, two)
        for n in range(20):
            world.write(infos[n % size].node_id, body=bytes(100))
            world.run(700)
        return world.carried_bytes, world.heads(world.nodes[infos[0].node_id].own)

    assert run() == run()


@given(
    seed=st.integers(0, 2**32),
    shape=st.sampled_from(["line", "star", "tree"]),
    sites=st.sampled_from([12, 6, 3]),
    changes=st.lists(st.tuples(st.integers(0, 11), st.integers(1, 60)), max_size=6),
)
@settings(max_examples=examples(8))
def test_in_a_fleet_without_all_links_whoever_is_to_hold_a_stream_gets_it(
    seed: int, shape: str, sites: int, changes: list[tuple[int, int]]
) -> None:
    """Twelve nodes, so that not everybody holds everything: those between pass on what they aren't to hold."""
    infos = fleet(12, sites=sites)
    names = [info.node_id for info in infos]
    random.Random(seed).shuffle(names)
    world = World(seed, infos)
    for number in range(1, 12):
        before = {"line": number - 1, "star": 0, "tree": (number - 1) // 2}[shape]
        world.link(names[before], names[number])
    for number, wait_s in changes:
        world.write(names[number], body=bytes(1_000))
        world.run(1000 * wait_s)
    for name in names:
        world.write(name, body=bytes(1_000))
    fleet_view = FleetView("", infos)
    owed = [
        (world.nodes[holder].machine, world.nodes[origin].own, world.nodes[origin].machine)
        for origin in names
        for holder in names
        if fleet_view.is_holder(holder, origin)
    ]
    assert world.run(
        600_000, until=lambda: all(copy.head(own) == writer.head(own) for copy, own, writer in owed)
    )
    world.run(120_000)
    assert {node.machine.rpo_ms(world.now_ms) for node in world.nodes.values()} == {0}
