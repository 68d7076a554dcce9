"""Readings as a file: CSV or JSON lines, made of columns a batch at a time. Pure.

CSV is RFC 4180 in UTF-8 with a header; names and texts that a spreadsheet would take for a formula have an apostrophe before
them, numbers never. JSON is one object per line: a file that was cut off loses its last line and nothing else, and no program has
to hold all of it. What is no number in JSON (NaN, ±∞) is null there and empty in CSV. A file that is not whole says so in its last
line, since HTTP/2 as served here has no way to break off an answer that began.
"""

from __future__ import annotations

import csv
import io
import math
from itertools import repeat
from typing import Any, Final, Literal, Protocol

import msgspec
import numpy as np

from appliance.core.arrays import F64, I64, U8
from appliance.management.readings import Quality, ValueKind
from ui.audit_export import harmless
from ui.utc import iso_utc

Format = Literal["csv", "jsonl", "parquet"]
MEDIA: Final[dict[Format, str]] = {
    "csv": "text/csv",
    "jsonl": "application/jsonl",
    "parquet": "application/vnd.apache.parquet",
}
COLUMNS: Final = ("device_id", "metric", "observed_at", "observed_at_ms", "value", "quality")
BROKEN_OFF_ROW: Final = "(broken off)"
"""Stands as device_id of CSV's last row."""
_QUALITY: Final = {int(quality): quality.name.lower() for quality in Quality}
_Value = float | str | bool | None


class Columns(Protocol):
    """Readings of one metric as columns of the same length (storage.telemetry.portions.ReadingColumns).

    `kind` is a ValueKind for each; `number` counts for numbers and booleans, `text` for texts.
    """

    @property
    def device(self) -> str: ...
    @property
    def metric(self) -> str: ...
    @property
    def at_ms(self) -> I64: ...
    @property
    def kind(self) -> U8: ...
    @property
    def number(self) -> F64: ...
    @property
    def text(self) -> Any: ...
    @property
    def quality(self) -> U8: ...


def first_line(format_: Format) -> bytes:
    """What stands before the readings."""
    return (",".join(COLUMNS) + "\r\n").encode() if format_ == "csv" else b""


def lines(format_: Format, batch: Columns) -> bytes:
    """Readings as lines of the file."""
    return _csv(batch) if format_ == "csv" else _jsonl(batch)


def broken_off(format_: Format, why: str) -> bytes:
    """The last line of a file that is not whole."""
    said = f"The export broke off: {why}"
    if format_ == "jsonl":
        return msgspec.json.encode({"problem": said}) + b"\n"
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow([BROKEN_OFF_ROW, "", "", "", said, ""])
    return text.getvalue().encode()


def _csv(batch: Columns) -> bytes:
    text = io.StringIO()
    at_ms = batch.at_ms.tolist()
    csv.writer(text, lineterminator="\r\n").writerows(
        zip(
            repeat(harmless(batch.device)),
            repeat(harmless(batch.metric)),
            map(iso_utc, at_ms),
            at_ms,
            map(_cell, _values(batch)),
            map(_QUALITY.__getitem__, batch.quality.tolist()),
            strict=False,
        )
    )
    return text.getvalue().encode()


def _cell(value: _Value) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return value if math.isfinite(value) else ""
    return harmless(value) if isinstance(value, str) else value


def _jsonl(batch: Columns) -> bytes:
    at_ms, quality = batch.at_ms.tolist(), batch.quality.tolist()
    return msgspec.json.Encoder().encode_lines(
        [
            {
                "device_id": batch.device,
                "metric": batch.metric,
                "observed_at": iso_utc(at),
                "observed_at_ms": at,
                "value": value,
                "quality": _QUALITY[how],
            }
            for at, value, how in zip(at_ms, _values(batch), quality, strict=True)
        ]
    )


def _values(batch: Columns) -> list[_Value]:
    """The values, each in its own type."""
    values: list[_Value] = batch.number.tolist()
    for at in np.flatnonzero(batch.kind == int(ValueKind.BOOLEAN)).tolist():
        values[at] = values[at] != 0
    texts = batch.text
    for at in np.flatnonzero(batch.kind == int(ValueKind.TEXT)).tolist():
        values[at] = texts[at]
    return values
