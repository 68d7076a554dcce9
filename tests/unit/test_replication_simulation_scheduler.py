"""The virtual clock and its trace."""

from __future__ import annotations

from replication.simulation.scheduler import TRACE_TAIL_COUNT, Scheduler


def test_calls_come_in_the_order_of_their_times_and_then_of_being_made() -> None:
    scheduler = Scheduler(100)
    seen: list[tuple[int, str]] = []
    scheduler.at(300, lambda: seen.append((scheduler.now_ms, "c")))
    scheduler.after(50, lambda: seen.append((scheduler.now_ms, "a")))
    scheduler.at(150, lambda: seen.append((scheduler.now_ms, "b")))
    scheduler.at(1, lambda: seen.append((scheduler.now_ms, "past")))
    scheduler.run_until(299)
    assert seen == [(100, "past"), (150, "a"), (150, "b")]
    assert scheduler.now_ms == 299
    scheduler.run_until(300)
    assert seen[-1] == (300, "c")
    assert scheduler.call_total == 4


def test_the_trace_is_told_apart_by_any_line_and_its_end_is_kept() -> None:
    one, other = Scheduler(), Scheduler()
    for number in range(3 * TRACE_TAIL_COUNT):
        one.note(f"{number}")
        other.note(f"{number}")
    assert one.trace_hash() == other.trace_hash()
    other.note("more")
    assert one.trace_hash() != other.trace_hash()
    assert len(one.tail()) == TRACE_TAIL_COUNT
    assert other.tail()[-1] == "0 more"
