"""The node tells the broker how far its store is behind, and goes on when nobody hears it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import trio

from appliance.core.errors import Unavailable
from appliance.run import lag_report
from appliance.run.lag_report import report_lag
from tests.broker_kit import wait_until


@dataclass(frozen=True)
class Numbers:
    lag_s: float = 1.2504
    behind_records: int = 7


class Pipeline:
    def statistics(self) -> Numbers:
        return Numbers()


class Broker:
    def __init__(self) -> None:
        self.is_away = True
        self.told: list[tuple[int, int]] = []
        self.asked = 0

    async def tell_lag(self, *, lag_ms: int, behind_records: int) -> None:
        self.asked += 1
        if self.is_away:
            raise Unavailable("The broker is not connected.")
        self.told.append((lag_ms, behind_records))


async def test_it_tells_at_every_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lag_report, "REPORT_INTERVAL_S", 0.001)
    broker = Broker()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(report_lag, Pipeline(), broker)
        await wait_until(lambda: broker.asked >= 2)
        assert broker.told == []
        broker.is_away = False
        await wait_until(lambda: len(broker.told) >= 2)
        assert broker.told[:2] == [(1250, 7), (1250, 7)]
        nursery.cancel_scope.cancel()
