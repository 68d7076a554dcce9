"""Rows of members, and comparing tables by parts."""

from __future__ import annotations

from appliance.core.limits_replication import CLAIMS_TOLD_MAX, TABLE_DIGEST_BYTES
from replication.membership.claims import Claim, Condition
from replication.membership.table import Table, differing
from tests.membership_kit import node_id

OWN = Claim(node_id(0), 4, Condition.ALIVE, node_id(0))


def made(count: int) -> Table:
    table = Table()
    for number in range(1, count):
        table.admit(node_id(number), 0)
        table.rows[node_id(number)].condition = Condition.ALIVE
    return table


def test_digests_say_which_parts_differ_and_not_who_found_it_out() -> None:
    one, other = made(40), made(40)
    other.rows[node_id(3)].by = node_id(5)
    assert one.digest(OWN) == other.digest(OWN)
    assert len(one.digest(OWN)) == TABLE_DIGEST_BYTES
    other.rows[node_id(3)].condition = Condition.SUSPECT
    other.rows[node_id(20)].incarnation = 9
    for number in (3, 20):
        other.changed(node_id(number))
    assert differing(one.digest(OWN), other.digest(OWN)) == [3, 4]
    told = [claim.node for page in other.claims(OWN, [3, 4]) for claim in page]
    assert told == sorted(node_id(number) for number in range(40) if number % 16 in (3, 4))


def test_pages_are_short_and_own_claim_is_among_them() -> None:
    pages = made(100).claims(OWN, range(16))
    assert max(len(page) for page in pages) == CLAIMS_TOLD_MAX
    assert sum(len(page) for page in pages) == 100
    assert OWN in [claim for page in pages for claim in page]


def test_members_of_whom_nothing_is_known_are_not_told_of() -> None:
    table = Table()
    table.admit(node_id(1), 0)
    assert table.claims(OWN, range(16)) == [[OWN]]
    assert table.rows[node_id(1)].claim() is None
