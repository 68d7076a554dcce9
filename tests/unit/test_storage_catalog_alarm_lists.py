"""Alarms as people look for them: order, pages, filters, scopes, counts; and that indexes are used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import NotFound, UsageError
from appliance.management.alarm import Alarm
from appliance.management.alarm_steps import Aside, Raise, acknowledged, cleared, raised, shelved, suppressed
from appliance.management.alarms import AlarmState
from appliance.management.rule import Severity
from appliance.management.rule_transition import AlarmKey
from storage.catalog.alarm_lists import OPEN_STATES, AlarmOrder, _conditions
from storage.catalog.catalog import Catalog


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = Catalog.open(tmp_path / "catalog.db", clock=ManualClock(), node_id=b"n" * 16)
    yield opened
    opened.close()


def put(
    catalog: Catalog,
    device_id: str = "",
    at_ms: int = 1_000,
    *,
    severity: Severity = "P2",
    how: str = "",
    rule_id: str = "hot",
    group_id: str = "",
    text: str = "81.5 °C above 80 °C",
) -> Alarm:
    """An alarm to which `how` happened: letters of a(cknowledged), c(leared), s(helved), p (suppressed)."""
    wish = Raise(
        key=AlarmKey(rule_id, device_id, group_id, "temperature"),
        rule_name=f"Rule {rule_id}",
        rule_version=1,
        severity=severity,
        at_ms=at_ms,
        explanation={"text": text},
    )
    moves = raised(None, wish, now_ms=at_ms, flap_ms=0)
    for letter in how:
        alarm = moves[-1].after
        moves += {
            "a": lambda alarm=alarm: acknowledged(alarm, now_ms=2_000, actor="anna"),
            "c": lambda alarm=alarm: cleared(alarm, at_ms=at_ms + 500, now_ms=2_000),
            "s": lambda alarm=alarm: shelved(alarm, now_ms=2_000, until_ms=9_000, actor="anna", reason="x"),
            "p": lambda alarm=alarm: suppressed(alarm, Aside(by="m1"), now_ms=2_000),
        }[letter]()
    with catalog.transaction():
        catalog.save_alarm_moves(moves)
    return moves[-1].after


def devices_of(catalog: Catalog, **chosen: Any) -> list[str]:
    return [each.device_id or each.group_id or "node" for each in catalog.list_alarms(**chosen).alarms]


def put_all(catalog: Catalog) -> None:
    put(catalog, "normal", 9_000, severity="P1", how="ac")
    put(catalog, "shelved", 8_000, severity="P1", how="s")
    put(catalog, "suppressed", 7_000, severity="P2", how="p")
    put(catalog, "over", 6_000, severity="P1", how="c")
    put(catalog, "seen", 5_000, severity="P1", how="a")
    put(catalog, "p2-old", 1_000)
    put(catalog, "p2-new", 2_000)
    put(catalog, "p1", 1_500, severity="P1")


def test_what_wants_somebody_comes_first(catalog: Catalog) -> None:
    put_all(catalog)
    expected = ["p1", "p2-new", "p2-old", "seen", "over", "shelved", "suppressed", "normal"]
    assert devices_of(catalog) == expected
    assert devices_of(catalog, order="newest") == sorted(
        expected, key=lambda one: -catalog.list_alarms(device_id=one).alarms[0].raised_at_ms
    )


@pytest.mark.parametrize("order", ["attention", "newest"])
def test_pages_are_the_list_in_pieces(catalog: Catalog, order: AlarmOrder) -> None:
    put_all(catalog)
    put(catalog, "same-a", 2_000)
    put(catalog, "same-b", 2_000)
    whole, pieces, cursor = devices_of(catalog, order=order), [], None
    assert len(whole) == 10
    while True:
        page = catalog.list_alarms(order=order, cursor=cursor, limit=1)
        pieces += [each.device_id for each in page.alarms]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert pieces == whole


@pytest.mark.parametrize("cursor", ["", "x", "1.P1.x.a", "x.P1.1.a", "1.P1"])
def test_a_cursor_of_something_else(catalog: Catalog, cursor: str) -> None:
    with pytest.raises(UsageError) as caught:
        catalog.list_alarms(cursor=cursor)
    assert caught.value.code == "cursor_invalid"
    with pytest.raises(UsageError):
        catalog.list_alarms(limit=0)


def test_filters(catalog: Catalog) -> None:
    with catalog.transaction():
        catalog.add_group("hall")
        catalog.add_device("p1", tags=("press",))
        catalog.execute(
            "UPDATE devices SET groups = '[\"hall\"]', origin = ?, hlc = ? WHERE device_id = 'p1'",
            (catalog.origin, catalog.hlc),
        )
    put_all(catalog)
    put(catalog, "", 3_000, rule_id="silent", group_id="hall", text="100 % of them")
    put(catalog, "", 3_100, rule_id="disk_full")

    def found(**chosen: Any) -> set[str]:
        listed = set(devices_of(catalog, **chosen))
        assert catalog.count_alarms(**chosen) == len(listed)
        return listed

    assert found(states=OPEN_STATES) == {
        "p1", "p2-old", "p2-new", "seen", "over", "shelved", "suppressed", "hall", "node",
    }  # fmt: skip
    assert found(states=[AlarmState.NORMAL]) == {"normal"}
    assert found(aside="shelved") == {"shelved"}
    assert found(aside="suppressed") == {"suppressed"}
    assert found(is_set_aside=True) == {"shelved", "suppressed"}
    assert found(is_set_aside=False, severities=["P1"]) == {"p1", "seen", "over", "normal"}
    assert found(device_id="seen") == {"seen"}
    assert found(rule_id="silent") == {"hall"}
    assert found(group_id="hall") == {"hall", "p1"}
    assert found(tag="press") == {"p1"}
    assert found(q="SILENT") == {"hall"}
    assert found(q="100 %") == {"hall"}
    assert found(q="k_f") == {"node"}, "an underscore is itself"
    assert found(q="nothing") == set()
    assert found(q='a "quoted" word') == set()
    assert found(q="limit") == set(), "what is in the JSON and not in its text"
    put(catalog, "back", 10, how="acs", text='says "81" \\ 5')
    assert found(q='"81" \\') == {"back"}
    assert found(aside="shelved") == {"shelved", "back"}, "over for now, and still on the shelf"
    assert found(since_ms=7_000, states=[AlarmState.CLEARED_UNACKNOWLEDGED]) == set()
    assert found(since_ms=6_500, until_ms=6_001, states=[AlarmState.CLEARED_UNACKNOWLEDGED]) == {"over"}
    assert found(scope=frozenset({"hall"})) == {"hall", "p1"}
    assert found(scope=frozenset()) == set()


def test_an_alarm_outside_of_the_scope_is_not_there(catalog: Catalog) -> None:
    alarm = put(catalog, "", group_id="hall")
    assert catalog.get_alarm(alarm.alarm_id) == alarm
    assert catalog.get_alarm(alarm.alarm_id, scope=frozenset({"hall"})) == alarm
    assert catalog.visible_alarms([alarm.alarm_id, "x"], scope=None) == {alarm.alarm_id: alarm}
    assert catalog.visible_alarms([alarm.alarm_id], scope=frozenset({"yard"})) == {}
    for scope in (frozenset({"yard"}), frozenset[str]()):
        with pytest.raises(NotFound) as caught:
            catalog.get_alarm(alarm.alarm_id, scope=scope)
        assert caught.value.code == "alarm_unknown"


def test_counts(catalog: Catalog) -> None:
    put_all(catalog)
    put(catalog, "", 3_000, rule_id="disk_full", severity="P3")
    counts = catalog.alarm_counts()
    assert counts.by_severity == {
        "P1": {
            "active_unacknowledged": 1,
            "active_acknowledged": 1,
            "cleared_unacknowledged": 1,
            "shelved": 1,
        },
        "P2": {"active_unacknowledged": 2, "suppressed": 1},
        "P3": {"active_unacknowledged": 1},
    }
    assert counts.unacknowledged == 5
    assert counts.of("shelved") == 1
    assert counts.oldest_unacknowledged_ms == {"P1": 1_500, "P2": 1_000, "P3": 3_000}
    assert catalog.alarm_counts(scope=frozenset({"g"})).by_severity == {}


def test_the_history_of_a_device(catalog: Catalog) -> None:
    put(catalog, "d1", 1_000, how="c")
    put(catalog, "d2", 1_200)
    rows = catalog.alarm_history(from_ms=0, to_ms=10_000, limit=10)
    assert [(row.event, row.at_ms) for row in rows] == [("clear", 1_500), ("raise", 1_200), ("raise", 1_000)]
    rows = catalog.alarm_history(device_id="d1", from_ms=1_000, to_ms=1_500, limit=10)
    assert [row.event for row in rows] == ["raise"]
    alarm_id = rows[0].alarm_id
    assert len(catalog.alarm_history(alarm_id=alarm_id, from_ms=0, to_ms=9_999, limit=10)) == 2
    assert not catalog.alarm_history(from_ms=0, to_ms=9_999, limit=10, scope=frozenset({"g"}))


def plan(catalog: Catalog, sql: str, parameters: Sequence[Any] = ()) -> str:
    return "; ".join(row["detail"] for row in catalog.rows(f"EXPLAIN QUERY PLAN {sql}", parameters))


def test_indexes_are_used(catalog: Catalog) -> None:
    """With 50,000 alarms a list is of milliseconds only because none of these reads all rows or sorts them."""
    where, parameters = _conditions({"states": OPEN_STATES})
    for sql, index in (
        (
            "SELECT * FROM alarms WHERE {} ORDER BY place, severity, raised_at_ms DESC, alarm_id",
            "alarms_by_place",
        ),
        ("SELECT * FROM alarms ORDER BY raised_at_ms DESC, alarm_id DESC", "alarms_by_time"),
        ("SELECT count(*) FROM alarms WHERE place < 3 GROUP BY place, severity", "alarms_by_place"),
        ("SELECT min(shelved_until_ms) FROM alarms WHERE shelved_until_ms IS NOT NULL", "alarms_shelved"),
        ("SELECT * FROM alarms WHERE shelved_until_ms <= 5 ORDER BY shelved_until_ms", "alarms_shelved"),
        ("SELECT DISTINCT suppressed_by FROM alarms WHERE suppressed_by <> ''", "alarms_suppressed"),
        ("SELECT * FROM alarms WHERE suppressed_by = 'm1' AND suppressed_by <> ''", "alarms_suppressed"),
        ("SELECT * FROM alarms WHERE rule_id = 'r' AND state = 'normal'", "alarms_by_rule"),
        ("SELECT * FROM alarm_events WHERE at_ms >= 1 ORDER BY at_ms DESC LIMIT 5", "alarm_events_by_time"),
        ("SELECT * FROM alarm_events WHERE alarm_id = 'a' AND at_ms = 1", "alarm_events_by_key"),
    ):
        has_states = "{}" in sql
        text = plan(catalog, sql.format(where), parameters if has_states else ())
        assert index in text, sql
        assert "TEMP B-TREE" not in text, sql
