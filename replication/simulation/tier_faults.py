"""What goes wrong with regions of the tier, and with boxes that ship to them: each kind once, with its seed's own times and extents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from . import faults
from .body import Body
from .region import Image, Region, State
from .tier_world import MINUTE_MS, TierWorld

CALM_AT_END_MS: Final = MINUTE_MS
OF_FLEETS: Final = ("crashes", "all_crash", "partition", "short_stalls", "long_stall", "flapping_links", "clock_jumps",
                    "full_disk", "slow_disk", "little_kept", "old_snapshot", "clone")  # fmt: skip
"""Faults of faults.py that worlds of several boxes have besides these."""
FLEET_NODE_COUNT_MIN: Final = 3
OF_ONE: Final = ("crashes", "clock_jumps", "full_disk", "slow_disk", "long_stall")
"""That one or two have."""


def begin(world: TierWorld, kinds: Sequence[str] = ()) -> None:
    """Choose the faults of a seed, if they aren't told, and have them happen."""
    source = world.source
    if not kinds:
        others = OF_FLEETS if len(world.bodies) >= FLEET_NODE_COUNT_MIN else OF_ONE
        kinds = source.sample(list(TIER_KINDS), source.choices((1, 2, 3), (4, 4, 2))[0])
        if source.random() < 0.5:
            kinds = [*kinds, source.choice(others)]
    for kind in kinds:
        TIER_KINDS[kind](world) if kind in TIER_KINDS else faults.KINDS[kind](world)


def fits(kinds: Sequence[str], node_count: int) -> bool:
    """Whether worlds of so many boxes can have these faults: some are between boxes."""
    return node_count >= FLEET_NODE_COUNT_MIN or all(kind in TIER_KINDS or kind in OF_ONE for kind in kinds)


def _when(world: TierWorld) -> int:
    return world.source.randrange(20_000, world.faults_ms - CALM_AT_END_MS)


def _state(world: TierWorld, region: Region, state: State, at_ms: int, for_ms: int) -> None:
    def away() -> None:
        world.fault(f"{region.name} {'refuses' if state == 'refuses' else 'is silent'} for {for_ms} ms")
        region.state = state
        world.after(for_ms, back)

    def back() -> None:
        region.state = "well"

    world.after(at_ms, away)


def _broken(world: TierWorld) -> State:
    return world.source.choice(("refuses", "silent"))


def well(_world: TierWorld) -> None:
    """Nothing at all."""


