"""Another program that has the catalog open and does not let go: it locks it, for as long or as often as it is told.

Usage: python -m tests.stand_ins.catalog_locker CATALOG writers|readers HOLD_S PAUSE_S

`writers` is a transaction begun with BEGIN EXCLUSIVE, as of somebody who left a shell open. `readers` takes the locks of the
WAL's index that a program has which recovers it, and which a stopped one keeps: then nobody can even read. With a
PAUSE_S above 0 it lets go for so long, then takes them again: a catalog that is slow rather than locked.
Writes "held" at each time that it has them. Ends when its standard input does.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SHM_LOCKS_AT, SHM_LOCK_COUNT = 120, 8
"""Bytes of the -shm file that stand for SQLite's locks; sqlite.org/walformat.html §2.3.1."""


@contextmanager
def writers(path: Path) -> Iterator[None]:
    connection = sqlite3.connect(path, isolation_level=None, timeout=30)
    connection.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


@contextmanager
def readers(path: Path) -> Iterator[None]:
    descriptor = os.open(f"{path}-shm", os.O_RDWR)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX, SHM_LOCK_COUNT, SHM_LOCKS_AT, os.SEEK_SET)
        yield
    finally:
        os.close(descriptor)  # gives the locks back


def main(path: Path, which: str, hold_s: float, pause_s: float) -> None:
    ended = threading.Event()

    def follow_input() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=follow_input, daemon=True).start()
    lock = {"writers": writers, "readers": readers}[which]
    while not ended.is_set():
        with lock(path):
            print("held", flush=True)
            ended.wait(hold_s)
        if ended.wait(pause_s) or pause_s == 0:
            break


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]), float(sys.argv[4]))
