"""Entries of the roster, and how two views of it become one."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import msgspec
import pytest

from appliance.core.errors import LimitExceeded, UsageError
from appliance.core.limits_replication import ROSTER_BYTES_MAX, ROSTER_NODE_COUNT_MAX
from appliance.management.fleet import (
    Decommission,
    NodeCard,
    NodeEntry,
    Roster,
    SignedEntry,
    decode_roster,
    entry_of,
    is_node_id,
)

AUTHORITY = "ca" * 32
A, B, C = (digit * 32 for digit in "abc")


def entry(
    node_id: str,
    *,
    site: str = "1",
    region: str = "",
    name: str = "",
    version: int = 1,
    issued_at_ms: int = 1_000,
    gone: bool = False,
    **card: Any,
) -> NodeEntry:
    said = NodeCard(
        node_id=node_id,
        name=name or f"box-{node_id[0]}",
        instance="9" * 32,
        version=version,
        region=region,
        **card,
    )
    farewell = Decommission(node_id=node_id, at_ms=5, by=A, reason="stolen").text() if gone else ""
    return entry_of(
        SignedEntry(
            node_id=node_id,
            site_id=site * 32,
            fingerprint=f"{issued_at_ms:064x}",
            issued_at_ms=issued_at_ms,
            ends_at_ms=issued_at_ms + 1_000,
            certificate=b"DER",
            card=said.text(),
            card_signature=b"s",
            decommission=farewell,
            decommission_signature=b"d" if gone else b"",
        )
    )


def roster(*entries: NodeEntry) -> Roster:
    return Roster(AUTHORITY).merged(entries)[0]


def test_an_entry_says_what_its_card_says() -> None:
    found = entry(A, region="north", name="cellar", addresses=("10.0.0.1:8885",), brokers=("mqtts://a",))
    assert (found.name, found.region, found.addresses) == ("cellar", "north", ("10.0.0.1:8885",))
    assert (found.brokers, found.state) == (("mqtts://a",), "admitted")
    assert entry(A, gone=True).state == "decommissioned"


def test_a_card_of_a_later_version_keeps_its_text() -> None:
    old = entry(A)
    later = old.signed.card[:-1] + ',"zz_new":1}'
    found = entry_of(msgspec.structs.replace(old.signed, card=later))
    assert found.signed.card == later


@pytest.mark.parametrize(
    "change",
    [
        {"card": "{}"},
        {"card": "["},
        {"card": "[" * 2_000},
        {"card": entry(B).signed.card},
        {"decommission": entry(B, gone=True).signed.decommission},
        {"decommission": "{"},
    ],
)
def test_an_entry_that_says_nothing_or_is_about_another_node_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(UsageError) as caught:
        entry_of(msgspec.structs.replace(entry(A).signed, **change))
    assert caught.value.code == "roster_entry_invalid"


def test_what_fails_together() -> None:
    nodes = roster(entry(A, region="n"), entry(B, region="n"), entry(C, site="2", region="s"))
    assert [nodes.is_elsewhere(A, B, level) for level in ("node", "site", "region")] == [True, False, False]
    assert [nodes.is_elsewhere(A, C, level) for level in ("node", "site", "region")] == [True, True, True]
    assert not nodes.is_elsewhere(A, A, "node")
    assert not nodes.is_elsewhere(A, "d" * 32, "node")
    assert nodes.site_of("d" * 32) is None


def test_peers_and_mates_are_admitted_nodes() -> None:
    nodes = roster(entry(A), entry(B), entry(C, site="2"), entry("d" * 32, gone=True))
    assert [node.node_id for node in nodes.peers_of(A)] == [B, C]
    assert [node.node_id for node in nodes.mates_of(A)] == [B]
    assert (len(nodes), len(nodes.admitted())) == (4, 3)
    assert nodes.get(C) is not None
    assert nodes.orders()["d" * 32] == [1, 1_000, 1]


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_entries_become_one_view_in_whatever_order_they_come(order: tuple[int, ...]) -> None:
    known = [entry(A), entry(A, version=2), entry(A, issued_at_ms=2_000), entry(A, gone=True)]
    found = Roster(AUTHORITY)
    for number in order:
        found, _ = found.merged([known[number]])
    assert found.get(A) == known[3]
    assert Roster(AUTHORITY).merged(known[:3])[0].get(A) == known[2]


def test_nothing_new_is_the_same_roster() -> None:
    nodes = roster(entry(A))
    same, changed = nodes.merged([entry(A)])
    assert same is nodes
    assert changed == []
    more, changed = nodes.merged([entry(A, version=2), entry(B)])
    assert [node.node_id for node in changed] == [A, B]
    assert [node.node_id for node in more] == [A, B]


def test_a_fleet_has_so_many_nodes() -> None:
    with pytest.raises(LimitExceeded) as caught:
        roster(*(entry(f"{number:032x}") for number in range(ROSTER_NODE_COUNT_MAX + 1)))
    assert caught.value.code == "roster_full"


def test_a_roster_is_read_as_it_was_written() -> None:
    nodes = roster(entry(A), entry(B, gone=True))
    found = decode_roster(nodes.encode())
    assert list(found) == list(nodes)
    assert found.authority == AUTHORITY
    assert found.encode() == nodes.encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"[" * 5_000,
        b"\xff",
        b" " * (ROSTER_BYTES_MAX + 1),
        roster().encode().replace(b'"version": 1', b'"version": 2'),
        roster(entry(A)).encode().replace(A.encode(), b"A" * 32),
    ],
)
def test_what_is_no_roster_is_refused(data: bytes) -> None:
    with pytest.raises(UsageError) as caught:
        decode_roster(data)
    assert caught.value.code == "roster_invalid"


def test_a_node_s_id_has_32_digits() -> None:
    assert is_node_id(A)
    assert not is_node_id(A + "\n")
    assert not is_node_id(A.upper())
