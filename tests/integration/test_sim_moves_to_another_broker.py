"""Simulated devices go to another broker of their site when theirs stops or is gone, and nothing of theirs is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import trio

from broker.site.site_feed import SiteNodes, SiteView
from device_fw_sim.broker_address import BrokerAddress
from device_fw_sim.fleet import Fleet, FleetOptions
from device_fw_sim.load.options import Credential
from device_fw_sim.report import SimReport
from storage.log.columns import Kind
from tests.broker_kit import CONFIG, Running, running_broker, wait_until

DEVICES = tuple(Credential(username=f"dev-{number}", password="token") for number in range(5))


@asynccontextmanager
async def broker_of_site(
    folder: Path, others: dict[str, list[str]], *, with_tls: bool = False
) -> AsyncIterator[Running]:
    nodes = SiteNodes(
        look=lambda: SiteView(others=dict(others)), directory_of=lambda node_id: folder / "copies" / node_id
    )
    config = replace(CONFIG, sys_interval_s=0)
    async with running_broker(folder, site=nodes, config=config, with_tls=with_tls) as running:
        yield running


def taken(broker: Running) -> set[tuple[bytes, bytes]]:
    """Topic and payload of all readings that it has on disk."""
    return {
        (topic, payload)
        for _, _, topic, payload in broker.records(Kind.PUBLISH)
        if topic.endswith(b"/telemetry")
    }


async def test_a_fleet_goes_on_at_the_next_broker(tmp_path: Path) -> None:
    others: dict[str, list[str]] = {}
    reports: list[SimReport] = []
    async with broker_of_site(tmp_path / "second", {}) as second, trio.open_nursery() as nursery:
        others["bb" * 16] = [f"mqtt://127.0.0.1:{second.port}"]
        async with broker_of_site(tmp_path / "first", others) as first:
            options = FleetOptions(
                broker=BrokerAddress(port=first.port), credentials=DEVICES, interval_ms=50, seed=7
            )
            fleet = Fleet(options)

            async def run() -> None:
                reports.append(await fleet.run())

            nursery.start_soon(run)
            await wait_until(lambda: len({topic for topic, _ in taken(first)}) == len(DEVICES))
        await wait_until(lambda: len({topic for topic, _ in taken(second)}) == len(DEVICES))
        fleet.stop.set()
        await wait_until(lambda: reports)
        (report,) = reports
        assert report.acknowledged == report.taken
        assert len(taken(first) | taken(second)) == report.taken


async def test_over_tls_it_knows_the_next_box_by_the_first_ones_file(tmp_path: Path) -> None:
    """Each box has a certificate of its own, signed by the site's authority: the one file that devices are given."""
    for name in ("first", "second"):
        (tmp_path / name / "identity").mkdir(mode=0o700, parents=True)
        key = tmp_path / name / "identity" / "site.key"
        key.write_text("5a" * 32)
        key.chmod(0o600)
    others: dict[str, list[str]] = {}
    reports: list[SimReport] = []
    second_one = broker_of_site(tmp_path / "second", {}, with_tls=True)
    async with second_one as second, trio.open_nursery() as nursery:
        others["bb" * 16] = [f"mqtts://127.0.0.1:{second.tls_port}"]
        async with broker_of_site(tmp_path / "first", others, with_tls=True) as first:
            address = BrokerAddress(port=first.tls_port or 0, tls=True, ca_file=str(first.certificate))
            options = FleetOptions(broker=address, credentials=DEVICES, interval_ms=50, seed=7)
            fleet = Fleet(options)

            async def run() -> None:
                reports.append(await fleet.run())

            nursery.start_soon(run)
            await wait_until(lambda: len({topic for topic, _ in taken(first)}) == len(DEVICES))
        await wait_until(lambda: len({topic for topic, _ in taken(second)}) == len(DEVICES))
        fleet.stop.set()
        await wait_until(lambda: reports)
        assert reports[0].acknowledged == reports[0].taken