def region_away(world: TierWorld) -> None:
    """A region can't be reached, or doesn't answer, for most of the time."""
    region = world.source.choice(world.regions)
    at_ms = world.source.randrange(20_000, world.faults_ms // 2)
    _state(world, region, _broken(world), at_ms, world.source.randrange(30_000, world.faults_ms))


def cloud_away(world: TierWorld) -> None:
    """Both regions are away."""
    at_ms, for_ms = (
        world.source.randrange(20_000, world.faults_ms // 2),
        world.source.randrange(30_000, world.faults_ms),
    )
    for region in world.regions:
        _state(world, region, _broken(world), at_ms + world.source.randrange(20_000), for_ms)


def region_flaps(world: TierWorld) -> None:
    """A region comes and goes."""
    region = world.source.choice(world.regions)
    for _ in range(world.source.randrange(3, 12)):
        _state(world, region, _broken(world), _when(world), world.source.randrange(1_000, 90_000))


def slow_region(world: TierWorld) -> None:
    """Answers of a region take seconds, over a line of some kbit/s."""
    region = world.source.choice(world.regions)

    def begin_slow() -> None:
        region.latency_ms = world.source.randrange(200, 4_000)
        region.bytes_per_s = world.source.randrange(500, 6_250)
        world.fault(f"{region.name} takes {region.latency_ms} ms and {region.bytes_per_s} bytes/s")

    world.after(_when(world), begin_slow)


def lost_answers(world: TierWorld) -> None:
    """Some requests, and some answers, never come: what was put is there, and nobody knows."""
    region = world.source.choice(world.regions)

    def begin_losing() -> None:
        region.lost_share = world.source.uniform(0.02, 0.4)
        world.fault(f"{region.name} loses {region.lost_share:.0%} of what is said")

    world.after(_when(world), begin_losing)


def lost_pieces(world: TierWorld) -> None:
    """An object store loses pieces that it acknowledged, anywhere."""
    region = world.source.choice(world.regions)

    def lose() -> None:
        names = [name for names in region.names.values() for name in names]
        gone = world.source.sample(names, min(len(names) // 2, world.source.randrange(1, 6)))
        world.fault(f"{region.name} loses {len(gone)} pieces")
        for name in gone:
            region.lose(name)

    for _ in range(world.source.randrange(1, 4)):
        world.after(_when(world), lose)


def lost_tail(world: TierWorld) -> None:
    """A cluster that acknowledged before it synced loses its power: its newest pieces are gone."""
    region = world.source.choice(world.regions)

    def lose() -> None:
        count = min(len(region.data) // 2, world.source.randrange(1, 9))
        world.fault(f"{region.name} loses its power, and {region.lose_newest(count)} pieces")

    for _ in range(world.source.randrange(1, 4)):
        at_ms = _when(world)
        _state(world, region, "refuses", at_ms, world.source.randrange(1_000, 60_000))
        world.after(at_ms, lose)


def older_content(world: TierWorld) -> None:
    """A region is away, and comes back as it was some time before."""
    region = world.source.choice(world.regions)
    at_ms = _when(world)
    images: list[Image] = []
    world.after(at_ms - world.source.randrange(1_000, at_ms), lambda: images.append(region.image()))
    _state(world, region, "refuses", at_ms, world.source.randrange(10_000, 10 * MINUTE_MS))
    world.after(
        at_ms, lambda: world.fault(f"{region.name} is without its newest {region.be_as(images[0])} pieces")
    )


def rotten_pieces(world: TierWorld) -> None:
    """Bytes of a piece are others than were put."""
    region = world.source.choice(world.regions)

    def rot() -> None:
        names = [name for names in region.names.values() for name in names]
        if names:
            world.fault(f"a piece rots in {region.name}")
            region.rot(world.source.choice(names))

    world.after(_when(world), rot)


def box_cut_off(world: TierWorld) -> None:
    """A box reaches no region, though others may."""
    body = world.source.choice(world.bodies)
    for_ms = world.source.randrange(30_000, world.faults_ms)

    def cut(is_cut: bool) -> None:
        world.fault(f"{body.name} {'reaches no region' if is_cut else 'reaches regions again'}")
        for line in body.lines.values():
            line.is_cut = is_cut

    at_ms = _when(world)
    world.after(at_ms, partial(cut, True))
    world.after(at_ms + for_ms, partial(cut, False))


def restarts(world: TierWorld) -> None:
    """A box's process ends in the middle of whatever it does, again and again; what it noted of audits may be gone with it."""
    body = world.source.choice(world.bodies)

    def end() -> None:
        if not body.is_up:
            return
        is_forgotten = world.source.random() < 0.5
        world.fault(f"{body.name} restarts{', and has forgotten its audits' if is_forgotten else ''}", body)
        body.crash()
        if is_forgotten:
            body.disk.walked.clear()
        world.after(world.source.randrange(100, 20_000), body.ensure_up)

    for _ in range(world.source.randrange(2, 10)):
        world.after(_when(world), end)


def short_memory(world: TierWorld) -> None:
    """Boxes keep no more of their own logs than is not safe elsewhere: what a region lacks of it is had from the other."""

    def drop(body: Body) -> None:
        log = body.disk.logs.get(body.own)  # none where the box was destroyed, and isn't restored yet
        if log is not None and body.is_up and log.drop_before(body.gossip.safe_seq(body.own)):
            world.scheduler.note(f"{body.name} drops its own before {log.dropped_seq}")
            body.holds(body.own, log)

    at_ms = 20_000
    while (at_ms := at_ms + world.source.randrange(MINUTE_MS, 10 * MINUTE_MS)) < world.faults_ms:
        for body in world.bodies:
            world.after(at_ms, partial(drop, body))


def box_destroyed(world: TierWorld) -> None:
    """A box is destroyed, and a new one restored out of the tier; twice, in some worlds."""
    body = world.source.choice(world.bodies)

    def destroy() -> None:
        is_had = any(stream == body.own for region in world.regions for stream, _ in region.names)
        if is_had and not body.is_lost:
            world.fault(f"{body.name} is destroyed", body)
            world.lose_disk(body)

    for _ in range(world.source.choice((1, 1, 2))):
        world.after(_when(world), destroy)


TIER_KINDS: Final[dict[str, Callable[[TierWorld], None]]] = {
    each.__name__: each
    for each in (
        well,
        region_away,
        cloud_away,
        region_flaps,
        slow_region,
        lost_answers,
        lost_pieces,
        lost_tail,
        older_content,
        rotten_pieces,
        box_cut_off,
        restarts,
        short_memory,
        box_destroyed,
    )
}
