"""Tells the broker now and then how far the store is behind, so that it can say so over MQTT."""

from __future__ import annotations

from typing import Final, Protocol

import trio

from appliance.core.errors import Unavailable

REPORT_INTERVAL_S: Final = 5.0


class Statistics(Protocol):
    """What is needed of the pipeline's statistics."""

    @property
    def lag_s(self) -> float: ...
    @property
    def behind_records(self) -> int: ...


class Pipeline(Protocol):
    """appliance.pipeline.Pipeline."""

    def statistics(self) -> Statistics: ...


class Broker(Protocol):
    """broker.link.BrokerLink."""

    async def tell_lag(self, *, lag_ms: int, behind_records: int) -> None: ...


async def report_lag(pipeline: Pipeline, broker: Broker) -> None:
    """Tell it at every interval. Runs until cancelled."""
    while True:
        statistics = pipeline.statistics()
        try:
            await broker.tell_lag(
                lag_ms=round(statistics.lag_s * 1000), behind_records=statistics.behind_records
            )
        except Unavailable:
            pass  # It is told when it is back, and says "unknown" until then.
        await trio.sleep(REPORT_INTERVAL_S)
