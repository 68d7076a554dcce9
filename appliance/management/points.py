"""One message, the general way: envelope, nesting, arrays of points. Slow and complete; shapes.py is the fast way.

Forms (docs/READINGS.md): a plain value; an object of values, nested ones joined by dots, with an optional `ts`;
`{ts, values: {…}}` and `{ts?, seq?, boot_id?, v: {…}, q?}`; an array of any of these objects. An object is an
envelope only if it holds nothing but an envelope's keys, so a stranger's `{"v": {…}, "temp": 5}` loses nothing.
A message is all rows or all dead letter: one bad point refuses its message.

The time of a reading: `ts` in ms UTC. Without it, or when it lies before 2000 or more than a day ahead of us, the
time of arrival counts and the quality is uncertain (a device whose clock isn't set yet still has readings worth
keeping). Ahead of its arrival by more than CLOCK_AHEAD_TOLERANCE_MS the time stands and the quality is uncertain. Both follow from
the message alone, so any order of messages gives the same rows. A `ts` that is no number at all is a refusal: it is a device to
be fixed, not a clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, cast

from appliance.core.limits import (
    BOOT_ID_BYTES_MAX,
    CLOCK_AHEAD_MS_MAX,
    CLOCK_AHEAD_TOLERANCE_MS,
    CLOCK_UNCHECKED_MS_MAX,
    CLOCK_WRONG_BEFORE_MS,
    EPOCH_2000_MS,
    JSON_DEPTH_MAX,
    METRIC_COUNT_PER_MESSAGE_MAX,
    METRIC_NAME_BYTES_MAX,
    POINT_COUNT_PER_MESSAGE_MAX,
    SHAPE_COUNT_MAX,
    TEXT_VALUE_BYTES_MAX,
)
from appliance.management.readings import QUALITY_OF_WORD, Quality, Reason, Refusal, Scalar

ENVELOPE_V_KEYS: Final = frozenset({"ts", "seq", "boot_id", "v", "q"})
ENVELOPE_VALUES_KEYS: Final = frozenset({"ts", "seq", "boot_id", "values", "q"})
SEQ_MAX: Final = 2**63 - 1
ABSURD_MS_MAX: Final = 2**61
_SAID: Final = {
    str: "a text",
    int: "a number",
    float: "a number",
    bool: "true or false",
    list: "an array",
    type(None): "null",
}


@dataclass(slots=True)
class Point:
    """Values of one device at one time.

    Attributes:
        values: Key path → value; "" for a plain value. Never empty, no nulls.
        seq: None when the point said none; then it can't be a duplicate.
        boot_id: None when the point said none; then the device's current boot counts.
        absurd_ms: What it said its time was, when that could not be believed.
    """

    observed_at_ms: int
    quality: Quality
    values: dict[str, Scalar]
    seq: int | None = None
    boot_id: str | None = None
    absurd_ms: int | None = None


class _Refused(Exception):  # noqa: N818 - never leaves this module
    def __init__(self, reason: Reason, detail: str = "") -> None:
        self.refusal = Refusal(reason, detail)


def points_of(document: object, received_at_ms: int) -> tuple[list[Point], int] | Refusal:
    """Read a decoded payload.

    Args:
        document: What the JSON decoder gave.
        received_at_ms: Our time of arrival, UTC ms.
    Returns:
        At least one point and the number of nulls that were skipped; or why there are none.
    """
    nulls = [0]
    try:
        if isinstance(document, list):
            if len(document) > POINT_COUNT_PER_MESSAGE_MAX:
                return Refusal(Reason.TOO_MANY_POINTS, f"{len(document)} points")
            points = [_point(_object(item), received_at_ms, nulls) for item in document]
        elif isinstance(document, dict):
            points = [_point(document, received_at_ms, nulls)]
        elif document is None:
            return Refusal(Reason.NO_VALUES)
        else:
            value = _checked(cast(Scalar, document), "")
            points = [Point(received_at_ms, Quality.UNCERTAIN, {"": value})]
    except _Refused as refused:
        return refused.refusal
    points = [point for point in points if point.values]
    return (points, nulls[0]) if points else Refusal(Reason.NO_VALUES)


def _object(item: object) -> dict[str, object]:
    if not isinstance(item, dict):
        raise _Refused(Reason.BAD_POINT, f"one of them is {_SAID.get(type(item), 'something else')}")
    return item


def _point(fields: Mapping[str, object], received_at_ms: int, nulls: list[int]) -> Point:
    values: object = None
    if fields.keys() <= ENVELOPE_V_KEYS:
        values = fields.get("v")
    elif fields.keys() <= ENVELOPE_VALUES_KEYS:
        values = fields.get("values")
    flat: dict[str, Scalar] = {}
    if not isinstance(values, dict):
        _flatten({k: v for k, v in fields.items() if k != "ts"}, "", 1, flat, nulls)
        return _timed(Point(0, Quality.GOOD, flat), fields.get("ts"), received_at_ms)
    _flatten(values, "", 1, flat, nulls)
    word = fields.get("q")
    if word is not None and (not isinstance(word, str) or word not in QUALITY_OF_WORD):
        raise _Refused(Reason.BAD_QUALITY, repr(word)[:100])
    point = Point(0, Quality.GOOD if word is None else QUALITY_OF_WORD[word], flat)
    point.seq = checked_seq(fields.get("seq"))
    point.boot_id = checked_boot_id(fields.get("boot_id"))
    return _timed(point, fields.get("ts"), received_at_ms)


def _timed(point: Point, ts: object, received_at_ms: int) -> Point:
    if ts is None:
        observed_at_ms = None
    elif isinstance(ts, bool) or not isinstance(ts, int | float):
        raise _Refused(Reason.BAD_TS, repr(ts)[:100])
    else:
        observed_at_ms = believed_ms(ts, received_at_ms)
        if observed_at_ms is None:
            point.absurd_ms = _bounded_ms(ts)
        elif observed_at_ms > received_at_ms + CLOCK_AHEAD_TOLERANCE_MS:
            point.quality = max(point.quality, Quality.UNCERTAIN)
    if observed_at_ms is None:
        point.observed_at_ms = received_at_ms
        point.quality = max(point.quality, Quality.UNCERTAIN)
    else:
        point.observed_at_ms = observed_at_ms
    return point


def believed_ms(ts: float, received_at_ms: int) -> int | None:
    """A device's time as whole ms, or None when it can't be true (before 2000, or later than latest_ms)."""
    return int(ts) if EPOCH_2000_MS <= ts <= latest_ms(received_at_ms) else None


def latest_ms(received_at_ms: int) -> int:
    """Up to which time a device's is believed, UTC ms: a day ahead of us, unless our own clock was known to be wrong when it came."""
    if received_at_ms < CLOCK_WRONG_BEFORE_MS:
        return CLOCK_UNCHECKED_MS_MAX
    return received_at_ms + CLOCK_AHEAD_MS_MAX


