"""What goes wrong in a world: each kind once, with its seed's own times, nodes and extents.

All but `calm` and `short_stalls` may make a node look dead for a while.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from .body import Body
from .disk import Disk
from .world import World

SHORT_STALL_MS_MAX: Final = 10_000
CATALOG_SHARE: Final = 0.15
"""Of the worlds in which no body comes back with less than it had: how such a one gets its catalog is another matter (restore)."""
CALM_AT_END_MS: Final = 15_000
"""Nothing new begins in the last seconds of the faults."""


def begin(world: World, kinds: Sequence[str] = ()) -> None:
    """Choose the faults of a seed, if they aren't told, and have them happen."""
    source = world.source
    if not kinds:
        kinds = source.sample(list(KINDS), source.choices((1, 2, 3), (5, 3, 2))[0])
    if not {"lost_disk", "old_snapshot", "clone"} & set(kinds) and source.random() < CATALOG_SHARE:
        world.give_catalogs()
    for kind in kinds:
        KINDS[kind](world)


def _when(world: World) -> int:
    return world.source.randrange(5_000, world.faults_ms - CALM_AT_END_MS)


def _pair(world: World) -> tuple[Body, Body]:
    one, other = world.source.sample(world.bodies, 2)
    return one, other


def calm(_world: World) -> None:
    """Nothing at all."""


def crashes(world: World) -> None:
    """Processes end and begin anew, with what was synced."""
    for _ in range(world.source.randrange(1, 4)):
        body = world.source.choice(world.bodies)
        away_ms = world.source.randrange(100, 40_000)

        def crash(body: Body = body, away_ms: int = away_ms) -> None:
            if body.is_up:
                world.fault(f"{body.name} crashes, for {away_ms} ms", body)
                body.crash()
                world.after(away_ms, body.ensure_up)

        world.after(_when(world), crash)


def all_crash(world: World) -> None:
    """All lose power together."""

    def crash() -> None:
        world.fault("all crash", *world.bodies)
        for body in world.bodies:
            body.crash()
            world.after(world.source.randrange(100, 20_000), body.ensure_up)

    world.after(_when(world), crash)


def short_stalls(world: World) -> None:
    """A process stands still for up to 10 s: nobody may be called dead for it."""
    at_ms = 5_000
    while (at_ms := at_ms + world.source.randrange(12_000, 50_000)) < world.faults_ms - CALM_AT_END_MS:
        _stall(
            world,
            at_ms,
            world.source.choice(world.bodies),
            world.source.randrange(1_000, SHORT_STALL_MS_MAX + 1),
        )


def long_stall(world: World) -> None:
    """A process stands still for a minute."""
    body = world.source.choice(world.bodies)
    at_ms = world.source.randrange(5_000, world.faults_ms - 5_000)
    world.after(at_ms, lambda: world.fault(f"{body.name} is to stall for a minute", body))
    _stall(world, at_ms, body, 60_000)


def _stall(world: World, at_ms: int, body: Body, for_ms: int) -> None:
    def stall() -> None:
        if body.is_up and not body.is_stalled:
            world.fault(f"{body.name} stalls for {for_ms} ms")
            body.stall()
            world.after(for_ms, body.go_on)

    world.after(at_ms, stall)


def partition(world: World) -> None:
    """Two parts don't reach each other."""
    source = world.source
    shuffled = source.sample(world.bodies, len(world.bodies))
    size = source.randrange(1, len(shuffled))
    is_silent = source.random() < 0.5
    at_ms, for_ms = _when(world), source.randrange(5_000, world.faults_ms)

    def cut() -> None:
        world.fault(f"{size} nodes cut off for {for_ms} ms", *world.bodies)
        for one in shuffled[:size]:
            for other in shuffled[size:]:
                world.network.cut(one.name, other.name, is_silent=is_silent)
        world.after(for_ms, heal)

    def heal() -> None:
        for one in shuffled[:size]:
            for other in shuffled[size:]:
                world.network.heal(one.name, other.name)

    world.after(at_ms, cut)


