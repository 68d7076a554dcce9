"""What rules found, on its way from the store to the catalog: rows that were written with the readings they came from.

A transition is written once, in the transaction of its batch. Whoever applies them reads behind the last number that it has
applied, and says so; a row goes when it was applied and no replay from the checkpoint can find it again (watch_state.py). Numbers
count up within one store; a store that was begun anew has another `store_id`. The newest row stays, so that no number is given twice.

Must not know: what a rule is, what becomes of an alarm.
"""

from __future__ import annotations

from appliance.management.rule_transition import Transition
from storage.telemetry.batch import WatchPart
from storage.telemetry.database import run
from storage.telemetry.store import TelemetryStore
from storage.telemetry.watch_state import decode_transition, waiting_count, write_part

READ_COUNT_MAX = 10_000
"""Transitions in one answer: about 5 MB."""


class AlarmOutbox:
    """The outbox of an open store. In the store's writer thread (StoreWork); each call is one short transaction.

    All raise as TelemetryStore.commit.
    """

    def __init__(self, store: TelemetryStore) -> None:
        self._store = store

    def store_id(self) -> str:
        """Within which store the numbers count."""
        with self._store.transaction() as connection:
            return str(run(connection, "SELECT value FROM meta WHERE key = 'store_id'")[0][0])

    def read_after(self, number: int, limit: int) -> list[tuple[int, Transition]]:
        """The next transitions behind a number, in the order in which they were found, with their numbers."""
        with self._store.transaction() as connection:
            rows = run(
                connection,
                "SELECT number, transition FROM alarm_outbox WHERE number > ? ORDER BY number LIMIT ?",
                [number, min(limit, READ_COUNT_MAX)],
            )
        return [(number, decode_transition(packed)) for number, packed in rows]

    def forget_through(self, number: int) -> None:
        """Those up to a number are applied, for good."""
        with self._store.transaction() as connection:
            run(connection, "UPDATE meta SET value = ? WHERE key = 'outbox_applied'", [str(number)])
            run(
                connection,
                "DELETE FROM alarm_outbox WHERE number <= least(?, (SELECT coalesce(max(found_number), 0) FROM watch_checkpoints))"
                " AND number < (SELECT max(number) FROM alarm_outbox)",
                [number],
            )

    def waiting(self) -> int:
        """Transitions that are not applied yet."""
        with self._store.transaction() as connection:
            return waiting_count(connection)

    def put(self, part: WatchPart) -> None:
        """Store what was found without a batch: by the clock, or in records that are in the store already."""
        with self._store.transaction() as connection:
            write_part(connection, part)
