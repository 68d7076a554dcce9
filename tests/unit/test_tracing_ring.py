"""The ring drops what has no room, and counts it."""

from __future__ import annotations

import threading

from appliance.tracing.ring import SpanRing
from tests.unit.test_tracing_span import span


def test_the_oldest_stay_and_the_rest_is_counted() -> None:
    ring = SpanRing(3)
    ring.add([span(f"s{number}") for number in range(5)])
    assert (len(ring), ring.added_total, ring.dropped_total) == (3, 3, 2)
    assert [each.name for each in ring.take(2)] == ["s0", "s1"]
    ring.add([span("s9")])
    assert [each.name for each in ring.take(100)] == ["s2", "s9"]
    assert ring.take(100) == []


def test_threads_lose_none() -> None:
    ring = SpanRing(1_000_000)

    def work() -> None:
        for _ in range(1_000):
            ring.add([span()])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    taken = 0
    while any(thread.is_alive() for thread in threads) or len(ring):
        taken += len(ring.take(100))
    assert (taken, ring.added_total) == (4_000, 4_000)
