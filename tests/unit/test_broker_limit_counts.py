"""Counters of limits: each has a name that an operator can look up."""

from __future__ import annotations

from appliance.core import limits, limits_requests
from appliance.core.config import BrokerConfig
from appliance.core.settings import settings_of
from broker.limit_counts import Limit, LimitCounts


def test_every_limit_is_counted_from_nothing() -> None:
    counts = LimitCounts()
    assert counts.as_map() == {limit.value: 0 for limit in Limit}
    counts.reached(Limit.SUBSCRIPTIONS_MAX)
    counts.reached_by_error("packet_bytes_max")
    counts.reached_by_error("packet_bytes_max")
    counts.reached_by_error("remote_protocol_error")
    assert {name: count for name, count in counts.as_map().items() if count} == {
        "subscriptions_max": 1,
        "packet_bytes_max": 2,
    }


def test_every_name_is_a_key_or_a_fixed_limit() -> None:
    keys = set(settings_of(BrokerConfig))
    for limit in Limit:
        fixed = [module for module in (limits, limits_requests) if hasattr(module, limit.name)]
        assert limit.value in keys or fixed, limit
