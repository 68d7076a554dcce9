"""Nodes of a site with real catalogs, whose changes reach each other without a log between them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from appliance.core.clock import ManualClock
from appliance.management.row_change import Clock, RowChange
from storage.catalog import Catalog
from storage.catalog.conflicts import FieldConflict
from storage.catalog.merging import Applied, Arrived, Followed
from storage.catalog_stream.following import read_record
from storage.catalog_stream.record import encode_change

IGNORED = frozenset({"hlc", "origin"})
"""Of a row: what follows from the clocks of its registers."""


class SiteNode:
    """A node: its catalog, its clock, and how far it has heard of the others.

    Args:
        number: 1..255; its id is made of it.
    """

    def __init__(self, folder: Path, number: int, clock: ManualClock | None = None) -> None:
        self.node_id = f"{number:02x}" * 16
        self.clock = clock or ManualClock()
        self.path = folder / f"catalog-{number}.db"
        self.catalog = Catalog.open(self.path, clock=self.clock, node_id=bytes.fromhex(self.node_id))
        self.told: list[bytes] = []
        self._position = 0

    def payloads(self) -> list[bytes]:
        """All changes that this node ever made, as records."""
        while rows := self.catalog.outbox_after(self._position):
            self.told += [encode_change(row, ends_transaction=True) for row in rows]
            self._position = rows[-1].position
        return self.told

    def hear(self, other: SiteNode, *, count: int | None = None, again: int = 0) -> Applied:
        """Take over what another node has changed since, at most so many records, or the last `again` ones once more."""
        payloads = other.payloads()
        known = self.catalog.find_followed(other.node_id)
        at = max(0, (known.next_seq - 1 if known else 0) - again)
        return self.take(
            other.node_id, payloads[at : None if count is None else at + count], first_seq=at + 1
        )

    def take(self, origin: str, payloads: list[bytes], *, first_seq: int = 1) -> Applied:
        """Take over records of a node."""
        records = [read_record(first_seq + n, payload, origin) for n, payload in enumerate(payloads)]
        stream = Followed(node_id=origin, epoch=1, next_seq=first_seq + len(records), hash=b"")
        return self.catalog.apply_records(stream, records)

    def rows(self, table: str) -> list[dict[str, Any]]:
        """All rows of a table, without the columns that are bookkeeping."""
        key = self.catalog.merged_tables()[table].key
        found = self.catalog.rows(f"SELECT * FROM {table} ORDER BY {key}")
        return [{name: row[name] for name in row.keys() if name not in IGNORED} for row in found]  # noqa: SIM118

    def contents(self) -> dict[str, Any]:
        """All that nodes which heard of the same changes have in common: rows, open conflicts, names that wait."""
        found: dict[str, Any] = {table: self.rows(table) for table in self.catalog.merged_tables()}
        found["conflicts"] = [
            (each.table, each.key, each.register, [(dict(one.values), one.clock) for one in each.candidates])
            for each in sorted(self.catalog.list_conflicts().conflicts, key=lambda each: (each.table, each.key, each.register))
        ]  # fmt: skip
        found["renamed"] = [
            tuple(row)
            for row in self.catalog.rows("SELECT * FROM renamed_values ORDER BY table_name, row_key, field")
        ]
        return found

    def close(self) -> None:
        self.catalog.close()


def converge(*nodes: SiteNode) -> None:
    """Have all nodes hear of everything."""
    for node in nodes:
        for other in nodes:
            if other is not node:
                node.hear(other)


def differences(one: SiteNode, other: SiteNode) -> str:
    """Where two nodes differ, for a failing test's message; "" for nowhere."""
    ours, theirs = one.contents(), other.contents()
    return "\n".join(
        f"{name}:\n  {json.dumps(ours[name], default=str)}\n  {json.dumps(theirs[name], default=str)}"
        for name in ours
        if ours[name] != theirs[name]
    )


def contradict(catalog: Catalog, device_id: str = "d1") -> FieldConflict:
    """A conflict about a device's tags, made here: another node had changed them without knowing of this one's change."""
    other = "0b" * 16
    catalog.add_device(device_id)
    catalog.edit_device(device_id, tags=("here",))
    row = catalog.row("SELECT * FROM devices WHERE device_id = ?", (device_id,))
    assert row is not None
    change = RowChange(
        position=1,
        table="devices",
        key=device_id,
        op="update",
        row={**{name: row[name] for name in row.keys()}, "tags": '["there"]'},  # noqa: SIM118
        changed=("tags",),
        clock=Clock(row["hlc"] + 1_000, other),
    )
    record = Arrived(seq=1, payload=b"", change=change)
    catalog.apply_records(Followed(node_id=other, epoch=1, next_seq=2, hash=b""), [record])
    (conflict,) = catalog.list_conflicts().conflicts
    return conflict


def begin_execution(node: SiteNode, execution_id: str = "e-1", device_id: str = "pump-1") -> None:
    """An open execution of a rollout under way."""
    begin_at(node.catalog, node.node_id, execution_id, device_id)


def begin_at(catalog: Catalog, node_id: str, execution_id: str = "e-1", device_id: str = "pump-1") -> None:
    """The same in a catalog, driven by a node."""
    with catalog.transaction():
        catalog.execute(
            "INSERT OR IGNORE INTO rollouts (rollout_id, name, artifact_id, state, targets, plan, policy, created_by, created_at_ms, "
            "updated_at_ms, home, origin, hlc) VALUES ('r-1', 'r', 'a', 'running', '{}', '{}', '{}', 'ada', 0, 0, ?, ?, ?)",
            (node_id, node_id, catalog.hlc),
        )
        catalog.execute(
            "INSERT INTO executions (execution_id, rollout_id, device_id, wave, number, state, max_attempts, max_rollback_attempts, "
            "to_version, to_digest, state_since_ms, created_at_ms, updated_at_ms, home, origin, hlc) "
            "VALUES (?, 'r-1', ?, 0, 1, 'downloading', 3, 3, '2', ?, 0, 0, 0, ?, ?, ?)",
            (execution_id, device_id, "d" * 64, node_id, node_id, catalog.hlc),
        )
