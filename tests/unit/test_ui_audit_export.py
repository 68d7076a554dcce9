"""The file of an export: harmless in a spreadsheet, exact for a program."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict, replace

import pytest

from appliance.management.audit import AuditEntry, hash_of
from appliance.management.audit_chain import SignedHead
from tests.audit_kit import NOW_MS, chain
from ui import audit_export

HEAD = SignedHead(
    origin="ab", seq=2, hash="c" * 64, signed_at_ms=NOW_MS, key_id="d" * 64, signature="e" * 128
)


def rows(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((audit_export.first_line("csv") + data).decode())))


@pytest.mark.parametrize("evil", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_cell_is_a_formula(evil: str) -> None:
    entry = replace(chain(1)[0], object_id=evil, actor=evil, detail=evil, address=evil)
    (row,) = rows(audit_export.lines("csv", [entry]))
    for column in ("object_id", "actor", "detail", "address"):
        assert row[column] == f"'{evil}"


def test_what_is_harmless_stays_as_it_is() -> None:
    assert audit_export.harmless("d-1") == "d-1"
    assert audit_export.harmless("") == ""


def test_quotes_commas_and_lines_come_back() -> None:
    entry = replace(chain(1)[0], detail='a "b",\nc; ö', before=None, after='{"a": 1}')
    (row,) = rows(audit_export.lines("csv", [entry]))
    assert (row["detail"], row["before"], row["after"]) == ('a "b",\nc; ö', "", '{"a": 1}')
    assert row["at"] == "2026-02-25T06:13:20.000Z"
    assert row["entry_id"] == entry.entry_id


def test_json_lines_can_be_checked_by_another_program() -> None:
    entries = chain(2)
    lines = audit_export.lines("jsonl", entries).decode().splitlines()
    assert [AuditEntry(**json.loads(line)) for line in lines] == entries
    assert all(hash_of(AuditEntry(**json.loads(line))) == json.loads(line)["hash"] for line in lines)


def test_the_last_line_is_the_head() -> None:
    last = json.loads(audit_export.last_line("jsonl", HEAD, problem="", count=2, filtered={}))
    assert last == {"head": asdict(HEAD), "problem": "", "entry_count": 2, "filter": {}}
    (row,) = rows(audit_export.last_line("csv", HEAD, problem="", count=2, filtered={"actor": "anna"}))
    assert (row["entry_id"], row["seq"], row["hash"]) == ("(head)", "2", HEAD.hash)
    assert HEAD.signature in row["detail"]
    assert '{"actor": "anna"}' in row["detail"]


def test_a_head_that_is_missing_says_why() -> None:
    last = json.loads(audit_export.last_line("jsonl", None, problem="broken", count=0, filtered={}))
    assert (last["head"], last["problem"]) == (None, "broken")
    (row,) = rows(audit_export.last_line("csv", None, problem="broken", count=0, filtered={}))
    assert row["detail"].endswith("not signed: broken")
