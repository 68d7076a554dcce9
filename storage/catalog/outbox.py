"""The captured changes, in the order in which they were committed; they become blocks of the `catalog` stream."""

from __future__ import annotations

from appliance.core.errors import UsageError
from storage.catalog.database import CatalogDatabase
from storage.catalog.rows import OutboxRow

OUTBOX_BATCH_COUNT_MAX = 1_000


class OutboxTable(CatalogDatabase):
    """Methods of the catalog about its outbox."""

    def outbox_after(self, position: int, *, limit: int = OUTBOX_BATCH_COUNT_MAX) -> list[OutboxRow]:
        """Up to `limit` (1..1000) changes behind a position, oldest first.

        Rows of one transaction have the same hlc. A full batch may end within one.
        """
        if not 1 <= limit <= OUTBOX_BATCH_COUNT_MAX:
            raise UsageError(
                f"A batch of the outbox has 1 to {OUTBOX_BATCH_COUNT_MAX} rows.",
                hint="Ask for fewer at a time.",
            )
        found = self.rows(
            "SELECT position, table_name, row_key, op, row, changed, hlc, origin, clock, generation, seen, decided_by FROM outbox "
            "WHERE position > ? ORDER BY position LIMIT ?",
            (position, limit),
        )
        return [
            OutboxRow(
                position=row["position"],
                table=row["table_name"],
                key=row["row_key"],
                op=row["op"],
                row=row["row"],
                changed=row["changed"],
                hlc=row["hlc"],
                origin=row["origin"],
                clock=row["clock"],
                generation=row["generation"],
                seen=row["seen"],
                by=row["decided_by"],
            )
            for row in found
        ]

    def outbox_forget(self, position: int) -> int:
        """Remove changes up to and including a position, once they are durable in the log; returns how many."""
        with self.transaction():
            return self.execute("DELETE FROM outbox WHERE position <= ?", (position,))

    def outbox_raise(self, position: int) -> None:
        """Have changes from now on get positions behind this one: the log is ahead of a catalog that was put back to an older state."""
        with self.transaction():
            self.execute(
                "INSERT INTO sqlite_sequence (name, seq) SELECT 'outbox', 0 "
                "WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'outbox')"
            )
            self.execute(
                "UPDATE sqlite_sequence SET seq = ? WHERE name = 'outbox' AND seq < ?", (position, position)
            )

    def outbox_move_behind(self, position: int) -> None:
        """Have changes that wait come behind a position, in their order: the log has others under the numbers that they have."""
        with self.transaction():
            found = self.row("SELECT min(position), max(position) FROM outbox")
            if found is None or found[0] is None or found[0] > position:
                return
            delta = position + 1 - int(found[0])
            # By way of negative numbers: none of the new ones may be one that is still taken.
            self.execute("UPDATE outbox SET position = -(position + ?)", (delta,))
            self.execute("UPDATE outbox SET position = -position")
            self.outbox_raise(int(found[1]) + delta)

    def outbox_count(self) -> int:
        """How many changes wait to be written to the log."""
        found = self.row("SELECT count(*) FROM outbox")
        assert found
        return int(found[0])
