"""Reading the audit: filters, pages, chains, heads."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.core.errors import UsageError
from appliance.management.audit import Act, Actor, AuditEntry
from appliance.management.audit_chain import SignedHead
from storage.catalog import Catalog
from storage.catalog.audit import AuditFilter
from tests.audit_kit import NOW_MS, box

BERT = Actor(name="bert", kind="api_token", address="192.0.2.8")


def ids(catalog: Catalog, **wanted: object) -> list[str]:
    page = catalog.list_audit(AuditFilter(**wanted), limit=100)  # type: ignore[arg-type]
    return [entry.object_id for entry in page.entries]


def test_the_newest_come_first_and_pages_join_without_a_seam(tmp_path: Path) -> None:
    with box(tmp_path, 7) as (catalog, _, _):
        whole = catalog.list_audit(limit=100)
        assert [entry.object_id for entry in whole.entries] == [f"d{n}" for n in range(7, 0, -1)]
        assert whole.next_cursor is None
        got: list[AuditEntry] = []
        cursor: str | None = None
        while True:
            page = catalog.list_audit(cursor=cursor, limit=3)
            got += page.entries
            cursor = page.next_cursor
            if cursor is None:
                break
        assert tuple(got) == whole.entries


def test_entries_of_one_moment_are_on_one_page_or_the_next(tmp_path: Path) -> None:
    with box(tmp_path, 0) as (catalog, _, _):
        with catalog.transaction(Act(action="device.create", actor=BERT)):
            for number in range(5):
                catalog.add_device(f"d{number}")
        first = catalog.list_audit(limit=2)
        second = catalog.list_audit(limit=10, cursor=first.next_cursor)
        assert [entry.object_id for entry in (*first.entries, *second.entries)] == [
            "d4",
            "d3",
            "d2",
            "d1",
            "d0",
        ]


def test_filters(tmp_path: Path) -> None:
    with box(tmp_path, 3) as (catalog, _, clock):
        with catalog.transaction(Act(action="device.adopt", actor=BERT)):
            catalog.note("device.adopt", object_kind="device", object_id="d9", outcome="refused")
        clock.advance(1)
        with catalog.transaction(Act(action="session.sign_in", actor=BERT)):
            catalog.note("session.sign_in", object_kind="user", object_id="bert")
            catalog.note("device2.odd", object_kind="user", object_id="odd")
        assert ids(catalog, actor="bert") == ["odd", "bert", "d9"]
        assert ids(catalog, action="device.adopt") == ["d9"]
        assert ids(catalog, action="device") == ["d9", "d3", "d2", "d1"]
        assert ids(catalog, object_kind="device", object_id="d2") == ["d2"]
        assert ids(catalog, outcome="refused") == ["d9"]
        assert ids(catalog, from_ms=NOW_MS + 1000, to_ms=NOW_MS + 3000) == ["d3", "d2"]
        assert ids(catalog, actor="anna", action="session") == []
        assert ids(catalog, trace_id="ab") == []
        assert ids(catalog, actor="' OR 1=1 --") == []


def test_every_filter_uses_an_index(tmp_path: Path) -> None:
    with box(tmp_path, 1) as (catalog, _, _):
        for filter_ in (
            AuditFilter(actor="a"),
            AuditFilter(action="device.adopt"),
            AuditFilter(outcome="refused"),
            AuditFilter(object_kind="device", object_id="d"),
            AuditFilter(trace_id="ab"),
            AuditFilter(from_ms=1),
            AuditFilter(),
        ):
            conditions, parameters = filter_.where()
            where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
            plan = catalog.rows(
                f"EXPLAIN QUERY PLAN SELECT rowid, * FROM audit {where} ORDER BY at_ms DESC, rowid DESC LIMIT 9",
                parameters,
            )
            assert any("USING INDEX audit_by_" in row["detail"] for row in plan), filter_


@pytest.mark.parametrize(
    "cursor", ["", "1", ":", "1:", ":1", "a:1", "1:1:1", "1:²", "-:1", "--1:1", "9" * 50 + ":1"]
)
def test_a_cursor_that_is_none(tmp_path: Path, cursor: str) -> None:
    with box(tmp_path, 1) as (catalog, _, _), pytest.raises(UsageError) as refused:
        catalog.list_audit(cursor=cursor, limit=1)
    assert refused.value.code == "cursor_invalid"


def test_a_cursor_before_all_times_is_the_end(tmp_path: Path) -> None:
    with box(tmp_path, 1) as (catalog, _, _):
        assert catalog.list_audit(cursor="-" + "9" * 30 + ":1", limit=1).entries == ()


def test_a_cursor_beyond_what_sqlite_counts(tmp_path: Path) -> None:
    with box(tmp_path, 1) as (catalog, _, _):
        assert len(catalog.list_audit(cursor="9" * 20 + ":" + "9" * 19, limit=1).entries) == 1


def test_a_chain_in_its_order(tmp_path: Path) -> None:
    with box(tmp_path, 5) as (catalog, keys, _):
        origin = keys.node_id.hex()
        assert catalog.audit_origins() == [origin]
        assert [entry.seq for entry in catalog.audit_chain(origin, after_seq=2, limit=2)] == [3, 4]
        assert [
            entry.seq
            for entry in catalog.audit_chain(
                origin, after_seq=0, limit=9, filter_=AuditFilter(object_kind="device", object_id="d4")
            )
        ] == [4]
        newest = catalog.newest_audit_entry(origin)
        assert newest is not None
        assert newest == catalog.audit_entry(origin, 5)
        assert catalog.audit_entry(origin, 6) is None
        size = catalog.audit_size()
        assert (size.entry_count, size.first_at_ms, size.newest_at_ms) == (5, NOW_MS, NOW_MS + 4_000)


def test_before_the_first_entry(tmp_path: Path) -> None:
    with box(tmp_path, 0) as (catalog, keys, _):
        assert catalog.audit_origins() == []
        assert catalog.newest_audit_entry(keys.node_id.hex()) is None
        size = catalog.audit_size()
        assert (size.entry_count, size.first_at_ms, size.newest_at_ms) == (0, None, None)


def test_one_head_a_day_is_kept(tmp_path: Path) -> None:
    with box(tmp_path, 1) as (catalog, keys, _):
        origin = keys.node_id.hex()

        def head(seq: int, at_ms: int) -> SignedHead:
            return SignedHead(
                origin=origin,
                seq=seq,
                hash="a" * 64,
                signed_at_ms=at_ms,
                key_id="b" * 64,
                signature="c" * 128,
            )

        for made in (head(1, 0), head(2, 86_399_999), head(3, 86_400_000)):
            with catalog.transaction():
                catalog.keep_audit_head(made)
        assert list(catalog.audit_heads(origin)) == [head(2, 86_399_999), head(3, 86_400_000)]
        assert catalog.audit_size().entry_count == 1, "a signature is no subject of the audit"
        with catalog.transaction():
            catalog.forget_audit_heads(origin)
        assert not catalog.audit_heads(origin)
