"""Lets only a few tasks at a time do what costs the event loop much, so that everything else has its turn in between.

trio runs every task that can run before it looks at anything else: 256 TLS handshakes that have all heard something are 90 ms in
which no message is read or acknowledged. Whoever goes through here waits for one of a few places, and who gets one works at the
event loop's next round. So no round has more of them than there are places.
"""

from __future__ import annotations

from typing import Final

import trio

HANDSHAKE_STEPS_MAX: Final = 8
"""A step is at most 0.35 ms with the P-256 key that Homeport makes: 3 ms of a round, beside 5 ms of the data plane's."""


class Turnstile:
    """`async with turnstile:` around a costly piece of work that does not wait.

    Args:
        places: How many may work in one round of the event loop.
    """

    def __init__(self, places: int) -> None:
        self._limiter = trio.CapacityLimiter(places)

    async def __aenter__(self) -> None:
        # Even where there is a place it takes a round: trio's acquire lets the others run before it returns.
        await self._limiter.acquire_on_behalf_of(trio.lowlevel.current_task())

    async def __aexit__(self, *_: object) -> None:
        self._limiter.release_on_behalf_of(trio.lowlevel.current_task())
