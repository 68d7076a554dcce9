"""A part of a replay as one transaction: letters go, what became of them comes, the part is written down. And what it asks before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import duckdb

from storage.telemetry.batch import StoreBatch
from storage.telemetry.checks import check_counts
from storage.telemetry.database import as_store_error
from storage.telemetry.journal import Unfolded, state_of
from storage.telemetry.letters import Position, ReplayPart, note_part, take_letters
from storage.telemetry.schema import table_names
from storage.telemetry.store import TelemetryStore
from storage.telemetry.writing import fold, note_replay, write_batch


@contextmanager
def asking(store: TelemetryStore) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection for one question of whoever prepares a replay. From any thread.

    Raises:
        StoreUnavailable, StoreDamaged: the store is being opened anew, or the question failed or was interrupted.
    """
    with store.reading() as connection:
        try:
            yield connection
        except duckdb.Error as error:
            raise as_store_error(error, store.path) from error


def store_replay(
    store: TelemetryStore, batch: StoreBatch, taken: Sequence[Position], part: ReplayPart
) -> None:
    """Store what became of dead letters that were read again; the cursor stays where it is. In the writer's thread.

    Args:
        taken: The letters that were read; those of them that stay dead are in the batch.
    Raises:
        As TelemetryStore.commit. Whether it has happened all the same, the table `replays` says.
    """
    check_counts(batch, is_replay=True)
    unfolded = Unfolded()
    unfolded.add(state_of(batch))
    # What commits have gathered is older: it must not come over this.
    store.tidy()
    with store.writing() as connection:
        take_letters(connection, taken)
        write_batch(connection, batch, set(table_names(connection)))
        fold(connection, unfolded)
        note_replay(connection, batch)
        note_part(connection, part)
