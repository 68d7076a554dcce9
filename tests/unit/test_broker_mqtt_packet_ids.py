"""A set of packet identifiers, against Python's."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from broker.mqtt.packet_ids import PACKET_ID_MAX, PacketIds

NUMBERS = st.one_of(st.sampled_from([1, 7, 8, 9, PACKET_ID_MAX]), st.integers(1, PACKET_ID_MAX))


@given(st.lists(st.tuples(st.booleans(), NUMBERS), max_size=40))
def test_it_is_a_set(steps: list[tuple[bool, int]]) -> None:
    ids, model = PacketIds(), set[int]()
    for is_added, number in steps:
        if is_added:
            ids.add(number)
            model.add(number)
        else:
            assert ids.discard(number) == (number in model)
            model.discard(number)
        assert len(ids) == len(model)
        assert (number in ids) == (number in model)
    assert list(ids) == sorted(model)
