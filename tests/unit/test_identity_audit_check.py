"""Whatever somebody does to the catalog's file, the check finds it and names the entry."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.identity.audit_check import AuditCheck, AuditVerdict
from appliance.identity.audit_heads import read_head_file, sign_newest
from appliance.identity.keys import SiteKeys
from appliance.management.audit import AuditEntry
from appliance.management.audit_chain import remembered_head
from storage.catalog import Catalog
from tests.audit_kit import NOW_MS, box, chain, falsify, rechain

LATER_MS = NOW_MS + 10_000_000


def verdict_of(tmp_path: Path, remembered: str = "") -> AuditVerdict:
    keys = SiteKeys.load_or_create(tmp_path)
    origin = keys.node_id.hex()
    in_file = read_head_file(tmp_path)
    known = [remembered_head(remembered, origin)] if remembered else []
    check = AuditCheck(
        origin=origin, key_id=keys.signer.key_id, known=[*known, *([in_file] if in_file else [])]
    )
    from appliance.core.clock import ManualClock

    catalog = Catalog.open_read_only(tmp_path / "catalog.db", clock=ManualClock(now_ms=NOW_MS))
    try:
        while check.step(catalog):
            pass
    finally:
        catalog.close()
    return check.verdict(LATER_MS)


def make(tmp_path: Path, count: int = 8) -> str:
    """A box whose audit is signed at its fourth entry and at its last; what somebody would have noted of it."""
    with box(tmp_path, 4) as (catalog, keys, clock):

        def sign() -> None:
            sign_newest(catalog, keys.signer, origin=keys.node_id.hex(), data_dir=tmp_path, clock=clock)

        sign()
        clock.advance(86_400_000)
        for number in range(5, count + 1):
            with catalog.transaction():
                catalog.add_device(f"d{number}")
        sign()
        newest = catalog.newest_audit_entry(keys.node_id.hex())
        assert newest is not None
        return f"{newest.seq}:{newest.hash}"


def sql(*statements: str) -> Callable[[sqlite3.Connection], None]:
    def change(connection: sqlite3.Connection) -> None:
        for statement in statements:
            assert connection.execute(statement).rowcount != 0, statement

    return change


def edited(entry: AuditEntry) -> AuditEntry | None:
    return replace(entry, actor="bert") if entry.seq == 3 else entry


def without_third(entry: AuditEntry) -> AuditEntry | None:
    return None if entry.seq == 3 else entry


def edited_late(entry: AuditEntry) -> AuditEntry | None:
    return replace(entry, actor="bert") if entry.seq == 6 else entry


def test_a_whole_audit(tmp_path: Path) -> None:
    noted = make(tmp_path)
    verdict = verdict_of(tmp_path, noted)
    assert verdict.fault is None
    assert verdict.entry_count == 8
    assert verdict.chains[0].signed_seq == 8
    assert f"{verdict.chains[0].newest_seq}:{verdict.chains[0].newest_hash}" == noted


@pytest.mark.parametrize(
    ("change", "code", "seq"),
    [
        (sql("UPDATE audit SET actor = 'bert' WHERE seq = 3"), "entry_changed", 3),
        (sql("UPDATE audit SET after = replace(after, 'd3', 'd9') WHERE seq = 3"), "entry_changed", 3),
        (sql("UPDATE audit SET outcome = 'refused' WHERE seq = 3"), "entry_changed", 3),
        (
            sql("UPDATE audit SET hash = replace(hash, substr(hash, 1, 1), 'x') WHERE seq = 3"),
            "entry_changed",
            3,
        ),
        (sql("DELETE FROM audit WHERE seq = 3"), "entry_missing", 3),
        (sql("DELETE FROM audit WHERE seq = 1"), "entry_missing", 1),
        (
            sql(
                "UPDATE audit SET seq = 99 WHERE seq = 3",
                "UPDATE audit SET seq = 3 WHERE seq = 4",
                "UPDATE audit SET seq = 4 WHERE seq = 99",
            ),
            "entry_changed",
            3,
        ),
        (sql("DELETE FROM audit WHERE seq > 6"), "newest_missing", 7),
        (sql("DELETE FROM audit WHERE seq > 6", "DELETE FROM audit_heads"), "newest_missing", 7),
        (sql("DELETE FROM audit"), "newest_missing", 1),
        (lambda c: rechain(c, edited), "history_rewritten", 4),
        (lambda c: rechain(c, edited_late), "history_rewritten", 8),
        (lambda c: (rechain(c, edited), c.execute("DELETE FROM audit_heads")), "history_rewritten", 8),
        (lambda c: rechain(c, without_third), "history_rewritten", 4),
        (
            lambda c: (
                rechain(c, edited),
                c.execute(
                    "UPDATE audit_heads SET hash = (SELECT hash FROM audit a WHERE a.seq = audit_heads.seq)"
                ),
            ),
            "signature_wrong",
            4,
        ),
    ],
    ids=[
        "an actor is changed",
        "a value is changed",
        "an outcome is changed",
        "a hash is changed",
        "an entry is removed",
        "the first is removed",
        "two are exchanged",
        "the tail is cut",
        "the tail is cut, with the heads in the catalog",
        "everything is removed",
        "written anew, with right hashes",
        "written anew behind an old signature",
        "written anew, without the heads in the catalog",
        "written anew without an entry",
        "written anew, with heads that were not signed by the key",
    ],
)
def test_tampering_is_found_and_named(
    tmp_path: Path, change: Callable[[sqlite3.Connection], object], code: str, seq: int
) -> None:
    make(tmp_path)
    falsify(tmp_path / "catalog.db", change)
    fault = verdict_of(tmp_path).fault
    assert fault is not None
    assert (fault.code, fault.seq) == (code, seq)
    assert fault.message


@pytest.mark.parametrize("change", [edited, without_third], ids=["changed", "removed"])
def test_whoever_removes_every_signature_too_is_found_by_what_was_noted(
    tmp_path: Path, change: Callable[[AuditEntry], AuditEntry | None]
) -> None:
    """And without a note: nothing is signed, which it should be."""
    noted = make(tmp_path)
    falsify(tmp_path / "catalog.db", lambda c: (rechain(c, change), c.execute("DELETE FROM audit_heads")))
    (tmp_path / "identity" / "audit.head").unlink()
    fault = verdict_of(tmp_path, noted).fault
    assert fault is not None
    assert fault.code in ("history_rewritten", "newest_missing")
    unnoted = verdict_of(tmp_path).fault
    assert unnoted is not None
    assert unnoted.code == "not_signed"


def test_entries_of_another_node_are_checked_by_their_hashes(tmp_path: Path) -> None:
    make(tmp_path)
    keys = SiteKeys.load_or_create(tmp_path)
    check = AuditCheck(origin=keys.node_id.hex(), key_id=keys.signer.key_id)
    other = chain(3)
    whole = check.of_entries(other, LATER_MS)
    assert (whole.fault, whole.entry_count) == (None, 3)
    bad = check.of_entries([other[0], other[2]], LATER_MS).fault
    assert bad is not None
    assert bad.entry_id == f"{other[0].origin}-2"


def test_several_batches_and_a_chain_that_grows_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from appliance.identity import audit_check

    monkeypatch.setattr(audit_check, "AUDIT_BATCH_COUNT", 2)
    with box(tmp_path, 5) as (catalog, keys, _):
        check = AuditCheck(origin=keys.node_id.hex(), key_id=keys.signer.key_id)
        steps = 0
        while check.step(catalog):
            steps += 1
            with catalog.transaction():
                catalog.add_device(f"later-{steps}")
        assert check.verdict(NOW_MS).entry_count == 5
