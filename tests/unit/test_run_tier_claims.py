"""An epoch is one box's alone, whichever regions each box reaches; and a box sees that another has taken its place."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from appliance.core.errors import Unavailable
from appliance.identity.instance import load_instance
from appliance.run import tier_claims
from appliance.run.tier_claims import TierClaims
from replication.tier.keys import SiteTierKeys
from replication.tier.source import claim_key
from storage.fleet.epoch_files import BODY_COUNT_MAX, read_bodies, write_bodies
from storage.fleet.roster_file import fleet_folder
from tests.fleet_kit import Box, make_fleet
from tests.tier_kit import MemoryTier


@pytest.fixture
def boxes(tmp_path: Path) -> tuple[Box, Box]:
    one, two = make_fleet(tmp_path, "one", "two")
    return one, two


@pytest.fixture
def tiers(monkeypatch: pytest.MonkeyPatch) -> list[MemoryTier]:
    return [MemoryTier(), MemoryTier(), MemoryTier()]


def claims_of(box: Box, tiers: list[MemoryTier], node_id: str) -> TierClaims:
    """Of a body of one node, whose disk is the box's."""
    regions = {f"region{at}": tier.open for at, tier in enumerate(tiers)}
    return TierClaims(regions, node_id, box.data_dir, SiteTierKeys(box.keys.derive, 1))


def claimed(tier: MemoryTier, node_id: str) -> dict[int, str]:
    return {
        int(key.rpartition("/")[2]): data.decode()
        for key, data in tier.kept_objects.items()
        if key.startswith(f"claims/{node_id}/")
    }


async def test_a_box_puts_its_own_epoch_there_and_finds_it_its_own_again(
    boxes: tuple[Box, Box], tiers: list[MemoryTier]
) -> None:
    one, two = boxes
    instance = load_instance(one.data_dir)
    assert instance is not None
    for _ in range(2):
        claims = claims_of(one, tiers, one.node_id)
        assert await claims.look(1)
        assert not claims.taken(1)
        assert claims.heard.is_set()
    assert [claimed(tier, one.node_id) for tier in tiers] == [{1: instance.instance_id}] * 3
    # Another body of the same node, on another disk.
    other = claims_of(two, tiers, one.node_id)
    assert await other.look(1)
    assert other.taken(1)
    assert not other.taken(2)


async def test_two_bodies_never_get_the_same_epoch_and_the_first_sees_that_it_is_replaced(
    boxes: tuple[Box, Box], tiers: list[MemoryTier]
) -> None:
    one, two = boxes
    first, second = (claims_of(box, tiers, one.node_id) for box in boxes)
    await first.look(1)
    assert await second.claim(1) == 2
    assert await second.claim(2) == 3
    assert not second.taken(2), "its own"
    await second.look(3)
    assert not second.taken(1 + 1)
    await first.look(1)
    assert first.taken(1)
    assert first.found.known_epoch() == 3
    assert await first.claim(1) == 4
    assert len(read_bodies(two.data_dir)) == 2


async def test_a_claim_needs_most_of_the_regions(boxes: tuple[Box, Box], tiers: list[MemoryTier]) -> None:
    one, _ = boxes
    claims = claims_of(one, tiers, one.node_id)
    tiers[0].is_away = tiers[1].is_away = True
    assert not await claims.look(0)
    with pytest.raises(Unavailable, match="1 of the 2 regions"):
        await claims.claim(1)
    tiers[1].is_away = False
    assert await claims.claim(1) == 2, "what it claimed in one region alone is its own again"
    assert claimed(tiers[0], one.node_id) == {}
    tiers[0].is_away = False
    tiers[0].kept_objects[claim_key(one.node_id, 3)] = b"f" * 32
    assert await claims.claim(2) == 4, "one region has another box's claim of 3"


async def test_a_region_that_does_not_answer_in_time_holds_up_nobody(
    boxes: tuple[Box, Box], tiers: list[MemoryTier], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = boxes
    monkeypatch.setattr(tier_claims.TierClaims._ask, "__kwdefaults__", {"only": None, "within_s": 0.1})
    tiers[2].hold = trio.Event()
    claims = claims_of(one, tiers, one.node_id)
    assert await claims.look(1)
    assert not claims.taken(1)


def test_bodies_are_kept_within_bounds(boxes: tuple[Box, Box]) -> None:
    one, _ = boxes
    assert read_bodies(one.data_dir) == ()
    bodies = [f"{number:032x}" for number in range(BODY_COUNT_MAX)]
    write_bodies(one.data_dir, bodies)
    assert read_bodies(one.data_dir) == tuple(bodies)
    (fleet_folder(one.data_dir) / "bodies.json").write_text('{"bodies": ["no digits"]}')
    assert read_bodies(one.data_dir) == ()
