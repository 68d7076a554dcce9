"""Membership: any order, loss and repetition of claims gives one view; any message is borne; tables converge."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from appliance.core.limits_replication import CLAIMS_CARRIED_MAX, CLAIMS_TOLD_MAX
from replication.effects import Send
from replication.membership.beliefs import Beliefs
from replication.membership.claims import Claim, Condition
from replication.membership.local_health import LocalHealth
from replication.membership.membership import Membership
from replication.membership.messages import (
    MembershipMessage,
    Probe,
    ProbeAnswer,
    ProbeFor,
    ProbeMissed,
    Rumours,
    TableDigest,
)
from replication.membership.timings import WAN
from tests.membership_kit import node_id

NODES = st.integers(0, 5).map(node_id)
CLAIMS = st.builds(Claim, NODES, st.integers(0, 3), st.sampled_from(Condition), NODES)
NONCES = st.integers(0, 3)
CARRIED = st.lists(CLAIMS, max_size=CLAIMS_CARRIED_MAX).map(tuple)
MESSAGES: st.SearchStrategy[MembershipMessage] = st.one_of(
    st.builds(Probe, NONCES, CARRIED),
    st.builds(ProbeFor, NONCES, NODES),
    st.builds(ProbeAnswer, NONCES, CARRIED),
    st.builds(ProbeMissed, NONCES, st.booleans()),
    st.builds(Rumours, st.lists(CLAIMS, max_size=CLAIMS_TOLD_MAX).map(tuple)),
    st.builds(TableDigest, st.binary(min_size=64, max_size=64), st.booleans()),
)


def view(beliefs: Beliefs) -> dict[str, tuple[int, Condition | None]]:
    return {row.node: (row.incarnation, row.condition) for row in beliefs.table.rows.values()}


def fresh() -> Beliefs:
    beliefs = Beliefs(node_id(0), WAN, LocalHealth())
    for number in range(1, 6):
        beliefs.table.admit(node_id(number), 0)
    return beliefs


@given(claims=st.lists(CLAIMS, max_size=30), data=st.data())
def test_any_order_and_repetition_of_the_same_claims_gives_the_same_view(
    claims: list[Claim], data: st.DataObject
) -> None:
    first, second = fresh(), fresh()
    first.believe(claims, 0)
    for claim in data.draw(st.permutations([*claims, *claims[:5]])):
        second.believe([claim], 0)
    assert view(first) == view(second)


@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("receive"), st.integers(0, 6), MESSAGES),
            st.tuples(
                st.sampled_from(["link_up", "link_down", "heard", "forget", "admit"]),
                st.integers(0, 6),
                st.none(),
            ),
            st.tuples(st.just("wait"), st.integers(0, 100_000), st.none()),
        ),
        max_size=40,
    )
)
def test_whatever_is_said_and_happens_it_goes_on_and_speaks_only_to_whom_it_has_a_link(
    steps: list[tuple[str, int, MembershipMessage | None]],
) -> None:
    machine = Membership(node_id(0), random.Random(0), 0)
    linked: set[str] = set()
    now_ms = 0
    for number in range(6):
        machine.admit(node_id(number), 0)
    for kind, number, message in steps:
        peer = node_id(number)
        effects = []
        if kind == "receive" and message is not None:
            effects = machine.receive(peer, message, now_ms)
        elif kind == "wait":
            now_ms += number
            effects = machine.tick(now_ms)
        elif kind == "forget":
            machine.forget(peer, now_ms)
            linked.discard(peer)
        elif kind == "admit":
            machine.admit(peer, now_ms)
        else:
            known = {each.node for each in machine.view(now_ms)}
            linked = (
                linked | {peer} & known
                if kind == "link_up"
                else linked - {peer}
                if kind == "link_down"
                else linked
            )
            effects = getattr(machine, kind)(peer, now_ms)
        assert {each.peer for each in effects if isinstance(each, Send)} <= linked
        due_ms = machine.next_at_ms()
        assert (due_ms is None) == (not machine.view(now_ms))
        assert due_ms is None or due_ms >= now_ms
    before = machine.next_at_ms()
    for _ in range(200):
        if (due_ms := machine.next_at_ms()) is None:
            break
        machine.tick(due_ms)
    assert before is None or (due_ms is not None and due_ms > before), (
        "time goes on: it never asks to be woken in a circle"
    )
