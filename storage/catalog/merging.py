"""Takes over changes that other nodes of the site made: in one transaction their rows, their clocks, conflicts, and how far it has come.

Nothing of it is captured (it is not ours to send on) or audited here (its node did that, and its entries come as rows). Each change
is applied by itself: one that contradicts a constraint, or is of a table or column that a later release has, is set aside with its
bytes and tried again after an upgrade. What a record changes is the same whatever was applied before it (appliance/management/merge.py), so a
record that comes twice changes nothing.

Subscribers of the catalog hear of each row as of one that was changed here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from appliance.core.errors import Conflict, LimitExceeded
from appliance.core.limits_catalog_stream import CATALOG_RECORD_KEY_LENGTH_MAX, SET_ASIDE_COUNT_MAX
from appliance.management import hlc
from appliance.management.merge import RowState, merge
from appliance.management.merge_rules import STAMPS, rules_of
from appliance.management.row_change import RowChange, Value
from storage.catalog.capture import replicated_tables
from storage.catalog.conflicts import ConflictTable
from storage.catalog.merge_state import MergedTable
from storage.catalog.people import PeopleTable
from storage.catalog.renaming import RenamingTable

Why = Literal["newer", "constraint", "damaged"]
_NEVER_REPLACED: Final = frozenset({"audit"})
"""Its triggers refuse it: of two entries of one number (a node that was restored and had gone on elsewhere) the first to come stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """A record of another node's stream.

    Attributes:
        change: What it says; None where it can't be understood, `refused` says why then.
        is_newer: A later release will understand it.
    """

    seq: int
    payload: bytes
    change: RowChange | None
    refused: str = ""
    is_newer: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """How far a node's stream was taken over.

    Attributes:
        next_seq: Everything before it was. hash: Of the block that ends before it, b"" within a block.
        ahead_ms: By how much its clock was ahead of ours, of the last change that was too far ahead to be followed; 0 for none.
        hlc: The greatest clock of its that was followed; what is written here is later, also after a restart (database.py).
    """

    node_id: str
    epoch: int
    next_seq: int
    hash: bytes
    applied_total: int = 0
    ahead_ms: int = 0
    ahead_at_ms: int | None = None
    hlc: int = 0
    applied_at_ms: int = 0


@dataclass(slots=True, kw_only=True)
class Applied:
    """What came of a batch.

    Attributes:
        changed: Rows that are different now, by table.
        ignored: Records that changed nothing: known already, older, or of a row that is gone.
        set_aside: Records that could not be applied, or not wholly.
    """

    changed: dict[str, set[str]] = field(default_factory=dict)
    records: int = 0
    ignored: int = 0
    set_aside: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside:
    """A record that waits for an upgrade."""

    node_id: str
    epoch: int
    seq: int
    table: str
    key: str
    why: Why
    detail: str
    payload: bytes
    at_ms: int


