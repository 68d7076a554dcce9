"""Which messages and requests are traced. Randomness and time are arguments.

`Gaps` says how many go by before the next one: for messages that nobody samples it is a subtraction per block, not a decision per
message. The gaps are random (geometric), so that devices that take turns are all sampled alike. `PerSecond` bounds those who ask for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from appliance.core.token_bucket import Bucket, Quota

NEVER: Final = 1 << 62


class Gaps:
    """See the module's docstring.

    Args:
        ratio: Share that is sampled, 0..1.
        uniform: Random numbers of [0, 1).
    """

    def __init__(self, ratio: float, uniform: Callable[[], float]) -> None:
        self._ratio = ratio
        self._uniform = uniform

    def next(self) -> int:
        """How many go by unsampled before the next one that is."""
        if self._ratio <= 0:
            return NEVER
        if self._ratio >= 1:
            return 0
        return min(NEVER, int(math.log1p(-self._uniform()) / math.log1p(-self._ratio)))


class PerSecond:
    """So many in a second, and as many at once.

    Args:
        count_max: 0 is none at all.
    """

    def __init__(self, count_max: int, mono_ms: Callable[[], int]) -> None:
        self._mono_ms = mono_ms
        quota = Quota("traces", count_max, window_s=1)
        self._bucket = Bucket(quota, mono_ms()) if count_max > 0 else None
        self.refused_total = 0

    def take(self) -> bool:
        """Whether one more may be; counts those that may not."""
        if self._bucket is not None and self._bucket.wait_ms(self._mono_ms()) <= 0:
            self._bucket.take()
            return True
        self.refused_total += 1
        return False
