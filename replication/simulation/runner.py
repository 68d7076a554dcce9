"""Seeds, one after the other: what came of each, and how to run it again."""

from __future__ import annotations

import gc
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from . import faults, tier_faults
from .tier_world import TierWorld
from .world import Outcome, World

NODE_COUNTS: Final = ((3, 90), (4, 4), (5, 4), (8, 2))
"""Node counts, and how many of 100 seeds have them where none is told: most bugs show between three nodes, and those are cheap."""
TIER_NODE_COUNTS: Final = ((1, 60), (2, 20), (3, 20))
"""As NODE_COUNTS, in worlds with a tier: what one box does with two regions is most of it, and costs least."""
NODE_COUNT_MIN: Final = 3
TIER_NODE_COUNT_MIN: Final = 1
NODE_COUNT_MAX: Final = 50
SEED_MAX: Final = 2**53
COLLECTION_THRESHOLDS: Final = (50_000, 20, 50)
"""As of gc.set_threshold: a tenth of a world's processor time went into looking for cycles with those that Python begins with."""


@contextmanager
def rare_collections() -> Iterator[None]:
    """Look for cycles in memory seldom: a world is millions of small objects that are gone when nobody refers to them, and has nothing else to find."""
    before = gc.get_threshold()
    gc.set_threshold(*COLLECTION_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def run_seed(seed: int, node_count: int | None = None, kinds: Sequence[str] = ()) -> Outcome:
    """One world.

    Args:
        seed: Of everything that happens.
        node_count: NODE_COUNT_MIN..NODE_COUNT_MAX; None: the seed's own.
        kinds: Faults (faults.KINDS); none: the seed's own.
    """
    if node_count is None:
        counts, weights = zip(*NODE_COUNTS, strict=True)
        node_count = random.Random(f"nodes {seed}").choices(counts, weights)[0]
    with rare_collections():
        world = World(seed, node_count)
        faults.begin(world, kinds)
        return world.run()


def run_tier_seed(seed: int, node_count: int | None = None, kinds: Sequence[str] = ()) -> Outcome:
    """One world with two regions of the tier.

    Args:
        seed: Of everything that happens.
        node_count: TIER_NODE_COUNT_MIN..NODE_COUNT_MAX; None: the seed's own.
        kinds: Faults (tier_faults.TIER_KINDS and faults.KINDS) that `tier_faults.fits`; none: the seed's own.
    """
    if node_count is None and not tier_faults.fits(kinds, TIER_NODE_COUNT_MIN):
        node_count = NODE_COUNT_MIN
    if node_count is None:
        counts, weights = zip(*TIER_NODE_COUNTS, strict=True)
        node_count = random.Random(f"nodes {seed}").choices(counts, weights)[0]
    with rare_collections():
        world = TierWorld(seed, node_count)
        tier_faults.begin(world, kinds)
        return world.run()


def replay_command(outcome: Outcome, kinds: Sequence[str] = (), *, has_tier: bool = False) -> str:
    """What runs a world again, bit for bit."""
    only = "".join(f" --fault {kind}" for kind in kinds)
    tier = " --tier" if has_tier else ""
    return f"homeport simulate{tier} --seeds 1 --seed {outcome.seed} --nodes {outcome.node_count}{only}"
