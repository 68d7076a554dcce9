"""The memory of a broker while it is measured."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.interop.brokers import LiveBroker

_SAMPLE_S = 0.1


@dataclass(slots=True)
class Memory:
    """Resident KiB: before, and the most seen in ten looks a second."""

    before_kib: int
    highest_kib: int

    @property
    def grown_kib(self) -> int:
        return self.highest_kib - self.before_kib


@contextmanager
def memory(broker: LiveBroker) -> Iterator[Memory]:
    """Watch a broker's memory while the block runs."""
    before_kib = resident_kib(broker)
    found, stop = Memory(before_kib, before_kib), threading.Event()

    def watch() -> None:
        while not stop.wait(_SAMPLE_S):
            found.highest_kib = max(found.highest_kib, resident_kib(broker))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield found
    finally:
        stop.set()
        watcher.join()


def resident_kib(broker: LiveBroker) -> int:
    """Resident memory of a broker now."""
    status = Path(f"/proc/{broker.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])
