"""Labelled recordings: read from a folder, or made by code."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
import numpy as np

from appliance.core.arrays import F64, I64
from tests.bench.anomaly_scoring import Labels

_LAYOUTS: Final = (("windows.json", "."), ("labels/combined_windows.json", "data"))
"""Where the windows lie, and the recordings that they name: a folder of one's own, or the public benchmark's repository."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """Values with their times, UTC ms, and what is wrong when."""

    name: str
    times: I64
    values: F64
    labels: Labels


def read(folder: Path) -> list[Recording]:
    """The recordings of a folder, by name.

    `windows.json` names CSV files (`timestamp,value`) and their windows as pairs of timestamps: {"a.csv": [["2014-04-10 07:15:00", "…"]]}.

    Raises:
        click.UsageError: There are none.
    """
    for windows_name, data_name in _LAYOUTS:
        if (folder / windows_name).is_file():
            windows = json.loads((folder / windows_name).read_text())
            named = [(name, folder / data_name / name) for name in sorted(windows)]
            return [_read_one(name, path, windows[name]) for name, path in named if path.is_file()]
    raise click.UsageError(
        f"{folder} has no windows.json; see docs/ANOMALIES.md for where recordings come from."
    )


def _read_one(name: str, path: Path, windows: list[list[str]]) -> Recording:
    with path.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    # Clocks of some recordings go back by an hour once a year; a series never does.
    stamps = _ms([row["timestamp"] for row in rows])
    labelled = []
    for begin, end in windows:
        inside = np.flatnonzero((stamps >= _ms([begin])[0]) & (stamps <= _ms([end])[0]))
        if len(inside):
            labelled.append((int(inside[0]), int(inside[-1])))
    return Recording(
        name=name,
        times=np.maximum.accumulate(stamps),
        values=np.array([float(row["value"]) for row in rows]),
        labels=Labels(points=len(rows), windows=tuple(labelled)),
    )


def _ms(stamps: list[str]) -> I64:
    return np.array(stamps, "datetime64[ms]").astype(np.int64)


def made(seed: int = 1) -> list[Recording]:
    """A small corpus: noise with a spike, with a shift, with a change of noise, and nothing; 1,200 points each, 5 min apart."""
    generator = np.random.default_rng(seed)
    count, at = 1_200, 800
    recordings = []
    for name in ("nothing", "shift", "spike", "wild"):
        values = 20 + generator.standard_normal(count)
        if name == "shift":
            values[at:] += 10
        elif name == "spike":
            values[at] += 60
        elif name == "wild":
            values[at : at + 200] = 20 + 12 * (values[at : at + 200] - 20)
        windows = () if name == "nothing" else ((at - 10, at + 90),)
        recordings.append(
            Recording(
                name=f"{name}.csv",
                times=1_785_715_200_000 + np.arange(count, dtype=np.int64) * 300_000,
                values=values,
                labels=Labels(points=count, windows=windows),
            )
        )
    return recordings
