"""What people do to alarms, and what of a transition is kept."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance.alarms.book import AlarmBook
from appliance.core.clock import ManualClock
from appliance.core.errors import UsageError
from appliance.core.limits_alarms import ALARM_BULK_COUNT_MAX, ALARM_SHELVE_MS_MAX
from appliance.management.alarms import AlarmState
from storage.catalog.catalog import Catalog
from tests.alarm_kit import FLAP_MS, NOW_MS, WAIT_MS, found, id_of, put_rule


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW_MS)


@pytest.fixture
def book(clock: ManualClock) -> AlarmBook:
    return AlarmBook(clock=clock, flap_ms=FLAP_MS, wait_ms=WAIT_MS)


@pytest.fixture
def catalog(tmp_path: Path, clock: ManualClock) -> Any:
    opened = Catalog.open(tmp_path / "catalog.db", clock=clock, node_id=b"n" * 16)
    with opened.transaction():
        put_rule(opened)
    yield opened
    opened.close()


def apply(catalog: Catalog, book: AlarmBook, *transitions: Any) -> None:
    with catalog.transaction():
        book.apply(catalog, transitions)


def test_acknowledged_once_by_whoever_was_first(catalog: Catalog, book: AlarmBook) -> None:
    apply(catalog, book, found("d1"), found("d2"))
    first, second = id_of("d1"), id_of("d2")
    with catalog.transaction():
        done = book.acknowledge(catalog, [first, "nothing"], actor="anna", note="seen")
    assert ([each.alarm_id for each in done.alarms], done.unchanged, done.unknown) == (
        [first],
        (),
        ("nothing",),
    )
    assert done.alarms[0].version == catalog.get_alarm(first).version
    with catalog.transaction():
        done = book.acknowledge(catalog, [second, first, first], actor="ben")
    assert ([each.alarm_id for each in done.alarms], done.unchanged) == ([second], (first,))
    assert catalog.get_alarm(first).acknowledged_by == "anna"


def test_outside_of_the_scope_there_is_nothing_to_acknowledge(catalog: Catalog, book: AlarmBook) -> None:
    apply(catalog, book, found("d1"))
    with catalog.transaction():
        done = book.acknowledge(catalog, [id_of("d1")], actor="anna", scope=frozenset({"hall"}))
    assert done.unknown == (id_of("d1"),)
    assert catalog.get_alarm(id_of("d1")).state is AlarmState.ACTIVE_UNACKNOWLEDGED


def test_shelved_and_taken_back(catalog: Catalog, book: AlarmBook) -> None:
    apply(catalog, book, found("d1"))
    with catalog.transaction():
        done = book.shelve(catalog, [id_of("d1")], until_ms=NOW_MS + 5, reason="part", actor="anna")
    assert done.alarms[0].is_shelved
    with catalog.transaction():
        done = book.unshelve(catalog, [id_of("d1")], actor="ben")
    assert not done.alarms[0].is_shelved
    with catalog.transaction():
        assert book.unshelve(catalog, [id_of("d1")], actor="ben").unchanged == (id_of("d1"),)
    rows = catalog.alarm_events(id_of("d1"), limit=9)
    assert [(row.event, row.actor) for row in rows] == [
        ("raise", ""),
        ("shelve", "anna"),
        ("unshelve", "ben"),
    ]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"reason": ""}, "alarm_note"),
        ({"reason": " "}, "alarm_note"),
        ({"reason": "x" * 501}, "alarm_note"),
        ({"reason": "a\x1b[2Jb"}, "alarm_note"),
        ({"until_ms": NOW_MS}, "alarm_shelve_until"),
        ({"until_ms": NOW_MS + ALARM_SHELVE_MS_MAX + 1}, "alarm_shelve_until"),
    ],
)
def test_what_makes_no_sense_is_refused(
    catalog: Catalog, book: AlarmBook, changes: dict[str, Any], code: str
) -> None:
    values: dict[str, Any] = {"until_ms": NOW_MS + 5, "reason": "part", "actor": "anna", **changes}
    with pytest.raises(UsageError) as caught, catalog.transaction():
        book.shelve(catalog, ["a"], **values)
    assert caught.value.code == code
    assert caught.value.hint


def test_not_too_many_at_once(catalog: Catalog, book: AlarmBook) -> None:
    ids = [str(number) for number in range(ALARM_BULK_COUNT_MAX + 1)]
    with pytest.raises(UsageError) as caught, catalog.transaction():
        book.acknowledge(catalog, ids, actor="anna")
    assert caught.value.code == "alarms_too_many"
    with catalog.transaction():
        assert len(book.acknowledge(catalog, ids[1:], actor="anna").unknown) == ALARM_BULK_COUNT_MAX


@pytest.mark.parametrize("value", [math.nan, math.inf, None])
def test_a_value_that_is_no_number(catalog: Catalog, book: AlarmBook, value: float | None) -> None:
    transition = msgspec.structs.replace(found(limit=math.nan, unit=7), value=value)
    apply(catalog, book, transition, msgspec.structs.replace(transition, is_raised=False, at_ms=NOW_MS + 1))
    alarm = catalog.get_alarm(id_of())
    assert (alarm.value, alarm.unit, alarm.explanation["limit"]) == (None, "", None)


def test_an_explanation_is_bounded(catalog: Catalog, book: AlarmBook) -> None:
    apply(catalog, book, found(text="x" * 3_000, more="y" * 3_000))
    assert catalog.get_alarm(id_of()).explanation == {"text": "x" * 1_000}


def test_twice_in_one_batch_is_once(catalog: Catalog, book: AlarmBook) -> None:
    apply(catalog, book, found(), found(), found(is_raised=False, at_ms=NOW_MS + 1), found())
    assert [row.event for row in catalog.alarm_events(id_of(), limit=9)] == ["raise", "clear"]
    assert book.tally.known == 2


def test_an_end_that_came_to_nothing_does_not_end_a_later_alarm_when_it_is_found_again(
    catalog: Catalog, book: AlarmBook
) -> None:
    """As by a store that was begun anew, whose batches are larger: what was applied is found once more, with what was not."""
    first = (found(), found(is_raised=False, at_ms=NOW_MS + 1_000))
    over, again = found(is_raised=False, at_ms=NOW_MS + 2_000), found(at_ms=NOW_MS + 5_000)
    apply(catalog, book, *first, over, again)
    assert book.tally.unchanged == 1, "it was over already, and no history has it"
    with catalog.transaction():
        book.acknowledge(catalog, [id_of()], actor="anna")
    before = catalog.get_alarm(id_of())
    apply(catalog, book, *first, over, again)
    assert catalog.get_alarm(id_of()) == before
    assert before.state is AlarmState.ACTIVE_ACKNOWLEDGED
    apply(catalog, book, again, found(is_raised=False, at_ms=NOW_MS + 9_000))
    assert not catalog.get_alarm(id_of()).is_active, "an end behind what is known is news"
