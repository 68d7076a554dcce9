"""Recordings: CSV files of `timestamp,value` with a header line, read row by row."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from device_fw_sim.errors import OptionsError
from device_fw_sim.limits import CSV_LINE_BYTES_MAX
from device_fw_sim.signals import Value


def read(path: Path) -> Iterator[tuple[int, Value]]:
    """Rows of a recording, one at a time.

    Args:
        path: UTF-8, comma separated. A first line that doesn't begin with a time is a header. Times are ISO 8601 or
            "2013-12-02 21:15:00" (UTC when they name no zone), or seconds or milliseconds since 1970; values are numbers,
            true, false or text.
    Yields:
        (UTC ms, value), in the order of the file, also where time goes back (a clock that was put back, as real
        recordings have it every autumn).
    Raises:
        OptionsError: The file can't be read, or a line is no row.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            yield from _rows(file, path)
    except OSError as error:
        raise OptionsError(f"{path} can't be read: {error.strerror}.", hint="Check the path.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise OptionsError(
            f"{path} is no CSV file in UTF-8: {error}.", hint="Export it as UTF-8 CSV."
        ) from error


def check(path: Path) -> int:
    """Read a whole recording, so that a bad line is known before anything is played.

    Returns:
        Rows in it.
    Raises:
        OptionsError: as `read`.
    """
    return sum(1 for _ in read(path))


def _rows(file: Iterator[str], path: Path) -> Iterator[tuple[int, Value]]:
    for number, fields in enumerate(csv.reader(file), start=1):
        if not fields:
            continue
        if sum(map(len, fields)) > CSV_LINE_BYTES_MAX:
            raise _bad(path, number, "is longer than 4 KiB")
        if len(fields) < 2:
            raise _bad(path, number, "has no value")
        try:
            at_ms = parse_time(fields[0])
        except ValueError:
            if number == 1:
                continue
            raise _bad(path, number, f"begins with {fields[0]!r}, which is no time") from None
        yield at_ms, parse_value(fields[1])


def parse_time(text: str) -> int:
    """UTC ms from a time in any of the forms of `read`.

    Raises:
        ValueError: It is none of them.
    """
    text = text.strip()
    try:
        number = float(text)
    except ValueError:
        at = datetime.fromisoformat(text)
        return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1_000)
    # 1e11 s is the year 5138, 1e11 ms is 1973: no recording of a machine is ambiguous.
    return round(number if abs(number) >= 1e11 else number * 1_000)


def parse_value(text: str) -> Value:
    """A number, a boolean, or the text itself. NaN and infinities stay text: JSON has none."""
    stripped = text.strip()
    if stripped.lower() in ("true", "false"):
        return stripped.lower() == "true"
    try:
        number = float(stripped)
    except ValueError:
        return text
    return number if abs(number) != float("inf") and number == number else text


def _bad(path: Path, number: int, what: str) -> OptionsError:
    return OptionsError(f"Line {number} of {path} {what}.", hint="Each line is timestamp,value.")
