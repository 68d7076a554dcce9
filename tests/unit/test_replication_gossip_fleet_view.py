"""Who is to hold whose streams: everybody in a small fleet, and in a large one enough, far apart, and the same wherever it is asked."""

from __future__ import annotations

from itertools import product

from replication.gossip.fleet_view import HOLDERS_ELSEWHERE_COUNT, FleetView, PeerInfo
from tests.gossip_kit import fleet


def test_a_small_fleet_holds_everything() -> None:
    view = FleetView("1", fleet(8))
    assert all(view.is_holder(a, b) == (a != b) for a, b in product(view.nodes, view.nodes))
    assert not view.is_holder("stranger", next(iter(view.nodes)))
    assert not view.is_holder(next(iter(view.nodes)), "stranger")


def test_in_a_large_one_the_site_relays_and_a_few_elsewhere_do() -> None:
    infos = [*fleet(60, sites=20, regions=3), PeerInfo(node_id="f" * 32, site_id="f" * 32, is_relay=True)]
    view, same = FleetView("1", infos), FleetView("2", reversed(infos))
    for origin in infos:
        holders = {info.node_id for info in infos if view.is_holder(info.node_id, origin.node_id)}
        assert holders == {info.node_id for info in infos if same.is_holder(info.node_id, origin.node_id)}
        mates = {info.node_id for info in infos if info.site_id == origin.site_id} - {origin.node_id}
        elsewhere = holders - mates - {"f" * 32}
        assert mates <= holders
        assert len(elsewhere) == HOLDERS_ELSEWHERE_COUNT or origin.is_relay
        assert all(view.is_apart(origin.node_id, holder, "region") for holder in elsewhere)


def test_whose_streams_a_node_is_to_hold_is_the_same_from_either_side() -> None:
    infos = [
        *fleet(30, sites=10, regions=3),
        PeerInfo(node_id="f" * 32, site_id="f" * 32, is_relay=True),
        PeerInfo(node_id="c" * 32, site_id="c" * 32, is_cloud=True),
    ]
    for info in infos:
        view = FleetView(info.node_id, infos)
        assert view.origins == tuple(
            other.node_id for other in infos if view.is_holder(info.node_id, other.node_id)
        )
        assert (not view.origins) == info.is_cloud
    assert FleetView("stranger", infos).origins == ()


def test_where_there_are_too_few_in_other_regions_the_own_one_has_the_rest() -> None:
    infos = [
        PeerInfo(node_id=f"{number:032x}", site_id=f"{number}", region="far" if number < 2 else "near")
        for number in range(12)
    ]
    view = FleetView("", infos)
    for origin in infos[2:]:
        holders = [info.region for info in infos if view.is_holder(info.node_id, origin.node_id)]
        assert sorted(holders) == ["far", "far", "near"]


def test_a_node_less_moves_only_what_it_held() -> None:
    infos = fleet(40)
    before, after = FleetView("1", infos), FleetView("1", infos[1:])
    gone = infos[0].node_id
    for origin, holder in product(infos[1:], infos[1:]):
        a, b = origin.node_id, holder.node_id
        if before.is_holder(b, a):
            assert after.is_holder(b, a)
        elif after.is_holder(b, a):
            assert before.is_holder(gone, a)


def test_what_fails_together() -> None:
    infos = [
        PeerInfo(node_id="1", site_id="a", region="x"),
        PeerInfo(node_id="2", site_id="a", region="x"),
        PeerInfo(node_id="3", site_id="b", region="x"),
        PeerInfo(node_id="4", site_id="c", region="y"),
    ]
    view = FleetView("1", infos)
    assert [view.distance(node) for node in ("2", "3", "4")] == [0, 1, 2]
    assert not view.is_apart("1", "1", "node")
    assert not view.is_apart("1", "5", "region")
    assert [view.is_apart("1", "3", domain) for domain in ("node", "site", "region")] == [True, True, False]
