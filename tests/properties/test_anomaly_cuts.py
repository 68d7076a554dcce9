"""The same readings give the same scores, bit for bit, however they are cut into calls, and across save and load at any point."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.anomalies.detectors import AnomalyDetectors
from appliance.management.watched import Released
from tests.anomaly_kit import START_MS
from tests.sampling import examples

VALUES = st.one_of(
    st.floats(-1e3, 1e3, width=32),
    st.sampled_from([0.0, 1.0, 21.5, 1e6, -1e30, 1e300, float("nan"), float("inf")]),
)


@st.composite
def series(draw: st.DrawFn) -> list[tuple[int, float, int]]:
    """(ms since the last reading, value, quality): readings of one series, some in one slot, some hours apart; many like each other."""
    kind = draw(st.sampled_from(["any", "meter", "switch", "noise"]))
    count = draw(st.integers(0, 120))
    gaps = draw(st.sampled_from([(0, 1, 900), (10_000, 10_000, 20_000), (60_000, 300_000, 3_600_000)]))
    seed = draw(st.integers(0, 2**16))
    generator = np.random.default_rng(seed)
    passed = generator.choice(gaps, count)
    quality = generator.choice([0, 0, 0, 0, 0, 0, 0, 1, 2], count)
    if kind == "any":
        values = draw(st.lists(VALUES, min_size=count, max_size=count))
    elif kind == "meter":
        values = np.cumsum(generator.uniform(0, 9, count)).tolist()
    elif kind == "switch":
        values = generator.integers(0, 2, count).astype(float).tolist()
    else:
        values = generator.normal(20, 1, count).tolist()
    return [(int(ms), float(value), int(q)) for ms, value, q in zip(passed, values, quality, strict=True)]


def released(rows: list[tuple[int, int, float, int]]) -> Released:
    """From (time, series, value, quality) in order of time; of one series in the order they have."""
    ordered = sorted(rows, key=lambda row: (row[1], row[0]))
    times = np.array([row[0] for row in ordered], np.int64)
    return Released(
        series=np.array([row[1] for row in ordered], np.uint32),
        observed_at_ms=times,
        received_at_ms=times,
        values=np.array([row[2] for row in ordered], np.float64),
        quality=np.array([row[3] for row in ordered], np.uint8),
    )


@settings(max_examples=examples(40), deadline=None)
@given(st.lists(series(), min_size=1, max_size=4), st.data())
def test_any_cut_gives_the_same_scores(many: list[list[tuple[int, float, int]]], data: st.DataObject) -> None:
    rows: list[tuple[int, int, float, int]] = []
    for number, one in enumerate(many):
        at_ms = START_MS
        for passed, value, quality in one:
            at_ms += passed
            rows.append((at_ms, number, value, quality))
    rows.sort(key=lambda row: row[0])
    whole = AnomalyDetectors()
    at_once = released(rows)
    expected = whole.see(at_once)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=12)))
    reload_at = data.draw(st.integers(0, len(cuts)))
    detectors = AnomalyDetectors()
    found: dict[int, list[tuple[float, int, str]]] = {number: [] for number in range(len(many))}
    for turn, (begin, end) in enumerate(zip([0, *cuts], [*cuts, len(rows)], strict=True)):
        if turn == reload_at:
            saved = detectors.save()
            detectors = AnomalyDetectors()
            detectors.load(saved)
        part = released(rows[begin:end])
        scores = detectors.see(part)
        for at, number in enumerate(part.series.tolist()):
            found[number].append((float(scores.score[at]), int(scores.kind[at]), scores.explain(at)["text"]))
    together: dict[int, list[tuple[float, int, str]]] = {number: [] for number in range(len(many))}
    for at, number in enumerate(at_once.series.tolist()):
        together[number].append(
            (float(expected.score[at]), int(expected.kind[at]), expected.explain(at)["text"])
        )
    assert found == together
    # Places of profiles are given in the order in which they are wanted, so the bytes may differ; what comes next scores the same.
    later = released(
        [
            (rows[-1][0] + ms, number, 20.0 + ms % 7, 0)
            for number in range(len(many))
            for ms in range(0, 900_000, 60_000)
        ]
        if rows
        else []
    )
    ours, theirs = detectors.see(later), whole.see(later)
    assert ours.score.tolist() == theirs.score.tolist()
    assert [ours.explain(at) for at in range(len(later))] == [theirs.explain(at) for at in range(len(later))]
