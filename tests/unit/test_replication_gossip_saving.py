"""Over a restart nothing that isn't safe becomes younger, and what was safe still is."""

from __future__ import annotations

import msgspec
import pytest

from replication.gossip.fleet_view import FleetView, PeerInfo
from replication.gossip.saving import POINT_COUNT_MAX, SavedState, restore, save
from replication.gossip.watermark import HISTORY_BUCKET_MS, SafeBook, Watermark
from storage.replicas.streams import StreamId

US, MATE = "aa" * 16, "bb" * 16
STREAM = StreamId(US, "telemetry")
FLEET = FleetView(US, [PeerInfo(node_id=node, site_id="1") for node in (US, MATE)])
HOUR_MS = HISTORY_BUCKET_MS


def book_of(count: int, *, stored: int) -> SafeBook:
    book = SafeBook()
    mark = book.marks[STREAM] = Watermark(US)
    for n in range(1, count + 1):
        mark.reached(n + 1, b"h" * 32, n * 10)
    mark.store(MATE, stored)
    return book


def over_a_restart(book: SafeBook, *, now_ms: int, away_ms: int, later_ms: int = 5) -> SafeBook:
    saved = msgspec.json.decode(
        msgspec.json.encode(save(book, {}, now_ms=now_ms, at_ms=1_000_000)), type=SavedState
    )
    return restore(saved, US, now_ms=later_ms, at_ms=1_000_000 + away_ms)


@pytest.mark.parametrize("count", [10, 1_000, 5_000])
@pytest.mark.parametrize("stored", [1, 4, 10])
def test_ages_go_on(count: int, stored: int) -> None:
    now_ms = count * 10
    book = book_of(count, stored=stored)
    after = over_a_restart(book, now_ms=now_ms, away_ms=700)
    mark, before = after.marks[STREAM], book.marks[STREAM]
    assert mark.safe_seq(FLEET, "node") == stored
    assert len(mark.points(5)) <= POINT_COUNT_MAX
    for seq in {stored, min(stored + 1, count), (stored + count) // 2, count}:
        age_ms = before.age_ms(seq, now_ms) + 700
        assert age_ms <= mark.age_ms(seq, 5) <= age_ms + 10 * count // POINT_COUNT_MAX + 20
    assert mark.age_ms(count + 1, 5) == 0


def test_a_wall_clock_that_went_back_makes_nothing_younger() -> None:
    after = over_a_restart(book_of(10, stored=1), now_ms=100, away_ms=-(10**6))
    assert after.marks[STREAM].age_ms(1, 5) == 90


def test_the_worst_of_the_day_goes_on() -> None:
    book = SafeBook()
    book.history.add("node", 9_000, 0)
    book.history.add("node", 50, 2 * HOUR_MS)
    after = over_a_restart(book, now_ms=2 * HOUR_MS, away_ms=HOUR_MS, later_ms=100 * HOUR_MS)
    assert after.history.worst_ms("node") == 9_000
    after.history.add("node", 1, 122 * HOUR_MS)
    assert after.history.worst_ms("node") == 50


def test_what_else_stands_there_is_left_out() -> None:
    book = book_of(3, stored=2)
    book.marks[StreamId(US, "catalog")] = Watermark(US)
    saved = save(book, {}, now_ms=100, at_ms=0)
    saved = msgspec.structs.replace(saved, marks={**saved.marks, "../odd": saved.marks["telemetry"]})
    assert {stream.name for stream in restore(saved, US, now_ms=0, at_ms=0).marks} == {"telemetry", "catalog"}