class MergingTable(RenamingTable, ConflictTable, PeopleTable):
    """Methods of the catalog that take over what other nodes changed."""

    _merged_tables: tuple[int, Mapping[str, MergedTable]] | None = None
    """As of SQLite's own number of the schema."""

    def apply_records(self, stream: Followed, records: Sequence[Arrived]) -> Applied:
        """Apply records of a node, in their order, and note how far its stream was followed.

        Args:
            stream: As it is once they are applied: epoch, next_seq, hash.
        Raises:
            LimitExceeded: `set_aside_full`: nothing was applied.
        """
        applied = Applied()
        with self.transaction():
            tables = self.merged_tables()
            self.execute("UPDATE change_clock SET capture = 0")
            for record in records:
                self._apply(stream, record, tables, applied)
            self._follow(stream, records)
            self.forget_conflicts()
            self.execute("UPDATE change_clock SET capture = 1")
            for table, keys in applied.changed.items():
                for key in keys:
                    self.touched(table, key)
        return applied

    def merged_tables(self) -> Mapping[str, MergedTable]:
        """The replicated tables as this catalog has them."""
        (version,) = self.connection.execute("PRAGMA schema_version").fetchone()
        if self._merged_tables is None or self._merged_tables[0] != version:
            found = {}
            for name, key in replicated_tables(self.connection).items():
                columns = self.rows("SELECT name FROM pragma_table_info(?)", (name,))
                found[name] = MergedTable(
                    name=name, key=key, columns=frozenset(row["name"] for row in columns)
                )
            self._merged_tables = version, found
        return self._merged_tables[1]

    def list_followed(self) -> list[Followed]:
        """All nodes whose changes were ever taken over, by their id."""
        return [Followed(**dict(row)) for row in self.rows("SELECT * FROM followed_streams ORDER BY node_id")]

    def forget_followed(self, node_id: str) -> None:
        """A node's stream is not followed: it is this node's own."""
        with self.transaction():
            self.execute("DELETE FROM followed_streams WHERE node_id = ?", (node_id,))

    def find_followed(self, node_id: str) -> Followed | None:
        """How far a node's stream was taken over; None for not at all."""
        found = self.row("SELECT * FROM followed_streams WHERE node_id = ?", (node_id,))
        return None if found is None else Followed(**dict(found))

    def list_set_aside(
        self, *, after: tuple[str, int, int] = ("", 0, 0), limit: int = 1_000
    ) -> list[SetAside]:
        """Records that wait for an upgrade, in the order of their streams, behind (node, epoch, sequence)."""
        return [
            SetAside(
                node_id=row["node_id"], epoch=row["epoch"], seq=row["seq"], table=row["table_name"], key=row["row_key"],
                why=row["why"], detail=row["detail"], payload=row["payload"], at_ms=row["at_ms"],
            )
            for row in self.rows(
                "SELECT * FROM set_aside WHERE (node_id, epoch, seq) > (?, ?, ?) ORDER BY node_id, epoch, seq LIMIT ?",
                (*after, limit),
            )
        ]  # fmt: skip

    def count_set_aside(self) -> int:
        """How many records wait for an upgrade."""
        found = self.row("SELECT count(*) FROM set_aside")
        assert found
        return int(found[0])

    def retry_set_aside(self, records: Sequence[tuple[SetAside, Arrived]]) -> Applied:
        """Try again what was set aside; what is whole now is no longer there.

        Args:
            records: Each with what this release reads in it.
        """
        applied = Applied()
        with self.transaction():
            tables = self.merged_tables()
            self.execute("UPDATE change_clock SET capture = 0")
            for aside, record in records:
                self.execute(
                    "DELETE FROM set_aside WHERE node_id = ? AND epoch = ? AND seq = ?",
                    (aside.node_id, aside.epoch, aside.seq),
                )
                stream = Followed(node_id=aside.node_id, epoch=aside.epoch, next_seq=aside.seq + 1, hash=b"")
                self._apply(stream, record, tables, applied)
            self.execute("UPDATE change_clock SET capture = 1")
            for table, keys in applied.changed.items():
                for key in keys:
                    self.touched(table, key)
        return applied

    def _apply(
        self, stream: Followed, record: Arrived, tables: Mapping[str, MergedTable], applied: Applied
    ) -> None:
        applied.records += 1
        change = record.change
        if change is None:
            self._set_aside(
                stream, record, "newer" if record.is_newer else "damaged", record.refused, applied
            )
            return
        table = tables.get(change.table)
        if table is None:
            self._set_aside(stream, record, "newer", f"no table {change.table}", applied)
            return
        unknown = sorted(change.row.keys() - table.columns)
        if unknown and change.op != "delete":
            self._set_aside(stream, record, "newer", f"no column {', '.join(unknown)}", applied)
        try:
            with self.part():
                changed = self._merge(table, change)
        except Conflict as error:
            self._set_aside(stream, record, "constraint", error.message, applied)
            return
        if changed:
            applied.changed.setdefault(table.name, set()).update(changed)
        else:
            applied.ignored += 1

    def _merge(self, table: MergedTable, change: RowChange) -> list[str]:
        """Apply one change; the keys of rows that are different now."""
        rules = rules_of(table.name, change.key)
        before = self.true_state(table, change.key, rules)
        if before.row is not None and table.name in _NEVER_REPLACED:
            return []
        row = {name: value for name, value in change.row.items() if name in table.columns - STAMPS}
        row[table.key] = change.key
        known = replace(change, row=_with_home(table, row, change.clock.origin))
        after = merge(rules, before, known)
        if after is before:
            return []
        renamed = self.put_true_state(table, change.key, rules, before, after, clock=change.clock)
        self.note_conflicts(table.name, change.key, rules, after.row, by=change.by)
        if table.name == "users" and before.row is not None:
            self._end_sign_ins_of(change.key, before.row, after.row)
        return [change.key, *renamed]

    def _end_sign_ins_of(self, user_id: str, before: RowState, after: RowState | None) -> None:
        """Whoever proves otherwise who they are, or is no longer there, is signed out here as where that was changed."""
        column = "credentials_changed_at_ms"
        if after is None or after.values[column] != before.values[column]:
            self.end_sign_ins(user_id, because="changed_on_another_node")
        if after is None:
            self.forget_sign_ins(user_id)

    def _set_aside(self, stream: Followed, record: Arrived, why: Why, detail: str, applied: Applied) -> None:
        if self.count_set_aside() >= SET_ASIDE_COUNT_MAX:
            raise LimitExceeded(
                f"{SET_ASIDE_COUNT_MAX} changes of other nodes wait for an upgrade of this one.",
                hint="Upgrade this node to the release of the others; their changes wait until then.",
                code="set_aside_full",
            )
        change = record.change
        self.execute(
            "INSERT OR REPLACE INTO set_aside (node_id, epoch, seq, table_name, row_key, why, detail, payload, at_ms) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                stream.node_id, stream.epoch, record.seq, change.table if change else "",
                change.key[:CATALOG_RECORD_KEY_LENGTH_MAX] if change else "", why, detail[:500], record.payload,
                self._clock.now_ms(),
            ),
        )  # fmt: skip
        applied.set_aside += 1

    def _follow(self, stream: Followed, records: Sequence[Arrived]) -> None:
        now_ms = self._clock.now_ms()
        last, ahead_ms = 0, 0
        for record in records:
            if record.change is None:
                continue
            if self._hybrid.follow(record.change.clock.hlc, now_ms):
                last = max(last, record.change.clock.hlc)
            else:
                ahead_ms = hlc.wall_ms(record.change.clock.hlc) - now_ms
        self.execute(
            "INSERT INTO followed_streams (node_id, epoch, next_seq, hash, applied_total, ahead_ms, ahead_at_ms, hlc, applied_at_ms) "
            "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (node_id) DO UPDATE SET epoch = ?2, next_seq = ?3, hash = ?4, "
            "applied_total = applied_total + ?5, ahead_ms = CASE WHEN ?6 > 0 THEN ?6 ELSE ahead_ms END, "
            "ahead_at_ms = coalesce(?7, ahead_at_ms), hlc = max(hlc, ?8), applied_at_ms = ?9",
            (
                stream.node_id, stream.epoch, stream.next_seq, stream.hash, len(records), ahead_ms,
                now_ms if ahead_ms else None, last, now_ms,
            ),
        )  # fmt: skip


def _with_home(table: MergedTable, row: dict[str, Value], origin: str) -> dict[str, Value]:
    """The row with the node that drives it, where it was written before nodes had said so."""
    if "home" in table.columns and not row.get("home"):
        row["home"] = origin
    return row
