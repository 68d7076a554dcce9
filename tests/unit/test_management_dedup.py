"""A window that was stored comes back as it was; the laws are in tests/properties/test_management_dedup.py."""

from __future__ import annotations

from appliance.core.arrays import i64
from appliance.core.limits import DEDUP_BOOT_COUNT_MAX
from appliance.management.dedup import SeenSequences, Verdict


def test_a_stored_window_goes_on_where_it_stood() -> None:
    seen = SeenSequences()
    seen.load("d", "one", [(1, 3), (7, 9)], current=False)
    seen.load("d", "two", [(1, 5)], current=True, floor=0, newest_ms=17)
    assert seen.current_boot_id("d") == "two"
    window = seen.window_now("d")
    assert (window.intervals(), window.floor, window.newest_ms) == ([(1, 5)], 0, 17)
    assert seen.see_all([window], i64([0, 0]), i64([5, 6]), i64([0, 0])) == {0: Verdict.DUPLICATE}
    changed, dropped = seen.take_changes()
    assert [(each.boot_id, each.intervals()) for each in changed] == [("two", [(1, 6)])]
    assert dropped == []


def test_no_readings_change_nothing() -> None:
    seen = SeenSequences()
    window = seen.window_now("d")
    assert seen.see_all([window], i64([]), i64([]), i64([])) == {}
    assert seen.take_changes() == ([], [])


def test_a_boot_that_has_sent_nothing_is_stored_too() -> None:
    seen = SeenSequences()
    seen.load("d", "new", [], current=True)
    assert seen.current_boot_id("d") == "new"
    assert seen.window_now("d").intervals() == []
    assert seen.current_boot_id("stranger") == ""


def test_the_boots_of_a_backlog_are_let_go_when_it_is_worked_off() -> None:
    seen = SeenSequences()
    seen.keep_more(True)
    for number in range(DEDUP_BOOT_COUNT_MAX + 2):
        seen.load("d", f"boot-{number}", [(0, number)], current=False)
    assert len(seen.all()) == DEDUP_BOOT_COUNT_MAX + 2
    seen.keep_more(False)
    assert [each.boot_id for each in seen.all()] == [
        f"boot-{number}" for number in range(2, DEDUP_BOOT_COUNT_MAX + 2)
    ]
    assert seen.take_changes()[1] == [("d", "boot-0"), ("d", "boot-1")]
