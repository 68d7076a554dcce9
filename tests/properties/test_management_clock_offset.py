"""The judgement of a clock: the same for any order and cut of the messages, and near the truth where there is any."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from appliance.core.arrays import i64
from appliance.core.limits import CLOCK_SLOT_MS
from appliance.management.clock_offset import ClockOffsets, ClockSample, lowest_delays

DEVICES = ("a", "b", "c")
messages = st.lists(
    st.tuples(
        st.integers(0, len(DEVICES) - 1),
        st.integers(0, 6 * CLOCK_SLOT_MS),
        st.integers(-86_400_000, 10**10),
    ),
    max_size=40,
)


def batch_samples(batch: list[tuple[int, int, int]]) -> list[ClockSample]:
    """What a batch of (device, arrival, delay) says: by slot, then by device, as the pipeline does."""
    samples = []
    for slot in {arrived // CLOCK_SLOT_MS for _, arrived, _ in batch}:
        mine = [each for each in batch if each[1] // CLOCK_SLOT_MS == slot]
        owners = i64([each[0] for each in mine])
        arrivals, said = i64([each[1] for each in mine]), i64([each[1] - each[2] for each in mine])
        lowest = lowest_delays(owners, arrivals, said, len(DEVICES))
        samples += [
            ClockSample(device=DEVICES[at], slot=slot, delay_ms=int(lowest[at]))
            for at in {each[0] for each in mine}
        ]
    return samples


def judged(batches: list[list[tuple[int, int, int]]]) -> list[int | None]:
    offsets = ClockOffsets()
    for batch in batches:
        offsets.note(batch_samples(batch))
    return [offsets.offset_ms(device) for device in DEVICES]


@given(messages, st.randoms(use_true_random=False), st.lists(st.integers(0, 40), max_size=5))
def test_any_order_and_cut_judge_the_same(
    found: list[tuple[int, int, int]], random: st.DataObject, cuts: list[int]
) -> None:
    shuffled = list(found)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    at = sorted({0, *cuts, len(found)})
    parts = [shuffled[a:b] for a, b in pairwise(at)]
    assert judged([found]) == judged(parts)


@given(
    st.integers(-86_400_000, 10**9),
    st.lists(st.lists(st.integers(0, 4_000), min_size=1), min_size=2, max_size=5),
)
def test_a_live_device_is_judged_within_its_shortest_way(
    behind_ms: int, ways_by_slot: list[list[int]]
) -> None:
    """A device that sends what it measures: whatever its clock says, the error is the shortest way of two slots."""
    offsets = ClockOffsets()
    for slot, ways in enumerate(ways_by_slot):
        offsets.note(ClockSample(device="a", slot=slot, delay_ms=behind_ms + way) for way in ways)
    found = offsets.offset_ms("a")
    assert found is not None
    assert 0 <= -behind_ms - found <= 4_000 or found == -behind_ms - min(
        min(ways) for ways in ways_by_slot[-2:]
    )


@given(st.integers(60_001, 10**9), st.integers(5_001, 10**8))
def test_back_fill_is_never_a_slow_clock(late_ms: int, nearer_ms: int) -> None:
    """Readings of before that come nearer from slot to slot say nothing of the clock, until they have come near."""
    offsets = ClockOffsets()
    delay_ms, slot = late_ms + 20 * nearer_ms, 0
    while delay_ms > 0 and slot < 20:
        offsets.note([ClockSample(device="a", slot=slot, delay_ms=delay_ms)])
        assert not offsets.is_wrong("a")
        delay_ms, slot = delay_ms - nearer_ms, slot + 1
