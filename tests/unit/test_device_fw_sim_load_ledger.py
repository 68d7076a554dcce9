"""A ledger agrees with a plain set about what came, what came twice and what is missing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_fw_sim.load.ledger import DeliveryLedger


@given(st.lists(st.tuples(st.sampled_from([3, 5]), st.integers(0, 12)), max_size=60))
def test_agrees_with_a_set(deliveries: list[tuple[int, int]]) -> None:
    ledger = DeliveryLedger([3, 5], is_shared=False)
    seen: set[tuple[int, int]] = set()
    highest = {3: -1, 5: -1}
    duplicate = late = 0
    for publisher, number in deliveries:
        is_new = (publisher, number) not in seen
        assert ledger.accept(publisher, number) is is_new
        duplicate += not is_new
        late += is_new and number < highest[publisher]
        highest[publisher] = max(highest[publisher], number)
        seen.add((publisher, number))
    assert (ledger.delivered, ledger.duplicate, ledger.late) == (len(seen), duplicate, late)
    sent_of = [0, 0, 0, 13, 0, 13]
    assert ledger.missing(sent_of) == 26 - len(seen)


def test_in_a_shared_subscription_a_gap_filled_later_is_no_mistake() -> None:
    ledger = DeliveryLedger([0], is_shared=True)
    for number in (1, 2, 0):
        assert ledger.accept(0, number)
    assert (ledger.late, ledger.missing([3])) == (0, 0)


def test_a_publisher_that_was_not_asked_for_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(KeyError):
        DeliveryLedger([0], is_shared=False).accept(1, 0)
