"""Seeds, one after the other: what came of each, and how to run it again."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

from . import faults
from .world import Outcome, World

NODE_COUNTS: Final = ((3, 90), (4, 4), (5, 4), (8, 2))
"""Node counts, and how many of 100 seeds have them where none is told: most bugs show between three nodes, and those are cheap."""
NODE_COUNT_MIN: Final = 3
NODE_COUNT_MAX: Final = 50
SEED_MAX: Final = 2**53


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
    world = World(seed, node_count)
    faults.begin(world, kinds)
    return world.run()


def replay_command(outcome: Outcome, kinds: Sequence[str] = ()) -> str:
    """What runs a world again, bit for bit."""
    only = "".join(f" --fault {kind}" for kind in kinds)
    return f"homeport simulate --seeds 1 --seed {outcome.seed} --nodes {outcome.node_count}{only}"
