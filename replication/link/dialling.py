"""When to dial a peer again. Pure: randomness is an argument.

Each failure doubles the wait from 1 s up to 60 s, and of each wait a random half is left out, so that two boxes, or a hundred
after a power cut, don't go on in step. A link that lived a minute was a good one: after it the wait begins anew.
"""

from __future__ import annotations

from random import Random

from appliance.core.limits_replication import LINK_DIAL_FIRST_MS, LINK_DIAL_MS_MAX, LINK_SETTLED_MS


class DialBackoff:
    """How long to wait before the next attempt at one peer."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self.failure_count = 0

    def failed(self) -> int:
        """Note an attempt that came to nothing, or a link that soon ended; returns the wait, ms."""
        wait_ms = min(LINK_DIAL_FIRST_MS << min(self.failure_count, 16), LINK_DIAL_MS_MAX)
        self.failure_count += 1
        return wait_ms // 2 + self._random.randrange(wait_ms // 2 + 1)

    def ended(self, lived_ms: int) -> int:
        """Note the end of a link; returns the wait, ms."""
        if lived_ms >= LINK_SETTLED_MS:
            self.failure_count = 0
        return self.failed()

    def reset(self) -> None:
        """Something changed at the other side: begin anew."""
        self.failure_count = 0
