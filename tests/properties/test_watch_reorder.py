"""Any cut and any order of the same readings within the lateness: each series gives one sequence, and what is late is late in all of them."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest

from appliance.core.limits_watch import WATCH_INSTANT_MS
from appliance.management.arrived import Arrived
from appliance.watch.reorder import Reorder

Reading = tuple[int, int, int, float]
"""series, observed, received, value."""
NOW = 1_800_000_000_000


def arrived(readings: Sequence[Reading], starts: Sequence[int] = ()) -> Arrived:
    return Arrived(
        series=np.array([each[0] for each in readings], np.uint32),
        observed_at_ms=np.array([each[1] for each in readings], np.int64),
        received_at_ms=np.array([each[2] for each in readings], np.int64),
        values=np.array([each[3] for each in readings], np.float64),
        quality=np.zeros(len(readings), np.uint8),
        broker_starts=starts,
    )


def stream(choose: random.Random, lateness_ms: int) -> list[Reading]:
    """In the order of arrival; some overtake others, some far too late, some come twice, some with one time."""
    at_ms = NOW
    found: list[Reading] = []
    for _ in range(choose.randrange(1, 200)):
        at_ms += choose.choice((0, 0, 1, 7, lateness_ms // 3 + 1, WATCH_INSTANT_MS // 7))
        if found and choose.random() < 0.1:
            series, observed, _, value = choose.choice(found[-20:])
            found.append((series, observed, at_ms, value))
            continue
        behind = choose.choice((0, 0, 0, 1, lateness_ms // 2, 2 * lateness_ms, 50 * lateness_ms))
        observed = at_ms - choose.randrange(0, behind + 1)
        found.append((choose.randrange(1, 6), observed // 3 * 3, at_ms, float(choose.randrange(0, 4))))
    return found


def by_hand(readings: Sequence[Reading], lateness_ms: int) -> tuple[dict[int, list[tuple[int, float]]], int]:
    """The sequences and how many are late, one reading after the other."""
    sequences: dict[int, set[tuple[int, float]]] = {}
    late = 0
    for at, (series, observed, received, value) in enumerate(readings):
        is_late = any(
            other[0] == series and other[1] >= observed and other[2] + lateness_ms <= received
            for other in readings[:at]
        )
        if is_late:
            late += 1
        else:
            sequences.setdefault(series, set()).add((observed, value))
    return {series: sorted(found) for series, found in sequences.items()}, late


def run(
    choose: random.Random, readings: Sequence[Reading], lateness_ms: int, *, shuffles: bool
) -> tuple[dict[int, list[tuple[int, float]]], int, list[tuple[int, int, int]]]:
    """Cut into batches of any size: the sequences, how many are late, and at which instant each had been released."""
    reorder = Reorder(lateness_ms)
    sequences: dict[int, list[tuple[int, float]]] = {}
    places: list[tuple[int, int, int]] = []
    rest = list(readings)
    while rest:
        size = choose.randrange(1, len(rest) + 1)
        batch, rest = rest[:size], rest[size:]
        watermark_ms = max(each[2] for each in batch)
        if shuffles:
            choose.shuffle(batch)  # groups of one shape stand together in a batch
        reorder.add(arrived(batch))
        if choose.random() < 0.3:
            saved = reorder.save()
            late, twice = reorder.late_total, reorder.duplicates_total
            reorder = Reorder(lateness_ms)
            reorder.load(saved)
            reorder.late_total, reorder.duplicates_total = late, twice
        _take(reorder, watermark_ms, sequences, places)
    _take(reorder, NOW * 2, sequences, places)
    assert reorder.held_count == 0
    return sequences, reorder.late_total, sorted(places)


def _take(
    reorder: Reorder,
    watermark_ms: int,
    sequences: dict[int, list[tuple[int, float]]],
    places: list[tuple[int, int, int]],
) -> None:
    for slot in reorder.release(watermark_ms):
        columns = slot.parts[0]
        keys = list(zip(columns.series.tolist(), columns.observed.tolist(), strict=True))
        assert keys == sorted(keys)
        for (series, observed), value in zip(keys, columns.values.tolist(), strict=True):
            sequences.setdefault(series, []).append((observed, value))
            places.append((series, observed, slot.instant))


@pytest.mark.parametrize("count", [150, pytest.param(20_000, marks=pytest.mark.long)], ids=["sample", "many"])
def test_any_cut_gives_the_same_sequences(count: int) -> None:
    first = random.SystemRandom().randrange(1 << 32)
    print(f"seeds from {first}")
    late_total = 0
    for seed in range(first, first + count):
        choose = random.Random(seed)
        lateness_ms = choose.choice((1, 10, 1_000, 60_000))
        readings = stream(choose, lateness_ms)
        expected, late = by_hand(readings, lateness_ms)
        one = run(choose, readings, lateness_ms, shuffles=False)
        other = run(choose, readings, lateness_ms, shuffles=True)
        assert one[0] == expected, f"seed {seed}"
        assert one[1] == late, f"seed {seed}"
        assert other == one, f"seed {seed}"
        late_total += late
    assert late_total > count


@pytest.mark.parametrize("count", [100, pytest.param(5_000, marks=pytest.mark.long)], ids=["sample", "many"])
def test_any_order_within_the_lateness_gives_the_same_sequences(count: int) -> None:
    first = random.SystemRandom().randrange(1 << 32)
    print(f"seeds from {first}")
    for seed in range(first, first + count):
        choose = random.Random(seed)
        lateness_ms = choose.choice((100, 1_000, 60_000))
        sent = [
            (choose.randrange(1, 5), NOW + 10 * at, float(at % 3)) for at in range(choose.randrange(1, 150))
        ]
        one = run(choose, _overtaken(choose, sent, lateness_ms), lateness_ms, shuffles=True)
        other = run(choose, _overtaken(choose, sent, lateness_ms), lateness_ms, shuffles=True)
        assert one[:2] == other[:2], f"seed {seed}"
        assert one[1] == 0
        assert sum(map(len, one[0].values())) == len(sent)


def _overtaken(
    choose: random.Random, sent: Sequence[tuple[int, int, float]], lateness_ms: int
) -> list[Reading]:
    """Each reading arrives later than it was sent, by less than the lateness."""
    late = [(at_ms + choose.randrange(0, lateness_ms), series, at_ms, value) for series, at_ms, value in sent]
    return [(series, at_ms, received, value) for received, series, at_ms, value in sorted(late)]
