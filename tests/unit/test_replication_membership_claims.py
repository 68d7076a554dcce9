"""Which of two claims counts."""

from __future__ import annotations

import itertools

from replication.membership.claims import Claim, Condition, supersedes
from tests.membership_kit import node_id


def test_a_later_incarnation_counts_and_within_one_dead_beats_suspect_beats_alive() -> None:
    order = [
        Claim(node_id(1), incarnation, condition, node_id(2))
        for incarnation in (0, 1)
        for condition in Condition
    ]
    for (at_a, a), (at_b, b) in itertools.product(enumerate(order), repeat=2):
        assert supersedes(b, a.incarnation, a.condition) == (at_b > at_a)
    assert supersedes(order[0], 0, None), "anything is more than nothing"
