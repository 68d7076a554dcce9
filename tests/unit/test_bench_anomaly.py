"""The benchmark of anomalies: its scoring rule by cases computed by hand, its baselines, and the whole on a small corpus made by code."""

from __future__ import annotations

import json
import math
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

from tests.bench.__main__ import main
from tests.bench.anomaly_baselines import BASELINES
from tests.bench.anomaly_recordings import made, read
from tests.bench.anomaly_scoring import PROFILES, Labels, Scorer, Scores, highest_before, worth

STANDARD, LOW_FALSE_POSITIVES, LOW_FALSE_NEGATIVES = PROFILES
PERFECT = 2 / (1 + math.exp(-5)) - 1
"""σ(-1): what the left end of a window is worth."""


def _scores(points: int, **at: float) -> Scores:
    scores = np.zeros(points)
    for name, score in at.items():
        scores[int(name[1:])] = score
    return scores


def _sigma(relative: float) -> float:
    return 2 / (1 + math.exp(5 * relative)) - 1


def test_the_worth_of_a_place_is_the_papers_sigmoid() -> None:
    assert worth(np.array([-1.0, 0.0, 1.0, 1e9])).tolist() == pytest.approx([PERFECT, 0, -PERFECT, -1])


@pytest.mark.parametrize(("points", "probation"), [(100, 15), (5_000, 750), (22_695, 750)])
def test_probation_is_a_share_up_to_a_limit(points: int, probation: int) -> None:
    assert Labels(points=points, windows=()).probation == probation


def test_a_perfect_detector_has_100_and_a_silent_one_0() -> None:
    scorer = Scorer([Labels(points=200, windows=((100, 110), (150, 160)))])
    for outcome in scorer.best([_scores(200, p100=1, p150=1)]):
        assert outcome.score == pytest.approx(100)
        assert (outcome.hits, outcome.missed, outcome.false) == (2, 0, 0)
    for outcome in scorer.best([np.full(200, -np.inf)]):
        assert (outcome.score, outcome.hits, outcome.missed) == (0, 0, 2)
        assert outcome.threshold == math.inf


def test_only_the_earliest_detection_of_a_window_earns_by_its_place() -> None:
    """A window of 100 to 110; detections at 105 (half of it is left) and 108."""
    scorer = Scorer([Labels(points=200, windows=((100, 110),))])
    outcome = scorer.at([_scores(200, p105=1, p108=1)], 1.0, STANDARD)
    assert outcome.score == pytest.approx(100 * (_sigma(-0.5) + 1) / (PERFECT + 1))
    assert (outcome.hits, outcome.false) == (1, 0)


def test_a_detection_behind_a_window_costs_by_its_distance() -> None:
    """Ten points behind a window of ten: σ(1); forty behind: all; before the first: all."""
    scorer = Scorer([Labels(points=300, windows=((100, 110),))])
    for at, cost in ((120, _sigma(1.0)), (150, -1.0), (60, -1.0)):
        for profile in PROFILES:
            found = scorer.at([_scores(300, **{f"p{at}": 1})], 1.0, profile)
            silent, perfect = -profile.miss, profile.hit * PERFECT
            expected = 100 * (profile.false * cost) / (perfect - silent)
            assert found.score == pytest.approx(expected)
            assert (found.hits, found.missed, found.false) == (0, 1, 1)


def test_probation_counts_for_nothing() -> None:
    scorer = Scorer([Labels(points=100, windows=((50, 60),))])
    outcome = scorer.at([_scores(100, p3=1, p14=1, p50=1)], 1.0, STANDARD)
    assert outcome.score == pytest.approx(100)
    assert outcome.false == 0


def test_the_threshold_is_one_for_the_corpus_and_the_best_for_it() -> None:
    """In the second recording a false detection scores higher than the true one of the first: both, or neither."""
    labels = [Labels(points=100, windows=((50, 60),)), Labels(points=100, windows=())]
    scores = [_scores(100, p50=0.5), _scores(100, p80=0.9)]
    standard, _, low_negatives = Scorer(labels).best(scores)
    assert standard.threshold == 0.5
    assert (standard.hits, standard.false) == (1, 1)
    assert standard.score == pytest.approx(100 * (PERFECT + 1 - 0.11) / (PERFECT + 1))
    assert low_negatives.score == pytest.approx(100 * (PERFECT + 2 - 0.11) / (PERFECT + 2))


