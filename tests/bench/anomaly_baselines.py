"""Detectors to compare with, each as it is in books: none knows the future, all give one score a value. Higher is more unusual."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from appliance.core.arrays import F64

_LEAST: Final = 1e-9
GAUSSIAN_WINDOW: Final = 6_400
GAUSSIAN_STEP: Final = 150
MEDIAN_WINDOW: Final = 288
EWMA_SHARE: Final = 0.2
PERCENTILES: Final = (1.0, 99.0)


def windowed_gaussian(values: F64, probation: int) -> F64:
    """Standard deviations from the mean of the last 6,400 values, both learned every 150: the benchmark's own baseline."""
    scores = np.zeros(len(values))
    mean, deviation = 0.0, np.inf
    for at in range(1, len(values)):
        if at == 1 or at % GAUSSIAN_STEP == 0:
            window = values[max(0, at - GAUSSIAN_WINDOW) : at]
            mean, deviation = float(window.mean()), max(float(window.std()), _LEAST)
        scores[at] = abs(values[at] - mean) / deviation
    return scores


def static_percentile(values: F64, probation: int) -> F64:
    """How far beyond the percentiles of probation, in their distance: limits set once, as by hand."""
    low, high = np.percentile(values[:probation], PERCENTILES)
    return np.asarray(np.maximum(np.maximum(values - high, low - values), 0.0) / max(high - low, _LEAST))


def ewma_chart(values: F64, probation: int) -> F64:
    """A control chart: the exponential mean's distance from the mean of all before, in its standard deviations (Roberts, 1959)."""
    scores = np.zeros(len(values))
    mean, square, late = float(values[0]), 0.0, float(values[0])
    for at in range(1, len(values)):
        late += EWMA_SHARE * (values[at] - late)
        sigma = np.sqrt(max(square / at, 0.0) * EWMA_SHARE / (2 - EWMA_SHARE))
        scores[at] = abs(late - mean) / max(sigma, _LEAST)
        step = values[at] - mean
        mean += step / (at + 1)
        square += step * (values[at] - mean)
    return scores


def shewhart_chart(values: F64, probation: int) -> F64:
    """Standard deviations from the mean of all before."""
    sums, squares = np.cumsum(values), np.cumsum(values**2)
    count = np.arange(1, len(values) + 1)
    mean = sums / count
    sigma = np.sqrt(np.maximum(squares / count - mean**2, 0.0))
    scores = np.zeros(len(values))
    scores[1:] = np.abs(values[1:] - mean[:-1]) / np.maximum(sigma[:-1], _LEAST)
    return scores


def running_median(values: F64, probation: int) -> F64:
    """Median deviations from the median of the last 288 values: what Skyline asks with six of them."""
    scores = np.zeros(len(values))
    for at in range(10, len(values)):
        window = values[max(0, at - MEDIAN_WINDOW) : at]
        median = np.median(window)
        scores[at] = abs(values[at] - median) / max(float(np.median(np.abs(window - median))), _LEAST)
    return scores


BASELINES: Final[dict[str, Callable[[F64, int], F64]]] = {
    "windowed Gaussian": windowed_gaussian,
    "static percentile": static_percentile,
    "EWMA chart": ewma_chart,
    "Shewhart chart": shewhart_chart,
    "running median": running_median,
}
