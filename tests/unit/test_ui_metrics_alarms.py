"""How alarms stand, as metrics and in the health check."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.core.errors import Unavailable
from storage.catalog import Catalog
from tests.acts import ACT
from tests.alarm_kit import MemoryOutbox, found, put_rule
from tests.node_kit import NOW_MS, running_node
from ui.health import Degraded, alarms_check
from ui.metrics_alarms import read_alarm_counts


async def test_the_metrics(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:

        def write(catalog: Catalog) -> None:
            put_rule(catalog)
            node.services.alarms.book.apply(
                catalog, [found("d1", at_ms=NOW_MS - 5_000), found("d2"), found("d2")]
            )

        await node.catalog.write(write, by=ACT)
        async with node.client(local=True) as client:
            text = (await client.get("/health/metrics")).text
        for line in (
            'homeport_alarms{severity="P2",state="active_unacknowledged"} 2.0',
            'homeport_alarms{severity="P1",state="suppressed"} 0.0',
            'homeport_alarms_oldest_unacknowledged_seconds{severity="P2"} 5.0',
            "homeport_alarm_moves_total 2.0",
            'homeport_alarm_transitions_total{outcome="applied"} 2.0',
            'homeport_alarm_transitions_total{outcome="known"} 1.0',
            "homeport_alarms_refused_total 0.0",
            'homeport_limit{name="alarm_count_max"} 50000.0',
        ):
            assert line in text, line
        assert 'oldest_unacknowledged_seconds{severity="P1"}' not in text
        await node.catalog.aclose()
        assert await read_alarm_counts(node.services) is None


async def test_the_health_check_says_what_holds_alarms_up(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        desk = node.services.alarms
        assert await alarms_check(desk)() == "up to date"
        desk.outbox = MemoryOutbox(failure=Unavailable("The store is away.", hint="", code="store_away"))
        await desk.work_once()
        with pytest.raises(Degraded) as caught:
            await alarms_check(desk)()
        assert caught.value.code == "alarms_waiting"
        assert "The store is away." in caught.value.message
