"""Regions behind a cloud node by its name, who may ask a cloud node, and what a box tells it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance.core.clock import ManualClock
from appliance.core.config import Config, NodeConfig
from appliance.core.config_tier import TierRegionConfig
from appliance.core.errors import ConfigError, UsageError
from appliance.management.fleet import Decommission, NodeEntry, entry_of
from appliance.run import tier_commands
from appliance.run.gateway_wiring import CloudNode, report_of
from appliance.run.linked_regions import is_linked, linked_opening
from appliance.run.tier_commands import check_regions, is_well, list_sites
from appliance.run.tier_wiring import openings
from replication.tier.engine import TierUnfit
from replication.tier.gateway_messages import SiteReport
from tests.gateway_kit import BOX, CLOUD, Pair
from tests.tier_kit import MemoryTier, piece_after
from tests.unit.test_management_replication_state import STATE
from tests.unit.test_management_site_reports import node
from tests.unit.test_ui_replication import EU

ADDRESS = "homeport://cloud-1/eu"
SITE = "51" * 16
REPORT = SiteReport(900, 61_000, 2, 900, 2, "")


class FakeRoster:
    """Nodes, as the roster gives them."""

    def __init__(self, *nodes: NodeEntry) -> None:
        self.nodes = {node.node_id: node for node in nodes}

    def admitted(self) -> list[NodeEntry]:
        return [node for node in self.nodes.values() if node.decommission is None]

    def get(self, node_id: str) -> NodeEntry | None:
        return self.nodes.get(node_id)

    def __iter__(self) -> Any:
        return iter(self.nodes.values())


BOX_NODE = entry_of(node(BOX, "mill", SITE))
MATE = entry_of(node("b1" * 16, "mill-2", SITE))
CLOUD_NODE = entry_of(node(CLOUD, "cloud-1", "52" * 16, "cloud"))
GONE = replace(MATE, node_id="b2" * 16, decommission=Decommission(node_id="b2" * 16, at_ms=1, by=CLOUD))
ROSTER: Any = FakeRoster(BOX_NODE, MATE, CLOUD_NODE, GONE)


def configured(address: str, role: str = "edge") -> Config:
    return Config(node=NodeConfig(role=role), tier_region=(TierRegionConfig(name="eu", address=address),))


async def test_a_region_is_found_by_the_cloud_nodes_name() -> None:
    pair = Pair({"eu": MemoryTier().open})
    async with pair.run():
        async with linked_opening(ADDRESS, pair.client, lambda: ROSTER)() as engine:
            assert await engine.epochs() == {}
        newer = replace(CLOUD_NODE, node_id="c1" * 16, issued_at_ms=9)
        both: Any = FakeRoster(CLOUD_NODE, newer)
        # Of two bodies under one name the newer one is asked; here it has no link.
        with pytest.raises(Exception, match="c1c1c1c1 is not linked"):
            async with linked_opening(ADDRESS, pair.client, lambda: both)():
                pass
        with pytest.raises(TierUnfit, match="no cloud node of the name mill"):
            async with linked_opening("homeport://mill/eu", pair.client, lambda: ROSTER)():
                pass


@pytest.mark.parametrize(
    "address",
    [
        "homeport://cloud-1",
        "homeport://cloud-1/a/b",
        "homeport://a,b/eu",
        "homeport://me@cloud-1/eu",
        "homeport://cloud-1/eu?x=1",
    ],
)
def test_an_address_that_names_no_region_is_refused(address: str) -> None:
    with pytest.raises(ConfigError):
        linked_opening(address, Pair({}).client, lambda: ROSTER)


def test_only_a_box_with_links_goes_by_one() -> None:
    assert is_linked(ADDRESS)
    assert not is_linked("s3://homeport/eu")
    with pytest.raises(ConfigError, match="gives nothing but to boxes of its fleet"):
        openings(configured(ADDRESS))
    with pytest.raises(ConfigError, match="gives nothing but to boxes of its fleet"):
        openings(configured(ADDRESS, "cloud"), lambda address: MemoryTier().open)
    tier = MemoryTier()
    assert openings(configured(ADDRESS), lambda address: tier.open) == {"eu": tier.open}


async def test_a_cloud_node_knows_boxes_by_the_roster_and_tells_what_they_said() -> None:
    clock = ManualClock()
    tier = MemoryTier()
    pair = Pair({})
    cloud = CloudNode(pair.cloud_end, {"eu": tier.open}, roster=lambda: ROSTER, clock=clock)
    visitor = cloud._visitor(BOX)
    assert visitor is not None
    assert (visitor.site_id, visitor.nodes) == (SITE, frozenset({BOX, MATE.node_id, GONE.node_id}))
    assert cloud._visitor(GONE.node_id) is None
    assert cloud._visitor("99" * 16) is None
    cloud.said(BOX, REPORT)
    stream = msgspec.structs.replace(piece_after(None).name.stream, node_id=BOX)
    cloud._stored("eu", piece_after(None, stream=stream, records=10).name)
    cloud._stored(
        "eu", piece_after(None, stream=msgspec.structs.replace(stream, branch="0123abcd"), records=99).name
    )
    mill, second = cloud.sites({BOX: "up"})
    assert (mill.name, mill.link, mill.rpo_ms, mill.is_fresh) == ("mill", "up", 900, True)
    assert [(each.region, each.next_seq) for each in mill.stored] == [("eu", 11)]
    assert (second.name, second.heard_at_ms) == ("mill-2", None)


def test_a_box_tells_what_it_knows_of_itself() -> None:
    state = msgspec.structs.replace(STATE, tier=(EU,), problem="")
    assert report_of(state) == SiteReport(
        state.rpo_ms, state.rpo_worst_ms, state.unsafe_entries, EU.lag_ms, EU.lag_entries, ""
    )
    away = msgspec.structs.replace(EU, is_live=False, problem="no route")
    said = report_of(msgspec.structs.replace(state, tier=(away,)))
    assert (said.lag_ms, said.lag_entries, said.problem) == (None, None, "no route")
    assert report_of(msgspec.structs.replace(state, problem="x" * 900)).problem == "x" * 500


def test_the_command_line_asks_who_has_links(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = replace(configured(ADDRESS), node=NodeConfig(data_dir=tmp_path, run_dir=tmp_path))
    (away,) = check_regions(config)
    assert not away["is_good"]
    assert away["problem"]

    async def ask(path: Path, question: str, **fields: Any) -> dict[str, Any]:
        if question == "tier_check":
            return {"is_good": fields == {"region": "eu"}, "problem": "", "hint": ""}
        return {"sites": [{"name": "mill"}]}

    monkeypatch.setattr(tier_commands, "ask", ask)
    assert check_regions(config)[0]["is_good"]
    assert list_sites(replace(config, node=replace(config.node, role="cloud"))) == [{"name": "mill"}]
    with pytest.raises(UsageError, match="no cloud node"):
        list_sites(config)


def test_a_box_is_well_when_it_was_heard_and_little_is_only_there() -> None:
    assert is_well({"is_fresh": True, "rpo_ms": 15_000})
    for bad in (
        {"is_fresh": False, "rpo_ms": 0},
        {"is_fresh": True, "rpo_ms": None},
        {"is_fresh": True, "rpo_ms": 15_001},
    ):
        assert not is_well(bad)
