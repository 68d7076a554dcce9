"""Short names for typed arrays, and the quickest ways from Python's lists to them.

Columns of a batch are numpy arrays: what is done to all readings of a batch is one call, and the memory of its numbers is a
tenth of that of objects. numpy's arrays export the buffers that Arrow and DuckDB read.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import pack

import numpy as np
from numpy.typing import NDArray

I8 = NDArray[np.int8]
U8 = NDArray[np.uint8]
U32 = NDArray[np.uint32]
I64 = NDArray[np.int64]
F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Mask = NDArray[np.bool_]


def i64(numbers: Sequence[int]) -> I64:
    """Whole numbers within 64 bits; half of the time that np.array takes.

    Raises:
        struct.error: one doesn't fit, or isn't whole.
    """
    return np.frombuffer(pack(f"{len(numbers)}q", *numbers), np.int64)


def f64(numbers: Sequence[float]) -> F64:
    """Floats and booleans, or whole numbers within the doubles; half of the time that np.array takes.

    Raises:
        struct.error: one doesn't fit.
    """
    return np.frombuffer(pack(f"{len(numbers)}d", *numbers), np.float64)
