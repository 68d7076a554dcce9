"""Access from the catalog to the wire: the file changes, nobody tells the broker, and whoever is connected is held to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.core.clock import SystemClock
from appliance.identity import DeviceAuthenticator, SiteKeys
from appliance.management.access import Role
from broker import access_watch
from storage.catalog import Catalog, DeviceAuthReader
from tests.broker_kit import Running, running_broker
from tests.protocol import builder

ROLES = {"board": Role.of(publish=["room/+/set"], subscribe=["room/#"])}


@dataclass
class World:
    catalog: Catalog
    keys: SiteKeys
    broker: Running

    def add(self, device_id: str, *tokens: bytes, role: str = "") -> None:
        self.catalog.add_device(device_id, role=role)
        for token in tokens or (device_id.encode(),):
            self.catalog.set_token(device_id, self.keys.token_hash(token))


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_watch, "CHECK_INTERVAL_MS", 20)


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    clock, keys = SystemClock(), SiteKeys.load_or_create(folder)
    catalog = Catalog.open(folder / "catalog.db", clock=clock, node_id=keys.node_id)
    reader = DeviceAuthReader(folder / "catalog.db", clock=clock)
    authenticator = DeviceAuthenticator(reader, keys, clock=clock)
    try:
        async with running_broker(
            folder, roles=ROLES, authenticator=authenticator, access=authenticator
        ) as broker:
            yield World(catalog, keys, broker)
    finally:
        reader.close()
        catalog.close()


@pytest.mark.parametrize("change", ["decommission_device", "revoke_tokens"])
async def test_whoever_is_kept_out_is_cut_off_and_a_bystander_is_not(tmp_path: Path, change: str) -> None:
    async with world(tmp_path) as here:
        here.add("out")
        here.add("stays")
        out = await here.broker.connect("o", username="out", password=b"out", version=5)
        stays = await here.broker.connect("s", username="stays", password=b"stays")
        getattr(here.catalog, change)("out")
        assert await out.disconnected() == 0x87
        again = await here.broker.open(version=5)
        assert await again.refused("o", username="out", password=b"out") in (0x86, 0x87)
        await stays.publish("dm/stays/x", b"here")


async def test_a_new_token_cuts_off_who_came_with_the_one_it_ends(tmp_path: Path) -> None:
    """Two are valid at a time; the third ends the first, and nobody who came with the second notices."""
    async with world(tmp_path) as here:
        here.add("d", b"first", b"second")
        first = await here.broker.connect("one", username="d", password=b"first", version=5)
        second = await here.broker.connect("two", username="d", password=b"second", version=5)
        here.catalog.set_token("d", here.keys.token_hash(b"third"))
        assert await first.disconnected() == 0x87
        await second.publish("dm/d/x", b"still here")
        assert here.broker.statistics()["access"]["cut_off"] == 1


async def test_a_role_comes_and_goes_with_the_row(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        here.add("lobby", role="board")
        here.add("other")
        board = await here.broker.connect("b", username="lobby", password=b"lobby", version=5)
        assert (await board.subscribe("room/#", "dm/#")).body[3:] == b"\x01\x87"
        here.catalog.set_access("lobby", access="own", role="")
        await here.broker.wait_until(lambda: here.broker.statistics()["access"]["subscriptions_ended"] == 1)
        assert (await board.subscribe("room/#")).body[3:] == b"\x87"
        here.catalog.set_access("lobby", access="site", role="")
        await here.broker.wait_until(lambda: here.broker.statistics()["access"]["changed"] == 2)
        assert (await board.subscribe("dm/#")).body[3:] == b"\x01"


async def test_an_alias_outlives_no_permission(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        here.add("lobby", role="board")
        board = await here.broker.connect("b", username="lobby", password=b"lobby", version=5)
        alias = builder.p16(0x23, 1)
        await board.send(builder.publish("room/1/set", b"on", qos=1, packet_id=1, properties=alias))
        assert (await board.expect(builder.PUBACK)).body[2:3] in (b"", b"\0", b"\x10")
        here.catalog.set_access("lobby", access="own", role="")
        await here.broker.wait_until(lambda: here.broker.statistics()["access"]["changed"] == 1)
        await board.send(builder.publish("", b"off", qos=1, packet_id=2, properties=alias))
        assert (await board.expect(builder.PUBACK)).body[2] == 0x87
