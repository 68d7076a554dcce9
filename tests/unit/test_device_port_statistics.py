"""What the port counts."""

from __future__ import annotations

from http import HTTPStatus

from appliance.core.clock import ManualClock
from appliance.device_port.statistics import DevicePortStatistics, Tally
from appliance.identity.device_rate_limit import DeviceRateLimit


def test_counting() -> None:
    tally = Tally()
    tally.connections, tally.accepted = 2, 5
    for _ in range(2):
        tally.refused("tls")
    tally.answered("est_simpleenroll", HTTPStatus.OK)
    tally.answered("est_simpleenroll", HTTPStatus.ACCEPTED)
    rate = DeviceRateLimit(clock=ManualClock()).statistics()
    assert tally.statistics(rate) == DevicePortStatistics(
        connections=2,
        accepted=5,
        refused_by_code={"tls": 2},
        answers={("est_simpleenroll", 200): 1, ("est_simpleenroll", 202): 1},
        rate=rate,
    )
