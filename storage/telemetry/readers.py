"""Connections for questions, beside the writer's: who has one, ending what they do, and none while the store is opened anew.

DuckDB keeps one instance per path for as long as any connection lives: with a query still running, the old, doubtful database would be
handed out again, even after its file was set aside. From any thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import duckdb

from storage.telemetry.database import StoreUnavailable, use


class Readers:
    """The connections of one store that questions have."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connections: set[duckdb.DuckDBPyConnection] = set()
        self._is_closed = False

    @contextmanager
    def reading(self, make: Callable[[], duckdb.DuckDBPyConnection]) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection for one question. `make`: Called for it, not while the readers are closed.

        Raises:
            StoreUnavailable: the store is being opened anew.
        """
        with self._lock:
            if self._is_closed:
                raise StoreUnavailable("The store is being opened anew.", hint="Ask again in a moment.")
            connection = make()
            self._connections.add(connection)
        try:
            use(connection)
            yield connection
        finally:
            with self._lock:
                self._connections.discard(connection)
            connection.close()

    def interrupt(self) -> None:
        """End all questions at their next opportunity."""
        with self._lock:
            for connection in self._connections:
                connection.interrupt()

    def close(self) -> None:
        """Let nobody in any more, until `open`, and interrupt who is.

        Raises:
            StoreUnavailable: somebody still is: try again.
        """
        with self._lock:
            self._is_closed = True
        self.interrupt()
        with self._lock:
            if self._connections:
                raise StoreUnavailable(
                    "Queries still use the store.", hint="They were interrupted; it goes on by itself."
                )

    def open(self) -> None:
        """Let them in again."""
        with self._lock:
            self._is_closed = False
