"""Delivery put together: where devices are told to go, and what is served there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.core.config import Config
from appliance.core.config_firmware import FirmwareConfig
from appliance.core.settings import Bind
from appliance.device_requests.listeners import Listeners
from appliance.device_requests.router import Router
from appliance.identity import tls
from appliance.pipeline.live import LiveView
from appliance.run.delivery_wiring import (
    devices_url,
    make_delivery,
    make_device_port,
    make_urls,
    statistics_of,
)
from appliance.run.updates_wiring import make_updates
from appliance.updates.budget import Claim
from broker.control_messages import SessionEvent
from tests.ca_kit import certificate_services, site
from tests.delivery_kit import IMAGE, SHA256, MemoryBlobs
from tests.execution_kit import an_execution


def configured(bind: str | None = "10.1.2.3:8444", *, url: str = "") -> Config:
    config = Config()
    return replace(
        config,
        devices=replace(config.devices, https_bind=None if bind is None else Bind.parse(bind)),
        firmware=FirmwareConfig(devices_url=url),
    )


def url_of(config: Config) -> str:
    assert config.devices.https_bind is not None
    return devices_url(config, config.devices.https_bind)


def test_where_devices_go(monkeypatch: pytest.MonkeyPatch) -> None:
    found = ["127.0.0.1", "::1", "192.168.7.5", "fd00::5"]
    monkeypatch.setattr("appliance.run.delivery_wiring.machine_addresses", lambda: tuple(found))
    assert url_of(configured()) == "https://10.1.2.3:8444"
    assert url_of(configured("[fd00::1]:8444")) == "https://[fd00::1]:8444"
    assert url_of(configured("0.0.0.0:8444")) == "https://192.168.7.5:8444"
    assert url_of(configured(url="https://box.example")) == "https://box.example"
    del found[2:]
    assert url_of(configured("[::]:8444")) == "https://127.0.0.1:8444"


@pytest.mark.parametrize("bind", ["10.1.2.3:8444", None])
async def test_all_of_it_together(tmp_path: Path, bind: str | None) -> None:
    config = configured(bind)
    async with site(tmp_path) as here:
        router = Router(clock=ManualClock())
        urls, listeners = make_urls(config, here.keys, clock=here.clock), Listeners()
        updates = make_updates(
            here.catalog,
            LiveView(clock=here.clock),
            router,
            listeners,
            clock=here.clock,
            link=urls.link,
            stale_after_ms=60_000,
        ).updates
        delivery = make_delivery(
            config, here.catalog, MemoryBlobs(IMAGE), updates, router, listeners, clock=here.clock
        )
        issuing, crl = certificate_services(tmp_path, here.keys, here.catalog, here.clock)
        certificate = tls.load_or_create(tmp_path, here.keys, node_name="box", clock=here.clock)
        port = make_device_port(
            config,
            here.catalog,
            here.keys,
            issuing,
            crl,
            certificate,
            updates,
            delivery,
            urls,
            clock=here.clock,
        )
        link = urls.link(an_execution(), SHA256)
        numbers = statistics_of(delivery, port)
        assert (numbers.downloads, numbers.feedbacks) == (0, {})
        assert numbers.delivery.budget.granted_bytes == 0
        with pytest.raises(AssertionError):
            router.register("streams", lambda asked: None)  # type: ignore[arg-type, return-value]
        if bind is None:
            assert port is None
            assert link == f"/dl/{SHA256}"
        else:
            assert port is not None
            assert link.startswith(f"https://10.1.2.3:8444/dl/{SHA256}?d=")


async def test_who_has_fetched_or_is_gone_leaves_its_place(tmp_path: Path) -> None:
    config = configured(None)
    async with site(tmp_path) as here:
        router, listeners = Router(clock=ManualClock()), Listeners()
        updates = make_updates(
            here.catalog,
            LiveView(clock=here.clock),
            router,
            listeners,
            clock=here.clock,
            stale_after_ms=60_000,
        ).updates
        budgets = make_delivery(
            config, here.catalog, MemoryBlobs(IMAGE), updates, router, listeners, clock=here.clock
        ).budgets
        for device_id in ("pump", "fan", "lamp"):
            claim = Claim(device_id=device_id, rollout_id="r", rollout_bytes_s=0, address="")
            async with budgets.place(claim):
                pass
        assert budgets.statistics().served == 3
        updates.on_fetched("pump")
        assert budgets.statistics().served == 2
        listeners.take([SessionEvent(principal="fan", client_id="c", what="listening")], False)
        assert budgets.statistics().served == 2
        listeners.take([SessionEvent(principal="fan", client_id="c", what="gone")], False)
        assert budgets.statistics().served == 1
