"""Lists of devices as CSV: bytes in, rows and problems out; and rows as lines. Pure.

The dialect is RFC 4180 with what spreadsheets make of it: a byte order mark, lines that end in LF, CR or both, “,” or “;” between
values (the header says which). One line is one row: no value may hold a line break, so a quote that is never closed spoils its
own line and no other.

Guarantees: any way of cutting the same bytes gives the same rows; any bytes give rows and problems, or UsageError for a
header that can't be used; what is held back is at most one line, and a line of more than DEVICE_IMPORT_LINE_BYTES_MAX is not kept.

Must not know: which devices there are, what their values may be.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from appliance.core.errors import UsageError
from appliance.core.limits import DEVICE_IMPORT_LINE_BYTES_MAX

COLUMNS: Final = ("device_id", "name", "kind", "access", "role", "tags", "groups", "serial")
"""What can be said of a device, in the order of an export."""
TOKEN_COLUMN: Final = "token"  # noqa: S105
IGNORED_COLUMNS: Final = ("state", "first_contact_at_ms", "created_at_ms", "replaced_at_ms")
"""In an export for those who read it; nothing can be said with them."""
LIST_SEPARATOR: Final = "|"
MEDIA_TYPE: Final = "text/csv"

_LINE_END: Final = re.compile(rb"\r\n|\r|\n")
_ITEM: Final = re.compile(r"(?:[^\\|]|\\.?)+", re.DOTALL)
_FORMULA_STARTS: Final = "=+-@\t\r'"
"""A cell that begins so is run by spreadsheets, or is our own mark for one that would be."""
_SEPARATOR_HINT: Final = re.compile(r"sep=[,;]", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvRow:
    """A line with its values by column, without the space around them; `line` counts from 1."""

    line: int
    values: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvProblem:
    """A line that is no row, and why."""

    line: int
    reason: str
    hint: str
    code: str


class DeviceCsvReader:
    """Reads one list. See the module's docstring."""

    def __init__(self) -> None:
        self._held = b""
        self._is_overlong = False
        self._line = 0
        self._delimiter = ","
        self._header: tuple[str, ...] = ()

    @property
    def header(self) -> tuple[str, ...]:
        """The columns, once they were read."""
        return self._header

    def receive_bytes(self, data: bytes) -> list[CsvRow | CsvProblem]:
        """The rows that these bytes complete.

        Raises:
            UsageError: `csv_encoding`, `csv_column_unknown`, `csv_column_missing`, `csv_column_twice`.
        """
        buffer = self._held + data
        found: list[CsvRow | CsvProblem] = []
        begin = 0
        for end in _LINE_END.finditer(buffer):
            if end.group() == b"\r" and end.end() == len(buffer):
                break  # Half of a CR LF, perhaps.
            self._take(buffer[begin : end.start()], found)
            begin = end.end()
        self._held = buffer[begin:]
        if len(self._held.removesuffix(b"\r")) > DEVICE_IMPORT_LINE_BYTES_MAX:
            self._is_overlong = True
            # What may be half of a line's end is kept, and all else of a line that is refused anyway isn't.
            self._held = self._held[-1:] if self._held.endswith(b"\r") else b""
        return found

    def receive_eof(self) -> list[CsvRow | CsvProblem]:
        """The last row, if its line had no end.

        Raises:
            UsageError: as receive_bytes; `csv_header_missing`: there is no line at all.
        """
        found: list[CsvRow | CsvProblem] = []
        if self._held or self._is_overlong:
            self._take(self._held.removesuffix(b"\r"), found)
            self._held = b""
        if not self._header:
            raise UsageError(
                "The list has no header.",
                hint=f"Begin it with a line such as {','.join(COLUMNS)}.",
                code="csv_header_missing",
            )
        return found

    def _take(self, raw: bytes, found: list[CsvRow | CsvProblem]) -> None:
        self._line += 1
        is_overlong = self._is_overlong or len(raw) > DEVICE_IMPORT_LINE_BYTES_MAX
        self._is_overlong = False
        if is_overlong:
            self._refuse(
                found,
                f"The line has more than {DEVICE_IMPORT_LINE_BYTES_MAX} bytes.",
                "A device needs far fewer; look for a missing line break.",
                "csv_line_too_long",
            )
            return
        if self._line == 1:
            if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise UsageError(
                    "The list is UTF-16.",
                    hint="Save it as “CSV UTF-8” and import that.",
                    code="csv_encoding",
                )
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError:
            self._refuse(
                found, "The line is not UTF-8.", "Save the list as “CSV UTF-8”.", "csv_line_encoding"
            )
            return
        if not text.strip(" \t,;"):
            return  # A line of nothing, which spreadsheets like to add.
        if not self._header:
            if not _SEPARATOR_HINT.fullmatch(text):
                self._take_header(text)
            return
        self._take_row(text, found)

    def _take_header(self, text: str) -> None:
        self._delimiter = ";" if text.count(";") > text.count(",") else ","
        known = (*COLUMNS, TOKEN_COLUMN, *IGNORED_COLUMNS)
        header = [name.strip().strip('"').strip().lower() for name in text.split(self._delimiter)]
        while header and not header[-1]:
            header.pop()
        for name in header:
            if name not in known:
                raise UsageError(
                    f"The list has a column “{name[:80]}” in line {self._line}, which nothing here is called.",
                    hint=f"The header names some of: {', '.join(known)}.",
                    code="csv_column_unknown",
                )
        if len(set(header)) < len(header):
            raise UsageError(
                "The list's header names a column twice.", hint="Take one out.", code="csv_column_twice"
            )
        if "device_id" not in header:
            raise UsageError(
                "The list has no column device_id.",
                hint="Add it: it is what a device is known by.",
                code="csv_column_missing",
            )
        self._header = tuple(header)

    def _take_row(self, text: str, found: list[CsvRow | CsvProblem]) -> None:
        values = text.split(self._delimiter)
        if '"' in text:
            try:
                (values,) = csv.reader([text], delimiter=self._delimiter, strict=True)
            except csv.Error:
                self._refuse(
                    found,
                    "A quote in the line is not closed, or something follows one that is.",
                    "Put a value into quotes as a whole, double those within it, and leave line breaks out.",
                    "csv_quotes",
                )
                return
        columns = len(self._header)
        if len(values) < columns or any(value.strip() for value in values[columns:]):
            self._refuse(
                found,
                f"The line has {len(values)} values, and the header {columns} columns.",
                "Give each column a value, empty where there is none, and quote values that hold the separator.",
                "csv_value_count",
            )
            return
        found.append(
            CsvRow(
                line=self._line,
                values={
                    name: _unguarded(value.strip())
                    for name, value in zip(self._header, values, strict=False)
                    if name not in IGNORED_COLUMNS
                },
            )
        )

    def _refuse(self, found: list[CsvRow | CsvProblem], reason: str, hint: str, code: str) -> None:
        found.append(CsvProblem(line=self._line, reason=reason, hint=hint, code=code))


def split_list(text: str) -> list[str]:
    r"""The items of a cell that holds several, separated by “|”; `\|` is the character itself, `\\` a backslash."""
    return [re.sub(r"\\(.)", r"\1", item, flags=re.DOTALL).strip() for item in _ITEM.findall(text)]


def join_list(items: Iterable[str]) -> str:
    """A cell that `split_list` takes apart again."""
    return LIST_SEPARATOR.join(item.replace("\\", "\\\\").replace("|", "\\|") for item in items)


def csv_line(values: Sequence[str]) -> str:
    """One line of an export, with its end. No value of it is a formula to a spreadsheet: strangers choose what waiting devices are called."""
    return ",".join(_quoted(_guarded(value)) for value in values) + "\r\n"


def _guarded(value: str) -> str:
    return f"'{value}" if value.startswith(tuple(_FORMULA_STARTS)) else value


def _unguarded(value: str) -> str:
    return value[1:] if value[:1] == "'" and value[1:2] in tuple(_FORMULA_STARTS) else value


def _quoted(value: str) -> str:
    if any(character in value for character in '",;\r\n'):
        return '"' + value.replace('"', '""') + '"'
    return value
