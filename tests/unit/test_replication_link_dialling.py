"""When a peer is dialled again."""

from __future__ import annotations

from random import Random

from appliance.core.limits_replication import LINK_SETTLED_MS
from replication.link.dialling import DialBackoff


def test_waits_double_up_to_a_minute_and_are_never_less_than_half() -> None:
    backoff = DialBackoff(Random(1))
    waits = [backoff.failed() for _ in range(40)]
    bounds = [min(1_000 << min(number, 16), 60_000) for number in range(40)]
    assert all(bound // 2 <= wait <= bound for wait, bound in zip(waits, bounds, strict=True))


def test_a_good_link_or_a_change_begins_anew() -> None:
    backoff = DialBackoff(Random(1))
    for _ in range(8):
        backoff.failed()
    assert backoff.ended(LINK_SETTLED_MS - 1) > 1_000
    assert backoff.ended(LINK_SETTLED_MS) <= 1_000
    backoff.failed()
    backoff.reset()
    assert backoff.failed() <= 1_000


def test_two_boxes_don_t_go_on_in_step() -> None:
    first, second = DialBackoff(Random(1)), DialBackoff(Random(2))
    assert [first.failed() for _ in range(5)] != [second.failed() for _ in range(5)]
