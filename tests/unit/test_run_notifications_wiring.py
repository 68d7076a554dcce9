"""Notifications of a node, put together: what wakes what, which ports are Homeport's own, how the box is reached."""

from __future__ import annotations

from pathlib import Path

import trio

from appliance.core.clock import SystemClock
from appliance.core.config import Config, NodeConfig, UiConfig
from appliance.core.settings import Bind
from appliance.identity import SiteKeys
from appliance.management.notification_targets import Webhook
from appliance.run.notifications_wiring import default_base_url, make_notifications, own_ports
from storage.catalog import AsyncCatalog
from tests.acts import ACT
from tests.node_kit import Broker
from tests.notification_kit import new
from tests.webhook_receiver import WebhookReceiver


async def test_what_is_made_is_sent(tmp_path: Path) -> None:
    config = Config(node=NodeConfig(data_dir=tmp_path, run_dir=tmp_path))
    keys, clock = SiteKeys.load_or_create(tmp_path), SystemClock()
    async with AsyncCatalog.opened(tmp_path / "catalog.db", clock=clock, node_id=keys.node_id) as catalog:
        parts = make_notifications(config, catalog, keys, Broker(), clock=clock)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(parts.run)
            with WebhookReceiver() as receiver:
                target = await catalog.write(
                    lambda writer: parts.desk.add_target(
                        writer, name="Hook", settings=Webhook(url=receiver.url), secret="", is_enabled=True
                    ),
                    by=ACT,
                )
                wanted = [new("k1", target.target_id)]
                await catalog.write(lambda writer: writer.make_notifications(wanted), by=ACT)
                with trio.fail_after(60):
                    while not receiver.requests:  # noqa: ASYNC110 - another thread's list
                        await trio.sleep(0.01)
            assert receiver.requests[0].headers["user-agent"].startswith("Homeport/")
            nursery.cancel_scope.cancel()


def test_ports_that_are_homeports_own() -> None:
    assert {1883, 8883, 8443, 8444} <= own_ports(Config())


def test_how_the_box_is_reached() -> None:
    def reached(host: str) -> str:
        return default_base_url(Config(ui=UiConfig(bind=Bind(host=host, port=8443))))

    assert reached("10.0.0.5") == "https://10.0.0.5:8443"
    assert reached("fd00::5") == "https://[fd00::5]:8443"
    assert reached("0.0.0.0").startswith("https://")
    assert "0.0.0.0" not in reached("0.0.0.0")
