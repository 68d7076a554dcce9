"""Notifications as metrics."""

from __future__ import annotations

from pathlib import Path

from tests.acts import ACT
from tests.node_kit import running_node
from tests.notification_kit import new


async def test_what_waits_and_for_how_long(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        wanted = [new("k1", due_at_ms=node.clock.now_ms() - 90_000)]
        await node.catalog.write(lambda catalog: catalog.make_notifications(wanted), by=ACT)
        async with node.client(local=True) as client:
            text = (await client.get("/health/metrics")).text
        assert 'homeport_notifications_open{state="waiting"} 1.0' in text
        assert "homeport_notification_oldest_seconds 90.0" in text
        assert "homeport_notifications_given_up_recently 0.0" in text
        assert 'homeport_limit{name="notification_attempt_timeout_s"} 20.0' in text
