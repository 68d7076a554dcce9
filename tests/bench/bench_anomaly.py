"""How well anomalies are found: labelled recordings scored by the rule of the Numenta Anomaly Benchmark, beside simple baselines.

One set of parameters, one threshold for all recordings. Two ways to count: each score from the threshold on is a detection, as the benchmark has it;
or each raising of an alarm is, after `--quiet` points below, which is what a person is told of. Baselines are counted in both ways too.
The parameters were chosen on every second recording by name; the other half is reported apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click
import numpy as np

from appliance.anomalies.detectors import AnomalyDetectors
from appliance.management.watched import Released
from tests.bench import harness
from tests.bench.anomaly_baselines import BASELINES
from tests.bench.anomaly_recordings import Recording, made, read
from tests.bench.anomaly_scoring import PROFILES, Outcome, Scorer, Scores
from tests.bench.harness import Goal

GOAL: Final = 60.0
HOMEPORT: Final = "Homeport"
SENSITIVITIES: Final = {"high": 0.99, "normal": 0.999, "low": 0.9999}


@click.command("anomaly")
@click.option("--data", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Recordings.")
@click.option("--quiet", default=50, show_default=True, type=click.IntRange(1, 10_000))
@click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False))
def anomaly(data: Path | None, quiet: int, json_path: Path | None) -> None:
    """Anomalies found in labelled recordings (without --data in some made by code), by three profiles of costs."""
    recordings = read(data) if data else made()
    result = measure(recordings, quiet)
    headers = (
        "detector",
        "counted",
        "recordings",
        *(profile.name for profile in PROFILES),
        "found",
        "missed",
        "false",
    )
    click.echo(harness.table(headers, [_row(line) for line in result["lines"]]))
    click.echo(
        f"{len(recordings)} recordings, {result['windows']} windows; found, missed and false: standard profile."
    )
    score = next(
        line["scores"]["standard"]
        for line in result["lines"]
        if (line["detector"], line["counted"], line["part"]) == (HOMEPORT, "alarms", "all")
    )
    goal = Goal(what="standard profile, alarms, all", value=score, wanted=GOAL, reached=score >= GOAL)
    harness.finish("anomaly", result, [goal], json_path)


def measure(recordings: Sequence[Recording], quiet: int) -> dict[str, Any]:
    """All detectors on all recordings, in both ways of counting; Homeport on the halves and at fixed sensitivities as well."""
    every = list(range(len(recordings)))
    labels = [one.labels for one in recordings]
    scorer = Scorer(labels)
    homeport = homeport_scores(recordings)
    lines = []
    for counted, points in (("alarms", quiet), ("each score", 0)):
        lines.append(_line(HOMEPORT, counted, "all", scorer.best(homeport, points)))
    for part, chosen in (("chosen on", every[::2]), ("others", every[1::2])):
        half = Scorer([labels[n] for n in chosen])
        lines.append(_line(HOMEPORT, "alarms", part, half.best([homeport[n] for n in chosen], quiet)))
    for name, threshold in SENSITIVITIES.items():
        outcomes = [scorer.at(homeport, threshold, profile, quiet) for profile in PROFILES]
        lines.append(_line(HOMEPORT, f"alarms, {name}", "all", outcomes))
    for name, detect in BASELINES.items():
        scores = [detect(one.values, one.labels.probation) for one in recordings]
        for counted, points in (("alarms", quiet), ("each score", 0)):
            lines.append(_line(name, counted, "all", scorer.best(scores, points)))
    return {"lines": lines, "windows": sum(len(one.windows) for one in labels), "quiet": quiet}


def homeport_scores(recordings: Sequence[Recording]) -> list[Scores]:
    """What the detectors of the appliance say, each recording a series, all in one call."""
    lengths = [len(one.values) for one in recordings]
    times = np.concatenate([one.times for one in recordings])
    scores = AnomalyDetectors().see(
        Released(
            series=np.repeat(np.arange(len(lengths), dtype=np.uint32), lengths),
            observed_at_ms=times,
            received_at_ms=times,
            values=np.concatenate([one.values for one in recordings]),
            quality=np.zeros(len(times), np.uint8),
        )
    )
    return np.split(scores.score.astype(np.float64), np.cumsum(lengths)[:-1])


def _line(detector: str, counted: str, part: str, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    standard = outcomes[0]
    return {
        "detector": detector,
        "counted": counted,
        "part": part,
        "scores": {one.profile.name: round(one.score, 1) for one in outcomes},
        "threshold": standard.threshold,
        "found": standard.hits,
        "missed": standard.missed,
        "false": standard.false,
    }


def _row(line: dict[str, Any]) -> tuple[object, ...]:
    return (
        line["detector"],
        line["counted"],
        line["part"],
        *line["scores"].values(),
        line["found"],
        line["missed"],
        line["false"],
    )
