"""Alarms as rows: every column there and back, histories that stay bounded, the cursor, and what goes when there are too many."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from appliance.core import limits_alarms
from appliance.core.clock import ManualClock
from appliance.management.alarm import Alarm, AlarmMove
from appliance.management.alarm_steps import Raise, acknowledged, cleared, raised, shelved
from appliance.management.rule_transition import AlarmKey
from storage.catalog import alarms as module
from storage.catalog.alarms import AlarmCursor
from storage.catalog.catalog import Catalog

NOW_MS = 1_772_000_000_000


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = Catalog.open(tmp_path / "catalog.db", clock=ManualClock(NOW_MS), node_id=b"n" * 16)
    yield opened
    opened.close()


def a_raise(device_id: str = "d1", at_ms: int = 1_000) -> Raise:
    return Raise(
        key=AlarmKey("hot", device_id, "", "temperature"),
        rule_name="Too hot",
        rule_version=3,
        severity="P1",
        at_ms=at_ms,
        value=81.5,
        explanation={"text": "81.5 °C", "limit": 80, "worst": math.inf},
    )


def raise_(alarm: Alarm | None = None, device_id: str = "d1", at_ms: int = 1_000) -> list[AlarmMove]:
    return raised(alarm, a_raise(device_id, at_ms), now_ms=at_ms, flap_ms=0)


def save(catalog: Catalog, *moves: AlarmMove) -> Alarm:
    with catalog.transaction():
        catalog.save_alarm_moves(moves)
    return moves[-1].after


def test_every_column_comes_back(catalog: Catalog) -> None:
    alarm = save(catalog, *raise_())
    odd: dict[str, Any] = {"str": "x", "int": 7, "int | None": 9, "float | None": 1.5}
    changes = {
        each.name: odd[str(each.type)]
        for each in fields(Alarm)
        if str(each.type) in odd and each.name not in ("alarm_id", "version")
    }
    full = replace(alarm, **changes, explanation={"text": "ü", "n": [1]})
    save(catalog, replace(raise_()[0], before=alarm, after=full))
    kept = catalog.alarms_of_ids([alarm.alarm_id, "none"])
    assert kept == {alarm.alarm_id: full}
    assert kept[alarm.alarm_id].version > 0


def test_a_number_that_json_does_not_know_becomes_null(catalog: Catalog) -> None:
    alarm = save(catalog, *raise_())
    assert catalog.alarms_of_ids([alarm.alarm_id])[alarm.alarm_id].explanation["worst"] is None


def test_several_moves_of_one_alarm_are_one_row_and_a_history(catalog: Catalog) -> None:
    moves = raise_()
    moves += acknowledged(moves[-1].after, now_ms=2_000, actor="anna", note="seen")
    moves += cleared(moves[-1].after, at_ms=2_500, now_ms=3_000, value=70.0, rule_version=3)
    alarm = save(catalog, *moves)
    assert catalog.count_all_alarms() == 1
    assert catalog.count_open_alarms_of(["d1"]) == {}
    rows = catalog.alarm_events(alarm.alarm_id, limit=10)
    assert [(row.number, row.event, row.from_state, row.to_state) for row in rows] == [
        (1, "raise", "normal", "active_unacknowledged"),
        (2, "acknowledge", "active_unacknowledged", "active_acknowledged"),
        (3, "clear", "active_acknowledged", "normal"),
    ]
    assert (rows[1].actor, rows[1].note) == ("anna", "seen")
    assert (rows[2].at_ms, rows[2].noted_at_ms, rows[2].value) == (2_500, 3_000, 70.0)
    assert [row.number for row in catalog.alarm_events(alarm.alarm_id, after=2, limit=10)] == [3]
    known = catalog.alarm_events_known(
        [(alarm.alarm_id, 1_000), (alarm.alarm_id, 2_500), (alarm.alarm_id, 1)]
    )
    assert known == {(alarm.alarm_id, 1_000, "raise"), (alarm.alarm_id, 2_500, "clear")}


def test_a_history_is_bounded(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ALARM_EVENT_COUNT_MAX", 3)
    alarm = save(catalog, *raise_())
    for until_ms in range(5):
        alarm = save(catalog, *shelved(alarm, now_ms=1, until_ms=until_ms, actor="anna", reason="x"))
    assert [row.number for row in catalog.alarm_events(alarm.alarm_id, limit=10)] == [4, 5, 6]


def test_the_cursor(catalog: Catalog) -> None:
    assert catalog.alarm_cursor() == AlarmCursor()
    with catalog.transaction():
        catalog.set_alarm_cursor(AlarmCursor(store_id="s", number=7, epoch=2, seq=9, noted_at_ms=5))
    assert catalog.alarm_cursor() == AlarmCursor(store_id="s", number=7, epoch=2, seq=9, noted_at_ms=5)


def test_what_is_over_goes_first_and_what_is_active_never(catalog: Catalog) -> None:
    active = save(catalog, *raise_(None, "active", 1))
    unseen = save(catalog, *raise_(None, "unseen", 2))
    save(catalog, *cleared(unseen, at_ms=3, now_ms=3))
    for at_ms, device in ((20, "young"), (10, "old")):
        alarm = save(catalog, *raise_(None, device, at_ms))
        alarm = save(catalog, *acknowledged(alarm, now_ms=30, actor="anna"))
        save(catalog, *cleared(alarm, at_ms=30, now_ms=30))

    def remove(count: int) -> list[str]:
        with catalog.transaction():
            catalog.remove_old_alarms(count)
        return [row[0] for row in catalog.rows("SELECT device_id FROM alarms ORDER BY device_id")]

    assert remove(1) == ["active", "unseen", "young"]
    assert remove(1) == ["active", "unseen"]
    assert remove(5) == ["active"]
    assert remove(5) == ["active"]
    assert [row[0] for row in catalog.rows("SELECT DISTINCT alarm_id FROM alarm_events")] == [active.alarm_id]


def test_an_alarm_that_was_removed_never_has_the_same_episode_again(catalog: Catalog) -> None:
    alarm = save(catalog, *raise_())
    assert catalog.first_alarm_episode(alarm.alarm_id) == 1
    alarm = save(catalog, *acknowledged(alarm, now_ms=2, actor="anna"))
    save(catalog, *cleared(alarm, at_ms=3, now_ms=3))
    with catalog.transaction():
        assert catalog.remove_old_alarms(1) == 1
    assert catalog.first_alarm_episode(alarm.alarm_id) == NOW_MS // 1_000


def test_old_events_go(catalog: Catalog) -> None:
    alarm = save(catalog, *raise_(None, at_ms=1))
    save(catalog, *acknowledged(alarm, now_ms=100, actor="anna"))
    with catalog.transaction():
        assert catalog.remove_old_alarm_events(100, count=10) == 1
    assert [row.event for row in catalog.alarm_events(alarm.alarm_id, limit=10)] == ["acknowledge"]


def test_a_storm_is_no_storm_of_audit_entries(catalog: Catalog) -> None:
    """What Homeport does to alarms is in their own history; what people do is in the audit too."""
    alarm = save(catalog, *raise_())
    assert not catalog.rows("SELECT * FROM audit WHERE object_kind LIKE 'alarm%'")
    assert limits_alarms.ALARM_EVENT_COUNT_MAX >= 100
    assert alarm.is_active
