"""Reading the audit, and keeping its signed heads. Entries are written by auditing.py and by nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from appliance.core.errors import UsageError
from appliance.core.limits import AUDIT_ACTIONS_OF_NOUN_MAX, PAGE_ITEM_COUNT_MAX
from appliance.management.audit import AuditEntry, Outcome
from appliance.management.audit_chain import SignedHead
from storage.catalog.database import CatalogDatabase, Value

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """Which entries; what is None does not count.

    Attributes:
        action: The whole of it, or the noun alone: `device` is `device.adopt` and all others of devices.
        from_ms, to_ms: UTC; from is included, to is not.
    """

    actor: str | None = None
    action: str | None = None
    object_kind: str | None = None
    object_id: str | None = None
    outcome: Outcome | None = None
    trace_id: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None

    def where(self) -> tuple[list[str], list[Value]]:
        """SQL conditions and their parameters."""
        assert self.outcome in (None, "done", "refused")
        conditions: list[str] = []
        parameters: list[Value] = []
        equal: dict[str, str | None] = {
            "actor": self.actor,
            "object_kind": self.object_kind,
            "object_id": self.object_id,
            "trace_id": self.trace_id or None,
        }
        for column, value in equal.items():
            if value is not None:
                conditions.append(f"{column} = ?")
                parameters.append(value)
        if self.trace_id:
            conditions.append("trace_id != ''")  # What the index is of.
        if self.outcome is not None:
            conditions.append(f"outcome = '{self.outcome}'")  # In the text, for the index of refusals.
        if self.action is not None and "." in self.action:
            conditions.append("action = ?")
            parameters.append(self.action)
        elif self.action is not None:
            conditions.append("action >= ? AND action < ?")
            parameters += self.noun_range()
        if self.from_ms is not None:
            conditions.append("at_ms >= ?")
            parameters.append(self.from_ms)
        if self.to_ms is not None:
            conditions.append("at_ms < ?")
            parameters.append(self.to_ms)
        return conditions, parameters

    def noun_range(self) -> list[Value]:
        """From where to where an index has the actions of a noun: "/" is the character behind "."."""
        return [f"{self.action}.", f"{self.action}/"]


EVERYTHING = AuditFilter()


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPage:
    """Entries, the newest first; `next_cursor` is None at the end."""

    entries: tuple[AuditEntry, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSize:
    """How much there is. `first_at_ms` is None before the first entry."""

    entry_count: int
    first_at_ms: int | None
    newest_at_ms: int | None


class AuditTable(CatalogDatabase):
    """Methods of the catalog about the audit."""

    def list_audit(
        self, filter_: AuditFilter = EVERYTHING, *, cursor: str | None = None, limit: int
    ) -> AuditPage:
        """Entries that pass a filter, the newest first.

        Args:
            cursor: `next_cursor` of the page before.
            limit: 1..PAGE_ITEM_COUNT_MAX.
        Raises:
            UsageError: `cursor_invalid`.
        """
        assert 1 <= limit <= PAGE_ITEM_COUNT_MAX
        after = _cursor(cursor) if cursor is not None else None
        if filter_.action is not None and "." not in filter_.action:
            # Each action for itself comes in order of time out of its index; all of a noun would have to be sorted.
            filters = [replace(filter_, action=action) for action in self._actions_of(filter_)]
        else:
            filters = [filter_]
        found = [row for each in filters for row in self._newest(each, after, limit + 1)]
        found.sort(key=lambda row: (row["at_ms"], row["rowid"]), reverse=True)
        shown = found[:limit]
        more = len(found) > limit
        return AuditPage(
            entries=tuple(map(entry_of, shown)),
            next_cursor=f"{shown[-1]['at_ms']}:{shown[-1]['rowid']}" if more else None,
        )

    def _newest(self, filter_: AuditFilter, after: list[Value] | None, count: int) -> list[Any]:
        conditions, parameters = filter_.where()
        if after is not None:
            conditions.append("(at_ms, rowid) < (?, ?)")
            parameters += after
        where = f"WHERE {' AND '.join(conditions)} " if conditions else ""
        return self.rows(
            f"SELECT rowid, * FROM audit {where}ORDER BY at_ms DESC, rowid DESC LIMIT ?",  # noqa: S608 - columns of ours
            [*parameters, count],
        )

    def _actions_of(self, filter_: AuditFilter) -> list[str]:
        """The actions of a noun that there are: one step of the index for each."""
        begin, end = filter_.noun_range()
        found: list[str] = []
        row = self.row("SELECT min(action) FROM audit WHERE action >= ? AND action < ?", (begin, end))
        while row and row[0] is not None and len(found) < AUDIT_ACTIONS_OF_NOUN_MAX:
            found.append(row[0])
            row = self.row("SELECT min(action) FROM audit WHERE action > ? AND action < ?", (row[0], end))
        return found

    def audit_origins(self) -> list[str]:
        """The nodes that have a chain here, in order."""
        # One step of the index for each, where DISTINCT would walk through all entries.
        found: list[str] = []
        row = self.row("SELECT min(origin) FROM audit")
        while row and row[0] is not None:
            found.append(row[0])
            row = self.row("SELECT min(origin) FROM audit WHERE origin > ?", (row[0],))
        return found

    def audit_chain(
        self, origin: str, *, after_seq: int, limit: int, filter_: AuditFilter = EVERYTHING
    ) -> list[AuditEntry]:
        """The next entries of a node's chain, in its order."""
        conditions, parameters = filter_.where()
        where = "".join(f" AND {condition}" for condition in conditions)
        found = self.rows(
            f"SELECT * FROM audit WHERE origin = ? AND seq > ?{where} ORDER BY seq LIMIT ?",  # noqa: S608 - columns of ours
            [origin, after_seq, *parameters, limit],
        )
        return list(map(entry_of, found))

    def audit_entry(self, origin: str, seq: int) -> AuditEntry | None:
        """One entry, or None."""
        found = self.row("SELECT * FROM audit WHERE origin = ? AND seq = ?", (origin, seq))
        return entry_of(found) if found else None

    def newest_audit_entry(self, origin: str) -> AuditEntry | None:
        """The end of a node's chain, or None."""
        found = self.row("SELECT * FROM audit WHERE origin = ? ORDER BY seq DESC LIMIT 1", (origin,))
        return entry_of(found) if found else None

    def audit_size(self) -> AuditSize:
        """How many entries there are; as many as the newest of each chain has for a number."""
        count = 0
        for origin in self.audit_origins():
            newest = self.row("SELECT max(seq) FROM audit WHERE origin = ?", (origin,))
            count += int(newest[0]) if newest else 0
        times = self.row("SELECT (SELECT min(at_ms) FROM audit), (SELECT max(at_ms) FROM audit)")
        assert times
        return AuditSize(entry_count=count, first_at_ms=times[0], newest_at_ms=times[1])

    def keep_audit_head(self, head: SignedHead) -> None:
        """Keep a signed head, in place of an earlier one of the same day."""
        with self.transaction():
            self.execute(
                "INSERT OR REPLACE INTO audit_heads (origin, day, seq, hash, signed_at_ms, key_id, signature) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    head.origin,
                    head.signed_at_ms // DAY_MS,
                    head.seq,
                    head.hash,
                    head.signed_at_ms,
                    head.key_id,
                    head.signature,
                ),
            )

    def forget_audit_heads(self, origin: str) -> None:
        """Forget a node's signed heads: somebody answers for the chain as it is (`homeport audit accept`)."""
        with self.transaction():
            self.execute("DELETE FROM audit_heads WHERE origin = ?", (origin,))

    def audit_heads(self, origin: str) -> Sequence[SignedHead]:
        """The signed heads of a node, the oldest first: one for each day on which something happened."""
        return [
            SignedHead(
                origin=row["origin"],
                seq=row["seq"],
                hash=row["hash"],
                signed_at_ms=row["signed_at_ms"],
                key_id=row["key_id"],
                signature=row["signature"],
            )
            for row in self.rows("SELECT * FROM audit_heads WHERE origin = ? ORDER BY seq", (origin,))
        ]


def entry_of(row: Any) -> AuditEntry:
    """A row of the table as an entry."""
    return AuditEntry(
        seq=row["seq"],
        origin=row["origin"],
        at_ms=row["at_ms"],
        actor=row["actor"],
        actor_kind=row["actor_kind"],
        address=row["address"],
        action=row["action"],
        object_kind=row["object_kind"],
        object_id=row["object_id"],
        outcome=row["outcome"],
        before=row["before"],
        after=row["after"],
        detail=row["detail"],
        trace_id=row["trace_id"],
        previous_hash=row["previous_hash"],
        hash=row["hash"],
    )


def _cursor(text: str) -> list[Value]:
    at_ms, _, rowid = text.partition(":")
    numbers = (at_ms.removeprefix("-"), rowid)
    if not (len(text) <= 40 and all(each.isascii() and each.isdecimal() for each in numbers)):
        raise UsageError(
            "This cursor is none of a page of the audit.",
            hint="Give the page's `next_cursor` as it is.",
            code="cursor_invalid",
        )
    return [max(-(2**63), min(int(at_ms), 2**63 - 1)), min(int(rowid), 2**63 - 1)]
