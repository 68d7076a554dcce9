"""Chains of entries for tests, and ways to falsify them as somebody with the file at hand would."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from appliance.core.clock import ManualClock
from appliance.identity import SiteKeys
from appliance.management.audit import FIRST_PREVIOUS_HASH, Act, Actor, AuditEntry, hash_of
from storage.catalog import Catalog
from storage.catalog.audit import entry_of

NOW_MS = 1_772_000_000_000
ORIGIN = "ab" * 16
ANNA = Actor(name="anna", kind="user", address="192.0.2.7")


def entry(
    seq: int, previous_hash: str, *, origin: str = ORIGIN, at_ms: int = NOW_MS, detail: str = ""
) -> AuditEntry:
    """One entry, hashed."""
    made = AuditEntry(
        seq=seq,
        origin=origin,
        at_ms=at_ms,
        actor="anna",
        actor_kind="user",
        address="192.0.2.7",
        action="device.adopt",
        object_kind="device",
        object_id=f"d{seq}",
        outcome="done",
        before=None,
        after='{"state": "active"}',
        detail=detail,
        trace_id="",
        previous_hash=previous_hash,
    )
    return replace(made, hash=hash_of(made))


def chain(count: int, *, origin: str = ORIGIN, at_ms: int = NOW_MS, detail: str = "") -> list[AuditEntry]:
    """A whole chain."""
    entries: list[AuditEntry] = []
    for seq in range(1, count + 1):
        previous = entries[-1].hash if entries else FIRST_PREVIOUS_HASH
        entries.append(entry(seq, previous, origin=origin, at_ms=at_ms, detail=detail))
    return entries


@contextmanager
def box(tmp_path: Path, count: int = 5) -> Iterator[tuple[Catalog, SiteKeys, ManualClock]]:
    """A catalog with so many entries by anna, and the keys of its node."""
    keys = SiteKeys.load_or_create(tmp_path)
    clock = ManualClock(now_ms=NOW_MS)
    catalog = Catalog.open(tmp_path / "catalog.db", clock=clock, node_id=keys.node_id)
    try:
        for number in range(1, count + 1):
            with catalog.transaction(Act(action="device.create", actor=ANNA)):
                catalog.add_device(f"d{number}")
            clock.advance(1_000)
        yield catalog, keys, clock
    finally:
        catalog.close()


def falsify(path: Path, change: Callable[[sqlite3.Connection], object]) -> None:
    """Change the file as somebody would who has it: the triggers that keep entries from changing don't stop them."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        for (name,) in connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name IN ('audit')"
        ).fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        change(connection)
    finally:
        connection.close()


def rechain(connection: sqlite3.Connection, change: Callable[[AuditEntry], AuditEntry | None]) -> int:
    """Write the whole chain anew, with right hashes: what `change` makes of each entry, None for one that is to go; returns how many are left."""
    connection.row_factory = sqlite3.Row
    rows = connection.execute("SELECT * FROM audit ORDER BY seq").fetchall()
    connection.execute("DELETE FROM audit")
    seq, previous = 0, FIRST_PREVIOUS_HASH
    for row in rows:
        changed = change(entry_of(row))
        if changed is None:
            continue
        seq += 1
        changed = replace(changed, seq=seq, previous_hash=previous)
        changed = replace(changed, hash=hash_of(changed))
        previous = changed.hash
        values = {
            **dict(row),
            **{key: getattr(changed, key) for key in set(row.keys()) if hasattr(changed, key)},
        }
        values["entry_id"] = changed.entry_id
        names = ", ".join(values)
        marks = ", ".join("?" * len(values))
        connection.execute(f"INSERT INTO audit ({names}) VALUES ({marks})", list(values.values()))
    return seq
