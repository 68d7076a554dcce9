"""The generation of the tier's key: kept, told, followed by pages, API and what ships."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from appliance.core.config import Config
from appliance.core.config_tier import TierConfig, TierRegionConfig
from appliance.core.errors import StorageError, Unavailable, UsageError
from appliance.identity.keys import SiteKeys
from appliance.management.tier_key import SETTING
from appliance.run import layout, tier_key
from appliance.run.replicator_process import _seal_with
from appliance.run.tier_key import TierKeyTelling, keep_generation, kept_generation
from appliance.run.tier_wiring import site_tier_keys
from storage.replicas.streams import StreamId
from tests.acts import ACT
from tests.node_kit import Node, running_node
from tests.unit.test_ui_replication import EU, STATE, with_state

CLOUDY = msgspec.structs.replace(STATE, tier=(msgspec.structs.replace(EU, key_generation=4),))


class Replicator:
    """What it was told; away while `is_away`."""

    def __init__(self) -> None:
        self.told: list[int] = []
        self.is_away = False
        self.heard = trio.Event()

    async def seal_with(self, generation: int) -> Mapping[str, Any]:
        if self.is_away:
            raise Unavailable("The replicator is away.", hint="", code="replicator_away")
        self.told.append(generation)
        self.heard.set()
        return {"generation": generation}


def with_region(node: Node, replicator: Replicator, *, encrypt: str = "on") -> Config:
    config = dataclasses.replace(
        node.services.config, tier_region=(TierRegionConfig(),), tier=TierConfig(encrypt=encrypt)
    )
    object.__setattr__(node.services, "config", config)
    object.__setattr__(node.services, "seal_with", replicator.seal_with)
    return config


def test_what_is_kept_never_goes_back_and_rubbish_counts_for_nothing(tmp_path: Path) -> None:
    assert kept_generation(tmp_path) == 0
    keep_generation(tmp_path, 3)
    keep_generation(tmp_path, 2)
    assert kept_generation(tmp_path) == 3
    layout.tier_key_generation(tmp_path).write_bytes(b"three")
    assert kept_generation(tmp_path) == 0
    keep_generation(tmp_path, 4)
    assert kept_generation(tmp_path) == 4
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="can't be written"):
        keep_generation(tmp_path / "file", 1)


async def test_the_replicator_seals_with_a_later_generation_and_after_a_restart(
    tmp_path: Path,
) -> None:
    async with running_node(tmp_path) as node:
        config, keys = node.services.config, node.services.keys
        ships = site_tier_keys(config, keys)
        assert ships.generation == 1
        assert await _seal_with(config, ships, 3) == 3
        assert await _seal_with(config, ships, 2) == 3
        assert site_tier_keys(config, keys).generation == 3
        ahead = dataclasses.replace(config, tier=TierConfig(key_generation=9))
        assert site_tier_keys(ahead, keys).generation == 9
        readable = site_tier_keys(dataclasses.replace(config, tier=TierConfig(encrypt="off")), keys)
        assert await _seal_with(config, readable, 5) == 0
        for wrong in (0, 1_000_001):
            with pytest.raises(UsageError):
                await _seal_with(config, ships, wrong)


async def test_a_new_key_is_begun_on_the_page_and_through_the_api(tmp_path: Path) -> None:
    replicator = Replicator()
    async with running_node(tmp_path) as bare, (node := with_state(bare, CLOUDY)).admin() as client:
        url = "/api/v1/replication/tier/rotate-key"
        assert (await client.post(url, json={})).json()["code"] == "tier_missing"
        with_region(node, replicator, encrypt="off")
        assert (await client.post(url, json={})).json()["code"] == "tier_not_sealed"
        with_region(node, replicator)
        page = (await client.get("/sites")).text
        assert "Begin a new key" in page
        assert "key <b>4</b>" in page
        assert (await client.post(url, json={})).json() == {"generation": 2, "is_in_use": True}
        done = await client.post("/sites/tier-key")
        assert done.headers["location"] == "/sites?done=tier-key"
        replicator.is_away = True
        assert (await client.post(url, json={})).json() == {"generation": 4, "is_in_use": False}
        done = await client.post("/sites/tier-key")
        assert done.headers["location"] == "/sites?done=tier-key-soon"
        assert replicator.told == [2, 3]
        assert await node.catalog.read(tier_key.generation_in) == 5
        assert "as soon as the replicator is there" in (await client.get("/sites?done=tier-key-soon")).text
        found = await node.catalog.read(lambda reader: reader.list_audit(limit=50))
        noted = [each.object_id for each in found.entries if each.object_kind == "tier_key"]
        assert noted == ["5", "4", "3", "2"]


async def test_the_replicator_is_told_what_the_catalog_names_until_it_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tier_key, "AGAIN_S", 0.01)
    replicator = Replicator()
    replicator.is_away = True
    async with running_node(tmp_path) as node, trio.open_nursery() as nursery:
        telling = TierKeyTelling(with_region(node, replicator), node.catalog, replicator.seal_with)
        nursery.start_soon(telling.run)
        await node.catalog.write(lambda catalog: catalog.set_setting(SETTING, 6), by=ACT)
        replicator.is_away = False
        with trio.fail_after(60):
            await replicator.heard.wait()
            replicator.heard = trio.Event()
            await node.catalog.write(lambda catalog: catalog.set_setting(SETTING, 7), by=ACT)
            await replicator.heard.wait()
        assert replicator.told == [6, 7]
        nursery.cancel_scope.cancel()
    unsealed = TierKeyTelling(Config(), node.catalog, replicator.seal_with)
    await unsealed.run()
    assert unsealed.told == 0


def test_keys_of_the_site_open_what_any_generation_sealed(tmp_path: Path) -> None:
    keys = SiteKeys.load_or_create(tmp_path)
    config = dataclasses.replace(Config(), node=dataclasses.replace(Config().node, data_dir=tmp_path))
    ships = site_tier_keys(config, keys)
    stream = StreamId(keys.node_id.hex(), "telemetry")
    first, _ = ships.sealing(stream)
    ships.raise_to(2)
    second, generation = ships.sealing(stream)
    assert generation == 2
    assert first != second
    assert ships.opening(stream)(1) == first
