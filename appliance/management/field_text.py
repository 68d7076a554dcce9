"""Rules for fields as people write them, one a line: `ENERGY.Power = power_kw * 0.001`, `t = celsius * 0.1 - 40`.

Path, equals sign, metric; a scale and an offset may follow. An empty path is the payload itself. The same text is in the page's
editor, on the command line and in a query string.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from appliance.core.errors import UsageError
from appliance.management.mapping import FieldRule

_NUMBER: Final = r"[0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?"
_RULE: Final = re.compile(
    r"(?P<path>[^=]*?)\s*=\s*(?P<metric>\S(?:.*?\S)??)"
    rf"(?:\s+\*\s*(?P<scale>-?{_NUMBER}))?(?:\s+(?P<sign>[+-])\s*(?P<offset>{_NUMBER}))?"
)
_RECKONING: Final = re.compile(r"\s[*/+-](?:\s|$)|\s\*")
"""A metric with this in it is a scale or an offset mistyped: it would be stored unscaled, without a word."""
LINE_LENGTH_MAX: Final = 600
"""Path and metric have 256 each at most."""


def parse_fields(lines: Iterable[str]) -> tuple[FieldRule, ...]:
    """Read rules; empty lines are passed over.

    Raises:
        UsageError: `mapping_field_invalid`, with the line.
    """
    return tuple(_parse(line.strip()) for line in lines if line.strip())


def _parse(line: str) -> FieldRule:
    found = _RULE.fullmatch(line) if len(line) <= LINE_LENGTH_MAX else None
    if found is None or _RECKONING.search(found["metric"]):
        raise UsageError(
            f"The field “{line[:80]}” can't be read.",
            hint="Write path = metric, and where need be * scale and + offset: ENERGY.Power = power_kw * 0.001",
            code="mapping_field_invalid",
        )
    scale, offset = found["scale"], found["offset"]
    return FieldRule(
        path=found["path"],
        metric=found["metric"],
        scale=1.0 if scale is None else float(scale),
        offset=0.0 if offset is None else float(f"{found['sign']}{offset}"),
    )


def write_fields(fields: Sequence[FieldRule]) -> list[str]:
    """Rules as lines that parse_fields reads back."""
    return [_line(rule) for rule in fields]


def _line(rule: FieldRule) -> str:
    line = f"{rule.path} = {rule.metric}"
    if rule.scale != 1:
        line += f" * {rule.scale!r}"
    if rule.offset:
        line += f" {'-' if rule.offset < 0 else '+'} {abs(rule.offset)!r}"
    return line.strip()
