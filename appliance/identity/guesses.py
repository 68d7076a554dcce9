"""Wrong claim tokens by network: after some of them all are refused unread for a while.

A claim's token has 192 random bits, so nobody guesses one. What is bounded is the work that guessing causes and the lines
that it writes. May be used from several threads.
"""

from __future__ import annotations

import ipaddress
import threading
from collections import OrderedDict

from appliance.core.clock import Clock
from appliance.core.errors import NotAuthorized
from appliance.core.limits import (
    CLAIM_GUESS_COUNT_MAX,
    CLAIM_GUESS_NETWORK_COUNT_MAX,
    CLAIM_GUESS_REFILL_MS,
)

IPV6_PREFIX_BITS = 64
"""One host has all of a /64 to connect from."""


class ClaimGuesses:
    """A bucket of CLAIM_GUESS_COUNT_MAX guesses for each network, one more every CLAIM_GUESS_REFILL_MS.

    Args:
        clock: Its monotonic time refills.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._full_at_mono_ms: OrderedDict[str, int] = OrderedDict()
        """Network → when its bucket is full again; the one that guessed longest ago is first."""
        self.refused_total = 0

    def check(self, address: str) -> None:
        """Refuse who has guessed too often.

        Raises:
            NotAuthorized: `claim_guesses`.
        """
        with self._lock:
            full_at = self._full_at_mono_ms.get(_network(address))
            if full_at is None:
                return
            missing_ms = full_at - self._clock.mono_ms()
            if missing_ms > (CLAIM_GUESS_COUNT_MAX - 1) * CLAIM_GUESS_REFILL_MS:
                self.refused_total += 1
                raise NotAuthorized(
                    "Too many wrong claim tokens came from this network.",
                    hint="Check the device's claim token, and wait a minute.",
                    code="claim_guesses",
                )

    def wrong(self, address: str) -> None:
        """Count a wrong token."""
        network = _network(address)
        with self._lock:
            now_ms = self._clock.mono_ms()
            full_at = max(self._full_at_mono_ms.pop(network, now_ms), now_ms)
            self._full_at_mono_ms[network] = full_at + CLAIM_GUESS_REFILL_MS
            if len(self._full_at_mono_ms) > CLAIM_GUESS_NETWORK_COUNT_MAX:
                self._full_at_mono_ms.popitem(last=False)


def _network(address: str) -> str:
    """An address, or of IPv6 its /64; what is no address (a Unix socket's) stands for itself."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, IPV6_PREFIX_BITS), strict=False))
