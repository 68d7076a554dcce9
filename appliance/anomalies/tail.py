"""How unlikely a deviation is for its own series: a Pareto tail whose share and weight are learned. Pure.

Most series have tails that no normal distribution has, each its own. So beyond a fixed number of spreads the tail is taken to fall as a
power; how often the series goes beyond (`share`) and how far (`weight`, the mean of the logarithm of the excess, Hill's estimator) are
learned slot by slot from a prior that is worth TAIL_PRIOR_SLOTS. An excess counts at most TAIL_EXCESS_MAX, so that one anomaly doesn't
make the next one usual.
"""

from __future__ import annotations

import numpy as np

from appliance.anomalies.tuning import TAIL_EXCESS_MAX, TAIL_PRIOR_SLOTS, TAIL_SLOTS, TAIL_WEIGHT
from appliance.core.arrays import F32

_LN10 = np.float32(2.302585)
_SHARE_MIN = np.float32(1e-4)


def decades(spreads: F32, share: F32 | np.float32, weight: F32 | np.float32, begins: float) -> F32:
    """-log10 of the probability of a deviation of so many spreads or more; 0 where it is within the body (up to `begins`)."""
    excess = np.log(np.maximum(spreads, np.float32(begins)) / np.float32(begins))
    evidence = (excess / weight - np.log(share)) / _LN10
    return np.where(spreads > begins, evidence, np.float32(0.0)).astype(np.float32, copy=False)


def learn(
    spreads: F32, share: F32, weight: F32, age: F32, begins: float, usual_share: float
) -> tuple[F32, F32]:
    """(share, weight) after one more slot. `age`: slots so far, at most TAIL_SLOTS."""
    slots = np.minimum(age + np.float32(TAIL_PRIOR_SLOTS + 1), np.float32(TAIL_SLOTS))
    beyond = spreads > begins
    share = np.maximum(share + (beyond - share) / slots, _SHARE_MIN)
    excess = np.minimum(
        np.log(np.maximum(spreads, np.float32(begins)) / np.float32(begins)), np.float32(TAIL_EXCESS_MAX)
    )
    seen = np.float32(TAIL_PRIOR_SLOTS * usual_share) + share * np.minimum(age, np.float32(TAIL_SLOTS))
    return share, np.where(beyond, weight + (excess - weight) / seen, weight).astype(np.float32, copy=False)


FIXED_WEIGHT = np.float32(TAIL_WEIGHT)
