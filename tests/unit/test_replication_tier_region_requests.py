"""Requests of a region: counted over connections, and told as a day's when enough was measured."""

from __future__ import annotations

from replication.tier.engines.requests import Requests
from replication.tier.region_requests import MEASURED_MS_MIN, RegionRequests


def test_they_are_counted_over_connections_and_told_by_day() -> None:
    asked = RegionRequests(1_000)
    assert asked.so_far() == {"put": 0, "get": 0, "list": 0, "remove": 0}
    for times in (2, 3):
        engine = Requests()
        asked.connected(lambda engine=engine: engine.statistics(None))  # type: ignore[misc]
        for _ in range(times):
            engine.count("put")
        engine.count("list")
    assert asked.so_far() == {"put": 5, "get": 0, "list": 2, "remove": 0}
    asked.ended()
    asked.ended()
    assert asked.so_far() == {"put": 5, "get": 0, "list": 2, "remove": 0}
    assert asked.per_day(1_000 + MEASURED_MS_MIN - 1) is None
    assert asked.per_day(1_000 + MEASURED_MS_MIN) == {"put": 720, "get": 0, "list": 288, "remove": 0}
