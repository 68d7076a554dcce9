"""How often a device may ask for a certificate or a file over HTTPS: buckets per address, per device, and over all.

Apart from the limits of people and their programs (ui/rate_limit.py): devices that come in by the hundred must not use up
what the operator who watches them needs, nor the other way round.

    limiter = DeviceRateLimit(clock=clock)
    if seconds := limiter.take_address(peer):       # before anything of the request is looked at
        ... 429, Retry-After: seconds
    if seconds := limiter.take_device(device_id):   # once it is known who it is
        ... 429, Retry-After: seconds
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from appliance.core.clock import Clock
from appliance.core.limits import (
    DEVICE_PORT_ADDRESS_COUNT_MAX,
    DEVICE_PORT_REQUESTS_PER_ADDRESS_MAX,
    DEVICE_PORT_REQUESTS_PER_DEVICE_MAX,
    DEVICE_PORT_REQUESTS_TOTAL_MAX,
)
from appliance.core.token_bucket import Bucket, BucketTable, Quota, network_of


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRateStatistics:
    """Numbers since the start.

    Attributes:
        allowed_total: Requests of an address that were let in.
        refused_by_address_total: Refused because of their address.
        refused_by_device_total: Refused because of their device.
        refused_by_all_total: Refused because of all together.
        addresses, devices: Remembered now.
    """

    allowed_total: int
    refused_by_address_total: int
    refused_by_device_total: int
    refused_by_all_total: int
    addresses: int
    devices: int


class DeviceRateLimit:
    """See the module's docstring. Used from one event loop.

    Args:
        per_address_max, per_device_max, all_max: Requests in a minute, and at once.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        per_address_max: int = DEVICE_PORT_REQUESTS_PER_ADDRESS_MAX,
        per_device_max: int = DEVICE_PORT_REQUESTS_PER_DEVICE_MAX,
        all_max: int = DEVICE_PORT_REQUESTS_TOTAL_MAX,
    ) -> None:
        self._clock = clock
        self._addresses = BucketTable(
            Quota("address", per_address_max), count_max=DEVICE_PORT_ADDRESS_COUNT_MAX
        )
        self._devices = BucketTable(Quota("device", per_device_max), count_max=DEVICE_PORT_ADDRESS_COUNT_MAX)
        self._all = Bucket(Quota("all", all_max), clock.mono_ms())
        self._allowed = self._by_address = self._by_device = self._by_all = 0

    def take_address(self, address: str) -> int:
        """Count a request of an address.

        Args:
            address: The peer's; an IPv6 one counts as its /64 network.
        Returns:
            0: it is let in; else when it may come again, whole seconds.
        """
        now_ms = self._clock.mono_ms()
        bucket = self._addresses.bucket(network_of(address), now_ms)
        if (wait_ms := bucket.wait_ms(now_ms)) > 0:
            self._by_address += 1
            return ceil(wait_ms / 1000)
        if (wait_ms := self._all.wait_ms(now_ms)) > 0:
            self._by_all += 1
            return ceil(wait_ms / 1000)
        bucket.take()
        self._all.take()
        self._allowed += 1
        return 0

    def take_device(self, device_id: str) -> int:
        """Count a request of a device that has proved to be it; returns as `take_address`."""
        now_ms = self._clock.mono_ms()
        bucket = self._devices.bucket(device_id, now_ms)
        if (wait_ms := bucket.wait_ms(now_ms)) > 0:
            self._by_device += 1
            return ceil(wait_ms / 1000)
        bucket.take()
        return 0

    def statistics(self) -> DeviceRateStatistics:
        return DeviceRateStatistics(
            allowed_total=self._allowed,
            refused_by_address_total=self._by_address,
            refused_by_device_total=self._by_device,
            refused_by_all_total=self._by_all,
            addresses=len(self._addresses),
            devices=len(self._devices),
        )
