"""How much is tried of what could be tried for ever: everything with `scripts/test --long`, a sample otherwise.

A sample is the same in each run of one version, so that what failed fails again: hypothesis draws the same examples under CI=true, and what
is drawn here is drawn from a fixed seed, which HOMEPORT_TEST_SEED replaces.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from typing import Final, TypeVar

T = TypeVar("T")

IS_LONG: Final = os.environ.get("HOMEPORT_TEST_LONG") == "1"
"""What `scripts/test --long` sets."""
EXAMPLE_SHARE: Final = 3
SEED: Final = int(os.environ.get("HOMEPORT_TEST_SEED", "20261128"))


def examples(count: int) -> int:
    """Of hypothesis: all, or a third of them."""
    return count if IS_LONG else -(-count // EXAMPLE_SHARE)


def a_few(values: Sequence[T], count: int, *, of: str) -> list[T]:
    """All of the values, or so many of them, in their order; `of` has other tests draw others."""
    if IS_LONG or count >= len(values):
        return list(values)
    drawn = random.Random(f"{SEED} {of}").sample(range(len(values)), count)
    return [values[at] for at in sorted(drawn)]