def one_way(world: World) -> None:
    """What one node says doesn't reach another one, though the other way is open."""
    one, other = _pair(world)
    for_ms = world.source.randrange(5_000, world.faults_ms)

    def cut() -> None:
        world.fault(f"{one.name} isn't heard by {other.name} for {for_ms} ms", one, other)
        world.network.cut(one.name, other.name, is_silent=True, is_one_way=True)
        world.after(for_ms, lambda: world.network.heal(one.name, other.name))

    world.after(_when(world), cut)


def flapping_links(world: World) -> None:
    """Links end again and again."""
    for _ in range(world.source.randrange(3, 15)):
        one, other = _pair(world)

        def drop(one: Body = one, other: Body = other) -> None:
            world.fault(f"the link of {one.name} and {other.name} ends", one, other)
            world.network.drop(world.network.way(one.name, other.name))

        world.after(_when(world), drop)


def lossy(world: World) -> None:
    """Up to 30 % of what is sent is lost and sent again by TCP."""
    loss = world.source.uniform(0.05, 0.3)
    world.fault(f"{loss:.0%} lost", *world.bodies)
    for way in world.network.ways():
        way.quality.loss = loss


def chaos(world: World) -> None:
    """Messages vanish, come twice, and overtake each other, which no link does."""
    source = world.source
    shares = [source.choice((0.0, source.uniform(0.01, 0.3))) for _ in range(3)]
    world.is_chaotic = True
    world.fault(
        f"dropped {shares[0]:.0%}, repeated {shares[1]:.0%}, disordered {shares[2]:.0%}", *world.bodies
    )
    for way in world.network.ways():
        way.quality.dropped, way.quality.repeated, way.quality.disordered = shares


def slow(world: World) -> None:
    """Ways of 50 to 500 kbit/s."""
    for way in world.network.ways():
        if world.source.random() < 0.5:
            way.quality.bytes_per_s = world.source.randrange(6_250, 62_500)
            way.quality.latency_ms = world.source.randrange(100, 800)
    world.fault("slow ways", *world.bodies)
    for body in world.bodies:
        body.body_bytes = world.source.randrange(40, 2_000)


def slow_disk(world: World) -> None:
    """A disk that takes seconds for a sync."""
    body = world.source.choice(world.bodies)

    def begin_slow() -> None:
        world.fault(f"{body.name} has a slow disk")
        body.slow_disk_factor = 200

    world.after(_when(world), begin_slow)


def full_disk(world: World) -> None:
    """A disk that is full for a while: nothing is written on it, neither own blocks nor copies."""
    body = world.source.choice(world.bodies)
    for_ms = world.source.randrange(5_000, world.faults_ms)

    def fill() -> None:
        world.fault(f"the disk of {body.name} is full for {for_ms} ms")
        body.is_full = True
        world.after(for_ms, empty)

    def empty() -> None:
        body.is_full = False

    world.after(_when(world), fill)


def little_kept(world: World) -> None:
    """Copies on one or two nodes lose their oldest segments, by a rule, again and again."""
    bodies = world.source.sample(world.bodies, world.source.randrange(1, 3))
    for body in bodies:
        world.fault(f"{body.name} keeps little of others")
        at_ms = 5_000
        while (at_ms := at_ms + world.source.randrange(5_000, 30_000)) < world.faults_ms:
            world.after(at_ms, partial(body.when_running, partial(_drop_copies, body)))


def _drop_copies(body: Body) -> None:
    """The oldest segments go, but none of a stream of which there is a fork, or of what the node itself has still to read."""
    forked = {stream for stream, _ in body.disk.proofs}
    for stream, log in list(body.disk.logs.items()):
        is_kept = (
            stream.branch or stream in forked or stream.node_id == body.node_id or stream.name == "catalog"
        )
        if not is_kept and log.drop_before(log.end.next_seq):
            body.scheduler.note(f"{body.name} drops {stream} before {log.dropped_seq}")
            body.holds(stream, log)