def test_a_profile_may_prefer_silence() -> None:
    labels = [Labels(points=400, windows=((100, 110),))]
    scores = np.zeros(400)
    scores[200:240] = 1
    scores[109] = 1
    outcomes = Scorer(labels).best([scores])
    assert [one.score for one in outcomes] == [0, 0, 0]


def test_alarms_are_raised_after_quiet_points_only() -> None:
    scores = np.array([0, 5, 5, 0, 5, 0, 0, 5, 9.0])
    assert highest_before(scores, 2).tolist() == [-np.inf, 0, 5, 5, 5, 5, 5, 0, 5]
    labels = [Labels(points=9, windows=())]
    found = Scorer(labels)
    assert found.at([scores], 5.0, STANDARD).false == 5
    assert found.at([scores], 5.0, STANDARD, quiet_points=2).false == 2
    assert found.at([scores], 6.0, STANDARD, quiet_points=2).false == 1


def test_every_score_is_tried_by_brute_force() -> None:
    generator = np.random.default_rng(4)
    labels = [Labels(points=300, windows=((60, 90), (200, 220))), Labels(points=200, windows=((100, 120),))]
    scores = [generator.random(300).round(2), generator.random(200).round(2)]
    scorer = Scorer(labels)
    for quiet_points in (0, 7):
        for profile in PROFILES:
            tried = [
                scorer.at(scores, level, profile, quiet_points).score
                for level in np.arange(0, 1.01, 0.01).round(2)
            ]
            best = scorer.best(scores, quiet_points, (profile,))[0]
            assert best.score == pytest.approx(max(*tried, 0.0))


@pytest.mark.parametrize("name", BASELINES)
def test_baselines_score_a_spike_higher_than_all_before(name: str) -> None:
    spike = next(one for one in made() if one.name == "spike.csv")
    scores = BASELINES[name](spike.values, spike.labels.probation)
    assert len(scores) == len(spike.values)
    assert scores[800] > scores[200:800].max()


@pytest.mark.parametrize("layout", ["windows.json", "labels/combined_windows.json"])
def test_recordings_are_read_from_a_folder(tmp_path: Path, layout: str) -> None:
    data = tmp_path if layout == "windows.json" else tmp_path / "data"
    (data / "real").mkdir(parents=True)
    (tmp_path / layout).parent.mkdir(exist_ok=True)
    lines = [f"2026-01-01 00:{minute:02}:00,{minute}.5" for minute in range(30)]
    (data / "real/a.csv").write_text("timestamp,value\n" + "\n".join(lines) + "\n")
    windows = [["2026-01-01 00:10:00.000000", "2026-01-01 00:12:30.000000"], ["2027-01-01", "2027-01-02"]]
    (tmp_path / layout).write_text(json.dumps({"real/a.csv": windows, "real/missing.csv": []}))
    (recording,) = read(tmp_path)
    assert recording.name == "real/a.csv"
    assert recording.labels == Labels(points=30, windows=((10, 12),))
    assert recording.values[:2].tolist() == [0.5, 1.5]
    assert np.diff(recording.times).tolist() == [60_000] * 29


def test_a_folder_without_recordings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(click.UsageError, match=r"no windows\.json"):
        read(tmp_path)


def test_the_benchmark_runs_on_what_code_makes(tmp_path: Path) -> None:
    """Each of its anomalies is found, by alarms and without a false one."""
    report = tmp_path / "report.json"
    done = CliRunner().invoke(main, ["anomaly", "--json", str(report)])
    assert done.exit_code == 0, done.output
    assert "windowed Gaussian" in done.output
    lines = json.loads(report.read_text())["lines"]
    (homeport,) = [
        one
        for one in lines
        if (one["detector"], one["counted"], one["part"]) == ("Homeport", "alarms", "all")
    ]
    assert homeport["scores"]["standard"] >= 90
    assert (homeport["found"], homeport["missed"], homeport["false"]) == (3, 0, 0)
