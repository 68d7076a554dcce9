"""How fast fleets of 10, 100 and 1,000 nodes come to know the same, and what that costs them: in simulated time, so no machine matters."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from replication.gossip.fleet_view import FleetView, PeerInfo
from replication.membership.claims import Condition
from replication.simulation.body import Body
from replication.simulation.runner import rare_collections
from replication.simulation.world import World, node_id
from tests.bench import harness

SITE_NODE_COUNT = 3
STRANGER_COUNT = 6
"""Links of a node beside those within its site and to and from those who hold its streams, in a fleet without all of them."""
MESH_NODE_COUNT_MAX = 16
SETTLED_S_MAX = 600
IDLE_S = 60
QUIET_AFTER_MS = 240_000
"""By then all have told each other who holds what."""
WITHIN_S_MAX = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one fleet did. Times are simulated but for the processor's.

    Args:
        links: Of one node, on average.
        settled_s: From the start of all nodes until all see all alive and every holder has what it is to hold.
        write_ms: From the commit of a block until every holder has it.
        death_s: From the end of a node until all others call it dead.
        idle_bytes: Sent by one node in a second while nothing happens.
        idle_cpu_us: Of the machines and of what they run on, for one node and second.
    """

    nodes: int
    links: float
    settled_s: float | None
    write_ms: int | None
    death_s: float | None
    idle_bytes: int
    idle_cpu_us: int


def ways(roster: list[PeerInfo], source: random.Random) -> list[tuple[int, int]]:
    """Who has a link to whom: all in a small fleet; else the site, holders, and some strangers."""
    count = len(roster)
    if count <= MESH_NODE_COUNT_MAX:
        return [(at, other) for at in range(count) for other in range(at)]
    fleet = FleetView("", roster)
    found: dict[tuple[int, int], None] = {}
    for at, info in enumerate(roster):
        near = [
            n for n, other in enumerate(roster) if n != at and fleet.is_holder(other.node_id, info.node_id)
        ]
        strangers = source.sample(range(count), STRANGER_COUNT // 2)
        for other in (*near, *strangers):
            if other != at:
                found[(max(at, other), min(at, other))] = None
    return list(found)


def measure(count: int, seed: int = 1) -> Figures:
    """One fleet."""
    roster = [
        PeerInfo(
            node_id=node_id(number),
            site_id=f"site{number // SITE_NODE_COUNT}",
            region=f"region{number // SITE_NODE_COUNT % 2}",
        )
        for number in range(count)
    ]
    pairs = ways(roster, random.Random(seed))
    world = World(seed, count, pairs, roster=roster)
    for body in world.bodies:
        body.write_interval_ms = 0
        body.start()
    settled_ms = until(world, 1_000, SETTLED_S_MAX, settling(world))
    world.scheduler.run_until(world.scheduler.now_ms + QUIET_AFTER_MS)
    sent_bytes, began_s = world.network.bytes_total, time.process_time()
    world.scheduler.run_until(world.scheduler.now_ms + IDLE_S * 1_000)
    idle_cpu_s = time.process_time() - began_s
    idle_bytes = world.network.bytes_total - sent_bytes
    writer = world.bodies[0]
    writer.writer.write_block()
    write_ms = until(world, 20, WITHIN_S_MAX, lambda: is_everywhere(world, writer))
    gone = world.bodies[count // 2]
    gone.crash()
    death_ms = until(world, 500, WITHIN_S_MAX, lambda: is_dead_to_all(world, gone))
    assert not world.judge.breaches, world.judge.breaches
    return Figures(
        nodes=count,
        links=2 * len(pairs) / count,
        settled_s=None if settled_ms is None else settled_ms / 1000,
        write_ms=write_ms,
        death_s=None if death_ms is None else death_ms / 1000,
        idle_bytes=idle_bytes // count // IDLE_S,
        idle_cpu_us=int(idle_cpu_s * 1e6 / count / IDLE_S),
    )


def until(world: World, step_ms: int, within_s: int, is_so: Callable[[], bool]) -> int | None:
    """How long it takes until something is so; None: longer than may be."""
    began_ms = world.scheduler.now_ms
    while world.scheduler.now_ms < began_ms + within_s * 1_000:
        world.scheduler.run_until(world.scheduler.now_ms + step_ms)
        if is_so():
            return world.scheduler.now_ms - began_ms
    return None


def settling(world: World) -> Callable[[], bool]:
    """Whether all see all alive and every holder has what it is to hold; asked again and again, it looks at whom it found wanting before."""
    unsettled = list(world.bodies)

    def is_settled() -> bool:
        others = len(world.bodies) - 1
        while unsettled and unsettled[-1].membership.statistics().alive_count == others:
            unsettled.pop()
        return not unsettled and not world.judge.missing(world.fleet)

    return is_settled


def is_everywhere(world: World, writer: Body) -> bool:
    """Whether all who are to hold a node's stream have its newest block."""
    log = writer.disk.logs[writer.own]
    if log.pending or not log.frames:
        return False
    newest = log.frames[-1]
    return all(
        (copy := body.disk.logs.get(writer.own)) is not None
        and copy.hash_at(newest.epoch, newest.next_seq) == newest.hash
        for body in world.bodies
        if world.fleet.is_holder(body.node_id, writer.node_id)
    )


def is_dead_to_all(world: World, gone: Body) -> bool:
    """Whether all others call a node dead."""
    return all(
        body.membership.condition(gone.node_id) is Condition.DEAD for body in world.bodies if body is not gone
    )


@click.command("convergence")
@click.option(
    "--nodes", "counts", type=click.IntRange(3, 1_000), multiple=True, default=(10, 100), show_default=True
)
@click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False))
def convergence(counts: tuple[int, ...], json_path: Path | None) -> None:
    """Simulated fleets: until all know a death, until a write is everywhere it should be, bytes while idle."""
    with rare_collections():
        found = [measure(count) for count in counts]
    rows = [
        (
            each.nodes,
            f"{each.links:.1f}",
            told(each.settled_s),
            told(each.write_ms),
            told(each.death_s),
            each.idle_bytes,
            each.idle_cpu_us,
        )
        for each in found
    ]
    headers = (
        "nodes",
        "links of one",
        "settled s",
        "write ms",
        "death s",
        "idle bytes/s of one",
        "idle cpu µs/s of one",
    )
    click.echo(harness.table(headers, rows))
    harness.finish("convergence", {"fleets": [asdict(each) for each in found]}, [], json_path)


def told(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:g}"
