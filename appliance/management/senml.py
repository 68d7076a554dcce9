"""SenML packs as the documents that our own envelopes are: one point per time, each with the values of that time.

A record is resolved with the base fields before it, checked, and its value put under the metric that name and device give. What
stays open in the standard is decided here and said in docs/READINGS.md: where the sum and the data go, that units are left out.

Source: RFC 8428.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from math import isfinite
from typing import Any, Final

from appliance.core.limits import METRIC_NAME_BYTES_MAX, POINT_COUNT_PER_MESSAGE_MAX
from appliance.management.readings import Reason, Refusal, Scalar

VERSION_MAX: Final = 10
RELATIVE_S_BELOW: Final = 2**28
"""Times below it are relative to now (§4.5.3)."""
SUM_SUFFIX: Final = ".sum"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9\-:./_]*")
_SEPARATORS: Final = ":/._-"
_LABELS: Final[dict[object, str]] = {
    # Table 4: the labels of the CBOR form.
    -1: "bver", -2: "bn", -3: "bt", -4: "bu", -5: "bv", -6: "bs",
    0: "n", 1: "u", 2: "v", 3: "vs", 4: "vb", 5: "s", 6: "t", 7: "ut", 8: "vd",
}  # fmt: skip
_VALUES: Final = ("v", "vs", "vb", "vd")
_REGULAR: Final = frozenset({"n", "u", "s", "t", "ut", *_VALUES})


class _Refused(Exception):  # noqa: N818 - never leaves this module
    pass


def points_of_pack(pack: object, device: str, received_at_ms: int) -> list[dict[str, Any]] | Refusal:
    """Bring a decoded pack to envelopes.

    Args:
        pack: What the JSON or CBOR decoder gave.
        device: Whose it is: a base name that ends with it is left out of the metrics.
        received_at_ms: What relative times are relative to, UTC ms.
    Returns:
        `{ts?, q, values}` for each time, in order of first appearance; or why there is none.
    """
    if type(pack) is not list:
        return Refusal(Reason.BAD_SENML, "a pack is an array of records")
    if len(pack) > POINT_COUNT_PER_MESSAGE_MAX:
        return Refusal(Reason.TOO_MANY_POINTS, f"{len(pack)} records")
    resolver = _Resolver(device, received_at_ms)
    try:
        for record in pack:
            resolver.take(record)
    except _Refused as refused:
        return Refusal(Reason.BAD_SENML, str(refused)[:200])
    return resolver.points()


class _Resolver:
    """Records in, points out; the base fields are those of the last record that had them."""

    def __init__(self, device: str, received_at_ms: int) -> None:
        self._device = device
        self._received_at_ms = received_at_ms
        self._name = ""
        self._time = 0.0
        self._value = 0.0
        self._sum: float | None = None
        self._at: dict[float, dict[str, Scalar]] = {}

    def take(self, record: object) -> None:
        """One record.

        Raises:
            _Refused: it is none.
        """
        if type(record) is not dict:
            raise _Refused("a record is an object")
        fields: dict[str, Any] = {}
        for key, value in record.items():
            name = _LABELS.get(key, key)
            if type(name) is not str or name.endswith("_"):
                raise _Refused(f"the field {str(key)[:40]!r} is not understood")
            fields[name] = value
        self._take_base(fields)
        if not fields.keys() & _REGULAR:
            return
        metric = self._metric(_text(fields, "n") if "n" in fields else "")
        at = self._at.setdefault(_number(fields, "t", 0.0) + self._time, {})
        present = [key for key in _VALUES if key in fields]
        has_sum = "s" in fields or self._sum is not None
        if len(present) > 1 or not (present or has_sum):
            raise _Refused(f"{metric[:60]} has {len(present)} values")
        if present:
            at[metric] = self._value_of(present[0], fields)
        if has_sum:
            at[metric + SUM_SUFFIX] = _number(fields, "s", 0.0) + (self._sum or 0.0)

    def _take_base(self, fields: dict[str, Any]) -> None:
        if "bver" in fields:
            version = fields["bver"]
            if type(version) is not int or not 0 < version <= VERSION_MAX:
                raise _Refused(f"version {str(version)[:20]}; up to {VERSION_MAX} is understood")
        if "bn" in fields:
            self._name = _text(fields, "bn")
        self._time = _number(fields, "bt", self._time)
        self._value = _number(fields, "bv", self._value)
        if "bs" in fields:
            self._sum = _number(fields, "bs", 0.0)

    def _metric(self, name: str) -> str:
        whole = self._name + name
        if not _NAME.fullmatch(whole) or len(whole) > METRIC_NAME_BYTES_MAX:
            raise _Refused(f"the name {whole[:60]!r} can't be used")
        base = self._name.rstrip(_SEPARATORS)
        front = base.removesuffix(self._device)
        is_device = front != base and (not front or front[-1] in _SEPARATORS)
        return name if name and is_device else whole

    def _value_of(self, key: str, fields: dict[str, Any]) -> Scalar:
        value = fields[key]
        if key == "v":
            return _number(fields, "v", 0.0) + self._value
        if key == "vb":
            if type(value) is not bool:
                raise _Refused("vb must be true or false")
            return value
        if key == "vd" and type(value) is bytes:
            return urlsafe_b64encode(value).rstrip(b"=").decode("ascii")
        return _text(fields, key)

    def points(self) -> list[dict[str, Any]]:
        """All times with their values."""
        found: list[dict[str, Any]] = []
        for time_s, values in self._at.items():
            if time_s == 0:
                found.append({"values": values})
            elif time_s < RELATIVE_S_BELOW:
                at_ms = self._received_at_ms + round(time_s * 1_000)
                found.append({"ts": at_ms, "q": "est", "values": values})
            else:
                found.append({"ts": round(time_s * 1_000), "values": values})
        return found


def _number(fields: dict[str, Any], key: str, default: float) -> float:
    value = fields.get(key, default)
    if type(value) not in (int, float):
        raise _Refused(f"{key} must be a number")
    try:
        number = float(value)
    except OverflowError:
        number = float("inf")
    # Half of the doubles each: a base and what is added to it stay finite.
    if not isfinite(number * 2):
        raise _Refused(f"{key} is out of range")
    return number


def _text(fields: dict[str, Any], key: str) -> str:
    value = fields[key]
    if type(value) is not str:
        raise _Refused(f"{key} must be text")
    return value
