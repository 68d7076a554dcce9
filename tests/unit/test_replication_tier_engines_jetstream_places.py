"""Looking for a piece among messages: it is found wherever it is, and what is not there is not found, in a bounded number of looks."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.core.limits_jetstream import NATS_KNOWN_PLACE_COUNT_MAX, NATS_PROBE_COUNT_MAX
from replication.tier.engines.jetstream_places import Places


def search(messages: dict[int, int], places: Places, wanted: int) -> tuple[int | None, int]:
    """(place of the message that begins with it, looks) as the engine does it; `messages` are sequences by place."""
    last_seq = max(messages)
    gap = places.gap(wanted, last_seq, messages[last_seq])
    for step in range(NATS_PROBE_COUNT_MAX):
        guess = gap.guess(step)
        if guess is None:
            return None, step
        found = min((seq for seq in messages if seq >= guess), default=None)
        if found is not None and messages[found] == wanted:
            return found, step
        gap = gap.after(guess, found, 0 if found is None else messages[found])
    raise AssertionError("too many looks")


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(1, 10_000)), min_size=2, max_size=40),
    st.data(),
)
def test_what_is_there_is_found_and_what_is_not_is_not(
    steps: list[tuple[int, int]], data: st.DataObject
) -> None:
    messages: dict[int, int] = {}
    seq = first = 0
    for by_seq, by_first in steps:
        seq, first = seq + by_seq, first + by_first
        messages[seq] = first
    places = Places()
    for known in data.draw(st.lists(st.sampled_from(sorted(messages)))):
        places.add(messages[known], known)
    for gone in data.draw(st.lists(st.sampled_from(sorted(messages)[:-1]))):
        messages.pop(gone, None)  # somebody else removed it, which nobody here knows
    last = max(messages)
    others = data.draw(st.lists(st.integers(0, messages[last] - 1)))
    for wanted in {*messages.values(), *others} - {messages[last]}:
        there = next((seq for seq, first in messages.items() if first == wanted), None)
        assert search(messages, places, wanted)[0] == there


def test_pieces_of_one_size_are_found_in_few_looks() -> None:
    messages = {seq: 100 * seq for seq in range(1, 2_000)}
    assert max(search(messages, Places(), 100 * seq)[1] for seq in range(1, 1_999, 13)) <= 3


def test_places_are_kept_in_order_and_bounded() -> None:
    places = Places()
    for first in range(3 * NATS_KNOWN_PLACE_COUNT_MAX):
        places.add(10 * first, first + 1)
    assert NATS_KNOWN_PLACE_COUNT_MAX / 2 <= len(places) <= NATS_KNOWN_PLACE_COUNT_MAX
    assert places.exact(0) == 1
    assert places.exact(5) is None
    assert places.before(-1) == 0
    assert 0 < places.before(777) <= 78
    places.add(0, 9)
    assert places.exact(0) == 9
    places.remove(0)
    places.remove(0)
    assert places.exact(0) is None
    assert places.exact(10**9) is None
