"""Token buckets: so many in a time, a burst of as many at once. Pure; the time comes in as an argument.

A `Quota` says how many in which window; a `Bucket` holds that many tokens and fills evenly. A `BucketTable` has one
for each of many (users, addresses), bounded: the one unused for longest is forgotten, which gives it a full bucket
when it comes back. So a table never stands alone against those who can be as many as they like (addresses): a bucket
over all of them does the rest.
"""

from __future__ import annotations

import ipaddress
import math
from collections import OrderedDict
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Quota:
    """So many in a window.

    Attributes:
        name: What it is called where a client sees it; letters, digits and hyphens.
        count_max: In the window, and at once; 0 is no limit.
        window_s: Seconds in which an empty bucket is full again, at least 1.
    """

    name: str
    count_max: int
    window_s: int = 60

    @property
    def refill_ms(self) -> float:
        """Time for one token, ms."""
        return self.window_s * 1000 / self.count_max


class Bucket:
    """Tokens of one quota that has a limit.

    Args:
        now_ms: Monotonic, here and below; it never goes back.
    """

    __slots__ = ("_filled_at_mono_ms", "_level", "quota")

    def __init__(self, quota: Quota, now_ms: int) -> None:
        assert quota.count_max > 0, "a quota of 0 has no bucket"
        self.quota = quota
        self._level = float(quota.count_max)
        self._filled_at_mono_ms = now_ms

    def level(self, now_ms: int) -> float:
        """Tokens in it now, 0..count_max."""
        elapsed_ms = now_ms - self._filled_at_mono_ms
        self._level = min(self.quota.count_max, self._level + elapsed_ms / self.quota.refill_ms)
        self._filled_at_mono_ms = now_ms
        return self._level

    def wait_ms(self, now_ms: int, *, floor: float = 0.0) -> float:
        """How long until one can be taken; 0 for now.

        Args:
            floor: Tokens that are left in it for others.
        """
        return max(0.0, (floor + 1 - self.level(now_ms)) * self.quota.refill_ms)

    def take(self) -> None:
        """Take one; only after `wait_ms` said 0."""
        self._level = max(0.0, self._level - 1)

    def full_in_s(self, now_ms: int) -> int:
        """Seconds until it is full, rounded up."""
        return math.ceil((self.quota.count_max - self.level(now_ms)) * self.quota.refill_ms / 1000)


class BucketTable:
    """A bucket of one quota for each name.

    Args:
        count_max: Names remembered.
    """

    def __init__(self, quota: Quota, *, count_max: int) -> None:
        self._quota = quota
        self._count_max = count_max
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def bucket(self, name: str, now_ms: int) -> Bucket:
        """The bucket of a name; a full one for a name that isn't remembered."""
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = Bucket(self._quota, now_ms)
            if len(self._buckets) > self._count_max:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(name)
        return bucket


def network_of(address: str) -> str:
    """What counts as one peer: an IPv4 address, or an IPv6 /64 network, since one household has a whole one.

    Args:
        address: Any text; what is no address (a Unix socket's peer has none) is "".
    """
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return str(ip.ipv4_mapped)
        return str(ipaddress.IPv6Network((ip, 64), strict=False))
    return str(ip)
