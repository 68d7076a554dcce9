"""The audit as a file: JSON lines or CSV, sent a batch at a time, with the signed head at its end.

An entry stands in it with its fields as they are hashed (appliance/management/audit.py), so that another program can check
the chain. The last line is the head; a file without it was cut off on the way.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any, Final, Literal

from appliance.management.audit import AuditEntry
from appliance.management.audit_chain import SignedHead
from ui.utc import iso_utc

Format = Literal["jsonl", "csv"]
MEDIA: Final[dict[Format, str]] = {"jsonl": "application/jsonl", "csv": "text/csv"}
COLUMNS: Final = (
    "entry_id",
    "seq",
    "origin",
    "at",
    "at_ms",
    "actor",
    "actor_kind",
    "address",
    "action",
    "object_kind",
    "object_id",
    "outcome",
    "before",
    "after",
    "detail",
    "trace_id",
    "previous_hash",
    "hash",
)
HEAD_ROW: Final = "(head)"
"""Stands as entry_id of CSV's last row."""
_DANGEROUS: Final = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of a formula."""


def harmless(cell: str) -> str:
    """A text that no spreadsheet takes for a formula: with an apostrophe before it where it would."""
    return f"'{cell}" if cell.startswith(_DANGEROUS) else cell


def first_line(format_: Format) -> bytes:
    """What stands before the entries."""
    return _csv_line(COLUMNS) if format_ == "csv" else b""


def lines(format_: Format, entries: Iterable[AuditEntry]) -> bytes:
    """Entries as lines of the file."""
    make: Callable[[AuditEntry], bytes] = _csv_entry if format_ == "csv" else _json_entry
    return b"".join(map(make, entries))


def last_line(
    format_: Format, head: SignedHead | None, *, problem: str, count: int, filtered: dict[str, Any]
) -> bytes:
    """The head of the chain that was exported.

    Args:
        head: None when it could not be signed, and then `problem` says why.
        count: Entries in the file.
        filtered: The filter, empty for everything.
    """
    if format_ == "jsonl":
        return _json(
            {
                "head": asdict(head) if head else None,
                "problem": problem,
                "entry_count": count,
                "filter": filtered,
            }
        )
    row: dict[str, Any] = {
        "entry_id": HEAD_ROW,
        "detail": f"entries {count}; filter {json.dumps(filtered)}; "
        + (f"Ed25519 key {head.key_id} signature {head.signature}" if head else f"not signed: {problem}"),
    }
    if head:
        row |= {
            "seq": head.seq,
            "origin": head.origin,
            "at": iso_utc(head.signed_at_ms),
            "at_ms": head.signed_at_ms,
            "hash": head.hash,
        }
    return _csv_line([row.get(column, "") for column in COLUMNS])


def _json_entry(entry: AuditEntry) -> bytes:
    return _json(asdict(entry))


def _csv_entry(entry: AuditEntry) -> bytes:
    row = {**asdict(entry), "entry_id": entry.entry_id, "at": iso_utc(entry.at_ms)}
    return _csv_line([row[column] for column in COLUMNS])


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _csv_line(cells: Iterable[Any]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(
        [harmless(cell) if isinstance(cell, str) else "" if cell is None else cell for cell in cells]
    )
    return text.getvalue().encode()