def clock_jumps(world: World) -> None:
    """Wall clocks jump: an hour back, a day ahead, 1970."""
    for _ in range(world.source.randrange(1, 4)):
        body = world.source.choice(world.bodies)
        offset_ms = world.source.choice((-3_600_000, 86_400_000, -(10**15)))

        def jump(body: Body = body, offset_ms: int = offset_ms) -> None:
            world.fault(f"the clock of {body.name} jumps by {offset_ms} ms")
            body.clock_offset_ms = offset_ms

        world.after(_when(world), jump)


def lost_disk(world: World) -> None:
    """A box comes back with its identity and nothing else."""
    body = world.source.choice(world.bodies)
    away_ms = world.source.randrange(1_000, 30_000)

    def lose() -> None:
        world.fault(f"{body.name} loses its disk", body)
        body.crash()
        body.disk = Disk(node_id=body.node_id, instance="", must_claim=True)
        world.after(away_ms, body.ensure_up)

    world.after(_when(world), lose)


def old_snapshot(world: World) -> None:
    """A box comes back as it was some time ago, and doesn't know it."""
    body = world.source.choice(world.bodies)
    back_ms = world.source.randrange(1_000, world.faults_ms // 2)
    at_ms = world.source.randrange(back_ms + 4_000, world.faults_ms - 10_000)
    images: list[Disk] = []

    def image() -> None:
        images.append(body.disk.image())
        world.judge.may_both_write(images[0])

    world.after(at_ms - back_ms, image)

    def restore() -> None:
        world.fault(f"{body.name} comes back as it was {back_ms} ms ago", body)
        body.crash()
        body.disk = images[0]
        world.after(500, body.ensure_up)

    world.after(at_ms, restore)


def clone(world: World) -> None:
    """A second body of a node, from a copy of its disk; it knows it, or it doesn't. One of them is switched off in the end."""
    source = world.source
    body = source.choice(world.bodies)
    knows = source.random() < 0.5
    keeps = source.random() < 0.5
    others = source.sample(world.bodies, len(world.bodies))
    reached = [other for other in others if other is not body][: source.randrange(1, len(others))]

    def copy() -> None:
        world.fault(
            f"{body.name} is cloned; {'the clone knows it' if knows else 'nobody knows it'}", *world.bodies
        )
        disk = body.disk.image()
        disk.must_claim = disk.must_claim or knows
        if not disk.must_claim:
            world.judge.may_both_write(disk)
        other = world.add_body(f"{body.name}c", disk)
        for peer in reached:
            world.network.join(other, peer, world.quality(other, peer))
        other.start()
        world.after(
            world.faults_ms - 5_000 - world.scheduler.now_ms, lambda: switch_off(body if not keeps else other)
        )

    def switch_off(gone: Body) -> None:
        world.fault(f"{gone.name} is switched off for good", gone)
        gone.crash()
        gone.is_lost = True  # whatever else was to switch it on again
        del world.judge.bodies[gone.name]
        if gone in world.bodies:
            for peer in world.bodies:
                if peer is not gone and peer not in reached:
                    clone_body = world.judge.bodies[f"{gone.name}c"]
                    world.network.join(clone_body, peer, world.quality(clone_body, peer))

    world.after(source.randrange(5_000, world.faults_ms // 2), copy)


KINDS: Final[dict[str, Callable[[World], None]]] = {
    each.__name__: each
    for each in (
        calm,
        crashes,
        all_crash,
        short_stalls,
        long_stall,
        partition,
        one_way,
        flapping_links,
        lossy,
        chaos,
        slow,
        slow_disk,
        full_disk,
        little_kept,
        clock_jumps,
        lost_disk,
        old_snapshot,
        clone,
    )
}
