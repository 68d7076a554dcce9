"""Roster and links as the picture that page, API and alarms are made of."""

from __future__ import annotations

from dataclasses import replace

from appliance.run.replicator_state import LinkAges, state_of
from replication.link.connection import LinkStatistics
from replication.link.dialler import DialState, DialStatistics
from replication.link.links import LinksStatistics
from replication.link.refusals import Turned
from tests.unit.test_management_fleet import A, B, C, entry, roster

OWN = entry(A)
NODES = roster(OWN, entry(B), entry(C, site="2", gone=True))


def link(node_id: str, rtt_ms: int = 4) -> LinkStatistics:
    return LinkStatistics(
        node_id=node_id,
        address="10.0.0.1",
        is_dialled=True,
        since_at_ms=7,
        release="1",
        clock_ahead_ms=-3,
        rtt_ms=rtt_ms,
        sent_bytes=10,
        received_bytes=20,
        sent_messages=1,
        received_messages=2,
        waiting_bytes=30,
        refused_messages=0,
    )


def dial(state: DialState, reason: str = "") -> DialStatistics:
    return DialStatistics(
        node_id=B, state=state, attempts=1, reason=reason, message="because", is_ours=False, next_in_ms=0
    )


def links(
    *found: LinkStatistics, dials: tuple[DialStatistics, ...] = (), turned: tuple[Turned, ...] = ()
) -> LinksStatistics:
    return LinksStatistics(links=found, dials=dials, refused={}, newest_refused=turned, waiting=0, port=1)


def test_a_link_that_is_up() -> None:
    state = state_of(OWN, NODES, links(link(B)), safe_at="site", now_ms=9)
    assert (state.node_id, state.safe_at, state.at_ms, state.authority) == (A, "site", 9, NODES.authority)
    first, second = state.peers
    assert (first.link, first.since_ms, first.rtt_ms, first.clock_ahead_ms) == ("up", 7, 4.0, -3)
    assert (first.backlog_bytes, first.sent_bytes, first.received_bytes) == (30, 10, 20)
    assert first.is_of_this_site
    assert (second.state, second.link, second.is_of_this_site) == ("decommissioned", "down", False)
    assert state_of(OWN, NODES, links(link(B, -1)), safe_at="node", now_ms=9).peers[0].rtt_ms is None


def test_a_link_that_is_not() -> None:
    def seen(found: LinksStatistics) -> tuple[str, str]:
        peer = state_of(OWN, NODES, found, safe_at="node", now_ms=9).peers[0]
        return peer.link, peer.problem

    assert seen(links()) == ("down", "")
    assert seen(links(dials=(dial("dialling"),))) == ("dialling", "")
    assert seen(links(dials=(dial("waiting", "unreachable"),))) == ("down", "because")
    assert seen(links(dials=(dial("waiting", "expired"),))) == ("refused", "because")
    turned = Turned(at_ms=5, address="10.0.0.2", node_id=B, reason="clone", message="two", is_ours=True)
    assert seen(links(turned=(turned,))) == ("refused", "two")


def test_since_when_a_link_is_lost_is_known_by_looking() -> None:
    ages = LinkAges()

    def since(found: LinksStatistics, now_ms: int) -> int:
        return ages.look(state_of(OWN, NODES, found, safe_at="node", now_ms=now_ms)).peers[0].since_ms

    assert since(links(), 100) == 100, "since this process looks, at least"
    assert since(links(), 200) == 100
    assert since(links(link(B)), 300) == 7, "a link says itself since when"
    assert since(links(dials=(dial("waiting", "unreachable"),)), 400) == 400
    assert since(links(dials=(dial("dialling"),)), 500) == 400


def test_that_nobody_answers_is_said_in_words() -> None:
    said = "10.0.0.1:8885: all attempts to connect to 10.0.0.1:8885 failed"
    tried = replace(dial("waiting", "unreachable"), message=said)
    nodes = roster(OWN, entry(B, addresses=("10.0.0.1:8885",)))
    peer = state_of(OWN, nodes, links(dials=(tried,)), safe_at="node", now_ms=9).peers[0]
    assert (peer.link, peer.problem) == ("down", "It does not answer at 10.0.0.1:8885.")
