"""Limits of the devices' own port: per address, per device, over all."""

from __future__ import annotations

from appliance.core.clock import ManualClock
from appliance.identity.device_rate_limit import DeviceRateLimit


def _limit(clock: ManualClock | None = None, **changes: int) -> DeviceRateLimit:
    return DeviceRateLimit(clock=clock or ManualClock(), **changes)


def test_an_address_has_so_many_a_minute() -> None:
    clock = ManualClock()
    limit = _limit(clock, per_address_max=6)
    assert [limit.take_address("192.0.2.1") for _ in range(7)] == [0] * 6 + [10]
    assert limit.take_address("192.0.2.2") == 0
    clock.advance(10_000)
    assert limit.take_address("192.0.2.1") == 0
    numbers = limit.statistics()
    assert (numbers.allowed_total, numbers.refused_by_address_total, numbers.addresses) == (8, 1, 2)


def test_an_ipv6_network_is_one_address() -> None:
    limit = _limit(per_address_max=1)
    assert limit.take_address("2001:db8::1") == 0
    assert limit.take_address("2001:db8::2") > 0


def test_all_addresses_together_are_bounded_and_the_refused_take_nothing() -> None:
    clock = ManualClock()
    limit = _limit(clock, per_address_max=1, all_max=3)
    assert [limit.take_address(f"192.0.2.{n}") for n in range(4)] == [0, 0, 0, 20]
    assert limit.take_address("192.0.2.0") == 60, "its own limit is the longer one"
    clock.advance(20_000)
    assert limit.take_address("192.0.2.3") == 0, "refused for all, its own was not taken"
    assert limit.statistics().refused_by_all_total == 1


def test_a_device_has_its_own_wherever_it_comes_from() -> None:
    limit = _limit(per_device_max=2)
    assert [limit.take_device("pump") for _ in range(3)] == [0, 0, 30]
    assert limit.take_device("boiler") == 0
    assert (limit.statistics().refused_by_device_total, limit.statistics().devices) == (1, 2)