def _bounded_ms(ts: float) -> int:
    """Any number at all as ms that fit 64 bits with room to subtract."""
    if -ABSURD_MS_MAX <= ts <= ABSURD_MS_MAX:
        return int(ts)
    return ABSURD_MS_MAX if ts > 0 else -ABSURD_MS_MAX


def checked_seq(seq: object) -> int | None:
    if seq is None:
        return None
    if isinstance(seq, bool) or not isinstance(seq, int) or not 0 <= seq <= SEQ_MAX:
        raise _Refused(Reason.BAD_SEQ, f"{type(seq).__name__}")
    return seq


def checked_boot_id(boot_id: object) -> str | None:
    if boot_id is None:
        return None
    # Bounded before it is written out: a whole number may have thousands of digits.
    if isinstance(boot_id, int) and not isinstance(boot_id, bool) and -SEQ_MAX <= boot_id <= SEQ_MAX * 2:
        return str(boot_id)
    if isinstance(boot_id, str) and 0 < len(boot_id.encode()) <= BOOT_ID_BYTES_MAX:
        return boot_id
    raise _Refused(Reason.BAD_BOOT_ID, f"{type(boot_id).__name__}")


def boot_id_of(fields: Mapping[str, object]) -> str | None:
    """The `boot_id` of a status, or None when it has none that can be used."""
    try:
        return checked_boot_id(fields.get("boot_id"))
    except _Refused:
        return None


def flatten(values: Mapping[str, object]) -> tuple[dict[str, Scalar], int] | Refusal:
    """Bring the values of one point, envelope and time already taken off, to key paths and scalars.

    Returns:
        The values (not empty) and the number of nulls skipped, or why there are none.
    """
    nulls = [0]
    flat: dict[str, Scalar] = {}
    try:
        _flatten(values, "", 1, flat, nulls)
    except _Refused as refused:
        return refused.refusal
    return (flat, nulls[0]) if flat else Refusal(Reason.NO_VALUES)


def _flatten(
    fields: Mapping[str, object], front: str, depth: int, out: dict[str, Scalar], nulls: list[int]
) -> None:
    """Bring nested objects and lists to `a.b` and `a.0`. Bounded by the depth below the point and the metric count."""
    if depth > JSON_DEPTH_MAX:
        raise _Refused(Reason.TOO_DEEP, front[:100])
    for key, value in fields.items():
        name = front + key
        if not key or name not in _good_names:
            _check_name(key, name)
        kind = type(value)
        if kind is float or kind is bool:
            out[name] = cast(Scalar, value)
        elif value is None:
            nulls[0] += 1
        elif isinstance(value, dict):
            _flatten(value, name + ".", depth + 1, out, nulls)
        elif isinstance(value, list):
            if len(value) > METRIC_COUNT_PER_MESSAGE_MAX:
                raise _Refused(Reason.TOO_MANY_METRICS, f"{name[:100]} has {len(value)} elements")
            _flatten({str(i): item for i, item in enumerate(value)}, name + ".", depth + 1, out, nulls)
        else:
            out[name] = _checked(cast(Scalar, value), name)
    if len(out) > METRIC_COUNT_PER_MESSAGE_MAX:
        raise _Refused(Reason.TOO_MANY_METRICS)


_good_names: set[str] = set()
"""Key paths that were checked; bounded by SHAPE_COUNT_MAX, then begun anew."""


def _check_name(key: str, name: str) -> None:
    # Before anything is built under it: a long key over many children would be copied for each of them.
    if not key or not key.isprintable() or len(name) > METRIC_NAME_BYTES_MAX:
        raise _Refused(Reason.BAD_METRIC_NAME, repr(name[:100]))
    if len(_good_names) >= SHAPE_COUNT_MAX:
        _good_names.clear()
    _good_names.add(name)


def _checked(value: Scalar, name: str) -> Scalar:
    if isinstance(value, str):
        if len(value) * 4 > TEXT_VALUE_BYTES_MAX and len(value.encode()) > TEXT_VALUE_BYTES_MAX:
            raise _Refused(Reason.TEXT_TOO_LONG, f"{name[:100]}: {len(value)} characters")
    elif type(value) is int:
        try:
            float(value)
        except OverflowError:
            raise _Refused(Reason.NUMBER_OUT_OF_RANGE, name[:100]) from None
    return value
