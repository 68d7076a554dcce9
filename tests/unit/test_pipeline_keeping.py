"""What is due: pure decisions from how the days stand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from appliance.core.limits import CLOCK_WRONG_BEFORE_MS
from appliance.management.retention import Retention, RetentionClass, default_class
from appliance.pipeline.keeping import DIRTY_MS_MAX, Lateness, Situation, Step, is_false_day, next_step
from storage.archive.days import DayState
from storage.telemetry.batch import DAY_MS

TODAY = 19_700
LATENESS_MS = DAY_MS
DEFAULT = Retention((), default_class(10, 30))
VIB = RetentionClass(class_id="vib", metric="vib_*", hot_days=3, archive_days=20)
CLASSED = Retention((VIB,), default_class(10, 30))


def day(ago: int, **changes: Any) -> DayState:
    """A day that is in the store as a whole and archived."""
    values: dict[str, Any] = {"is_whole": True, "generation": 1, "hot": 100, "archived": 100}
    return DayState(day=TODAY - ago, **(values | changes))


def due(
    *states: DayState, retention: Retention = DEFAULT, noted_ms_ago: int = 0, **changes: Any
) -> Step | None:
    now_ms = TODAY * DAY_MS + DAY_MS // 2
    lateness = Lateness(LATENESS_MS)
    lateness.note(states, now_ms - noted_ms_ago)
    lateness.note(states, now_ms)
    values: dict[str, Any] = {
        "now_ms": now_ms, "believed_ms": now_ms, "retention": retention, "lateness": lateness,
        "classes_of": lambda _: frozenset({"default", "vib"}), "is_current": lambda _: True,
    }  # fmt: skip
    return next_step(list(states), Situation(**(values | changes)))


def test_a_day_is_archived_when_its_lateness_has_passed() -> None:
    new = {"generation": None, "archived": 0}
    assert due(day(0, **new)) is None
    assert due(day(1, **new)) is None  # over for twelve hours
    assert due(day(2, **new)) == Step("archive", TODAY - 2, "archive", needs_generation=True)


def test_the_oldest_day_comes_first_and_what_is_done_is_not_due() -> None:
    assert due(day(5), day(3)) is None
    new = {"generation": None, "archived": 0}
    step = due(day(5), day(4, **new), day(3, **new))
    assert step is not None
    assert step.day == TODAY - 4


def test_late_readings_wait_until_none_has_come_for_a_while() -> None:
    late = day(5, hot=101)
    assert due(late) is None
    assert due(late, noted_ms_ago=LATENESS_MS) == Step("archive", late.day, "late", needs_generation=True)


def test_old_late_readings_of_a_day_in_the_store_are_gathered_first() -> None:
    restored = day(120, other=5, restored_until=TODAY + 5)
    long = Retention((), default_class(365, 730))
    assert due(restored, retention=long) is None
    step = due(restored, retention=long, noted_ms_ago=LATENESS_MS)
    assert step == Step("absorb", TODAY - 120, "late")
    # No generation is made that would not have them: its position says that it has all from before.
    assert due(restored, retention=long, is_faulty=lambda _: True) is None
    new = day(2, generation=None, archived=0, other=5)
    assert due(new, retention=long) == Step("absorb", TODAY - 2, "late")
    assert due(day(0, generation=None, archived=0, other=5), retention=long) is None


def test_readings_that_keep_coming_wait_no_longer_than_a_week() -> None:
    lateness = Lateness(LATENESS_MS)
    for hour in range(DIRTY_MS_MAX // 3_600_000):
        state = day(5, hot=101 + hour)
        lateness.note([state], hour * 3_600_000)
        assert not lateness.is_quiet(state, hour * 3_600_000)
    assert lateness.is_quiet(state, DIRTY_MS_MAX)
    lateness.note([day(5)], DIRTY_MS_MAX)
    assert not lateness.is_quiet(state, DIRTY_MS_MAX)


def test_a_day_leaves_the_store_when_its_hot_days_are_over() -> None:
    assert due(day(10)) is None
    assert due(day(11)) == Step("cool", TODAY - 11, "hot_days")
    for behind in ({"hot": 101}, {"other": 1}, {"generation": None, "archived": 0}):
        step = due(day(11, **behind))
        assert step == Step("cool", TODAY - 11, "hot_days", needs_generation=True)


def test_a_restored_day_stays_until_its_date() -> None:
    assert due(day(15, restored_until=TODAY)) is None
    assert due(day(15, restored_until=TODAY - 1)) == Step("cool", TODAY - 15, "hot_days")


def test_late_readings_of_a_day_in_the_archive_are_brought_there() -> None:
    cold: dict[str, Any] = {
        "is_whole": False,
        "hot": 0,
        "archived": 0,
        "cold_classes": frozenset({"default"}),
        "cold": 9,
    }
    assert due(day(20, **cold)) is None
    for pending in ({"hot": 3}, {"other": 3}):
        late = day(20, **(cold | pending))
        assert due(late) is None
        assert due(late, noted_ms_ago=LATENESS_MS) == Step("cool", late.day, "late", needs_generation=True)
    unknown = DayState(day=TODAY - 25, is_whole=False, generation=None, hot=0, archived=0, other=4)
    step = due(unknown, noted_ms_ago=LATENESS_MS)
    assert step == Step("cool", TODAY - 25, "late", needs_generation=True)


def test_a_day_goes_when_the_time_of_all_classes_is_over() -> None:
    assert due(day(31)) == Step("forget", TODAY - 31, "archive_days")
    assert due(day(31, restored_until=TODAY + 5)) == Step("forget", TODAY - 31, "archive_days")
    for_ever = replace(DEFAULT, default=default_class(10, 0))
    gone = day(3_000, is_whole=False, hot=0, archived=0, cold_classes=frozenset({"default"}))
    assert due(gone, retention=for_ever) is None


def test_a_class_with_fewer_hot_days_leaves_first() -> None:
    vib = frozenset({"vib"})
    assert due(day(3), retention=CLASSED) is None
    assert due(day(4), retention=CLASSED) == Step("cool", TODAY - 4, "hot_days", classes=vib)
    assert due(day(4, hot=101), retention=CLASSED) is None  # what is late is archived first
    again = due(day(4), retention=CLASSED, is_current=lambda _: False)
    assert again == Step("archive", TODAY - 4, "hot_days", needs_generation=True)
    assert due(day(4), retention=CLASSED, classes_of=lambda _: frozenset({"default"})) is None
    part: dict[str, Any] = {"is_whole": False, "cold_classes": vib, "cold": 5}
    assert due(day(5, **part), retention=CLASSED) is None
    assert due(day(11, **part), retention=CLASSED) == Step("cool", TODAY - 11, "hot_days")
    late = due(day(5, hot=103, **part), retention=CLASSED, noted_ms_ago=LATENESS_MS)
    assert late == Step("cool", TODAY - 5, "late", classes=vib, needs_generation=True)


def test_a_second_class_leaves_a_day_of_which_one_has_left() -> None:
    slow = RetentionClass(class_id="slow", metric="s_*", hot_days=6, archive_days=20)
    retention = Retention((VIB, slow), default_class(10, 30))
    part = day(7, is_whole=False, cold_classes=frozenset({"vib"}), cold=5)
    step = due(part, retention=retention, classes_of=lambda _: frozenset({"default", "slow", "vib"}))
    assert step == Step("cool", TODAY - 7, "hot_days", classes=frozenset({"vib", "slow"}))


def test_files_of_a_class_go_when_its_time_in_the_archive_is_over() -> None:
    both = day(21, is_whole=False, hot=0, archived=0, cold_classes=frozenset({"default", "vib"}), cold=5)
    assert due(both, retention=CLASSED) == Step(
        "expire", TODAY - 21, "archive_days", classes=frozenset({"vib"})
    )
    one = replace(both, cold_classes=frozenset({"default"}))
    assert due(one, retention=CLASSED, classes_of=lambda _: frozenset({"default"})) is None


def test_a_damaged_generation_is_made_again_while_the_store_has_the_day() -> None:
    step = due(day(5), is_faulty=lambda _: True)
    assert step == Step("archive", TODAY - 5, "damaged", needs_generation=True)
    cooling = due(day(11), is_faulty=lambda _: True)
    assert cooling == Step("cool", TODAY - 11, "hot_days", needs_generation=True)
    gone = day(20, is_whole=False, hot=0, archived=0, cold_classes=frozenset({"default"}))
    assert due(gone, is_faulty=lambda _: True) is None


@pytest.mark.parametrize("is_short", [False, True])
def test_under_pressure_the_oldest_archived_day_leaves_early(is_short: bool) -> None:
    states = (day(9, hot=101), day(8), day(7), day(1))
    step = due(*states, is_short=is_short)
    assert step == (Step("cool", TODAY - 8, "disk_pressure") if is_short else None)
    assert due(day(2), day(1, generation=None), day(0), is_short=True) is None


def test_days_leave_by_the_time_that_is_believed() -> None:
    """The clock leapt 20 days ahead."""
    believed: dict[str, Any] = {"believed_ms": (TODAY - 20) * DAY_MS}
    assert due(day(31), **believed) == Step("cool", TODAY - 31, "hot_days")
    assert due(day(30), **believed) is None
    # It is archived as it comes all the same.
    new = day(3, generation=None, archived=0)
    assert due(new, **believed) == Step("archive", TODAY - 3, "archive", needs_generation=True)


FALSE_DAY = 1
FALSE_STATE = DayState(day=FALSE_DAY, is_whole=True, generation=1, hot=100, archived=100)
GONE_FROM_STORE = replace(FALSE_STATE, is_whole=False, hot=0, cold_classes=frozenset({"default", "vib"}))


def made(ago: int) -> dict[str, Any]:
    return {"made_at_ms": lambda _: (TODAY - ago) * DAY_MS}


def test_a_day_of_1970_counts_from_when_it_was_archived() -> None:
    assert due(replace(FALSE_STATE, generation=None, archived=0)) == Step(
        "cool", FALSE_DAY, "hot_days", needs_generation=True
    )
    assert due(FALSE_STATE, **made(0)) == Step("cool", FALSE_DAY, "hot_days")
    assert due(GONE_FROM_STORE, **made(30)) is None
    assert due(GONE_FROM_STORE, **made(31)) == Step("forget", FALSE_DAY, "archive_days")
    step = due(GONE_FROM_STORE, retention=CLASSED, **made(21))
    assert step == Step("expire", FALSE_DAY, "archive_days", classes=frozenset({"vib"}))


def test_a_generation_made_in_1970_is_made_again_by_a_clock_that_can_be_right() -> None:
    in_1970: dict[str, Any] = {"made_at_ms": lambda _: 2 * DAY_MS}
    assert due(FALSE_STATE, **in_1970) == Step("cool", FALSE_DAY, "hot_days", needs_generation=True)
    # Nobody knows how old it is.
    assert due(GONE_FROM_STORE, **in_1970) is None
    still: dict[str, Any] = {"now_ms": 30 * DAY_MS, "believed_ms": 30 * DAY_MS}
    assert due(FALSE_STATE, **(in_1970 | still)) == Step("cool", FALSE_DAY, "hot_days")


def test_the_day_before_this_program_existed_is_the_last_false_one() -> None:
    first = CLOCK_WRONG_BEFORE_MS // DAY_MS
    assert (is_false_day(first - 1), is_false_day(first)) == (True, False)
