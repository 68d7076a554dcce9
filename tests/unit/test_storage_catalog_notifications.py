"""Notifications in the catalog: made once, states, lists with pages, who was told, what goes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import Conflict, LimitExceeded, NotFound, UsageError
from appliance.management.notification_targets import Mqtt
from appliance.management.on_call import Member, OnCallDefinition
from appliance.management.rule import RuleScope
from storage.catalog import notification_targets, on_call_lists
from storage.catalog.catalog import Catalog
from tests.notification_kit import new

CLOCK = ManualClock(1_772_000_000_000)


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    made = Catalog.open(tmp_path / "catalog.db", clock=CLOCK, node_id=bytes(16))
    yield made
    made.close()


def test_a_key_is_made_once(catalog: Catalog) -> None:
    with catalog.transaction():
        assert catalog.make_notifications([new("k1"), new("k1"), new("k2")]) == 2
    with catalog.transaction():
        assert catalog.make_notifications([new("k1", body='{"other": 1}')]) == 0
    assert catalog.get_notification("k1").body == "{}"
    with pytest.raises(NotFound) as caught:
        catalog.get_notification("k3")
    assert caught.value.code == "notification_unknown"


def test_only_what_is_being_sent_can_end(catalog: Catalog) -> None:
    with catalog.transaction():
        catalog.make_notifications([new("k1")])
        assert not catalog.end_notification("k1", "sent")
        assert catalog.begin_next_notification("anna", CLOCK.now_ms()) is not None
        assert catalog.begin_next_notification("anna", CLOCK.now_ms()) is None
        assert catalog.end_notification("k1", "sent", outcome="yes")
        assert not catalog.end_notification("k1", "given_up")


def test_what_was_tried_for_a_day_counts_from_its_last_try(catalog: Catalog) -> None:
    now_ms = CLOCK.now_ms()
    hour_ms = 3_600_000
    with catalog.transaction():
        catalog.make_notifications([new("k1"), new("k2", alarm_id="b")])
        first = catalog.begin_next_notification("anna", now_ms)
        assert first is not None
        catalog.end_notification(first.notification_id, "given_up")
        second = catalog.begin_next_notification("anna", now_ms)
        assert second is not None
        catalog.end_notification(second.notification_id, "waiting", next_at_ms=now_ms + 24 * hour_ms)
        assert catalog.begin_next_notification("anna", now_ms + 24 * hour_ms) is not None
        catalog.end_notification(second.notification_id, "given_up")
    assert catalog.notification_counts(now_ms).given_up_recently == 2
    assert catalog.notification_counts(now_ms + 23 * hour_ms).given_up_recently == 1
    assert catalog.notification_counts(now_ms + 25 * hour_ms).given_up_recently == 0


def test_what_waits_behind_an_earlier_one_of_its_alarm_is_not_due(catalog: Catalog) -> None:
    """Otherwise the sender would look for it again and again."""
    now_ms = CLOCK.now_ms()
    with catalog.transaction():
        catalog.make_notifications([new("1", alarm_id="a"), new("2", alarm_id="a", step="cleared")])
        assert catalog.targets_to_serve(now_ms) == (["anna"], None)
        assert catalog.begin_next_notification("anna", now_ms) is not None
        assert catalog.targets_to_serve(now_ms) == ([], None)
        catalog.end_notification("1", "waiting", next_at_ms=now_ms + 900_000)
        assert catalog.targets_to_serve(now_ms) == ([], now_ms + 900_000)
        assert catalog.begin_next_notification("anna", now_ms) is None


def test_who_was_told_in_a_round(catalog: Catalog) -> None:
    with catalog.transaction():
        catalog.make_notifications(
            [
                new("1", "anna", alarm_id="a"),
                new("2", "anna", alarm_id="a", step="repeated/2"),
                new("3", "bert", alarm_id="a", step="repeated/2.2"),
                new("4", "cora", alarm_id="a", step="cleared"),
                new("5", "dora", alarm_id="b"),
                new("6", "emil", alarm_id="a", episode=2),
            ]
        )
        assert catalog.told_targets("a", 1, "") == ["anna"]
        assert catalog.told_targets("a", 1, ".2") == ["bert"]
        assert catalog.withdraw_notifications("a", "nobody cares") == 4
        assert catalog.told_targets("a", 1, "") == []
        assert catalog.get_notification("4").state == "waiting"
        assert catalog.get_notification("1").outcome == "nobody cares"


def test_pages_and_filters(catalog: Catalog) -> None:
    with catalog.transaction():
        catalog.make_notifications(
            [new(f"k{n}", "anna" if n % 2 else "bert", alarm_id=f"a{n}") for n in range(5)]
        )
    first = catalog.list_notifications(limit=2)
    assert [row.notification_id for row in first.notifications] == ["k4", "k3"]
    second = catalog.list_notifications(limit=3, cursor=first.next_cursor)
    assert [row.notification_id for row in second.notifications] == ["k2", "k1", "k0"]
    assert second.next_cursor is None
    assert len(catalog.list_notifications(limit=9, target_id="anna").notifications) == 2
    assert len(catalog.list_notifications(limit=9, alarm_id="a4").notifications) == 1
    assert catalog.list_notifications(limit=9, states=("sent",)).notifications == ()
    assert catalog.list_notifications(limit=9, since_ms=CLOCK.now_ms() + 1).notifications == ()
    for cursor in ("", "x-k1", "12", "9" * 40 + "-k"):
        with pytest.raises(UsageError) as caught:
            catalog.list_notifications(limit=1, cursor=cursor)
        assert caught.value.code == "cursor_invalid"


def test_more_than_are_kept_go_the_oldest_first(catalog: Catalog) -> None:
    for number in range(6):
        with catalog.transaction():
            catalog.make_notifications([new(f"k{number}")])
            if number < 4:
                begun = catalog.begin_next_notification("anna", CLOCK.now_ms())
                assert begun is not None
                catalog.end_notification(begun.notification_id, "sent")
        CLOCK.advance(1_000)
    with catalog.transaction():
        assert catalog.remove_old_notifications(0, keep_count=3, limit=10) == 2
    assert [row.notification_id for row in catalog.list_notifications(limit=9).notifications] == [
        "k5",
        "k4",
        "k3",
        "k2",
    ]


def test_a_target_that_a_list_names_stays(catalog: Catalog) -> None:
    catalog.add_target("t1", name="T", settings=Mqtt(topic="a"), secret_sealed=b"")
    definition = OnCallDefinition(members=(Member(name="A", targets=("t1",)),))
    row = catalog.add_on_call("l1", name="L", definition=definition)
    with pytest.raises(Conflict, match="“L”"):
        catalog.remove_target("t1")
    for name, list_id in (("L", "l2"),):
        with pytest.raises(Conflict):
            catalog.add_on_call(list_id, name=name, definition=definition)
    with pytest.raises(NotFound, match="no group"):
        catalog.edit_on_call(
            row.list_id,
            definition=OnCallDefinition(members=definition.members, scope=RuleScope(groups=("g",))),
        )
    catalog.edit_on_call("l1", is_enabled=False)
    assert catalog.on_call_in_force() == ()
    with catalog.transaction():
        catalog.set_digest_cursor("l1", 5)
    catalog.edit_on_call("l1", is_enabled=True)
    assert catalog.digest_cursors() == {}, "what came while it was off is not told"
    with catalog.transaction():
        catalog.set_digest_cursor("l1", 5)
    catalog.remove_on_call("l1")
    assert catalog.digest_cursors() == {}
    catalog.remove_target("t1")
    for unknown in (
        lambda: catalog.remove_target("t1"),
        lambda: catalog.remove_on_call("l1"),
        lambda: catalog.get_on_call("l1"),
    ):
        with pytest.raises(NotFound):
            unknown()
    assert catalog.target_secret_sealed("t1") == b""


def test_there_are_limits(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notification_targets, "NOTIFICATION_TARGET_COUNT_MAX", 1)
    monkeypatch.setattr(on_call_lists, "ON_CALL_LIST_COUNT_MAX", 1)
    definition = OnCallDefinition(members=(Member(name="A", targets=("t1",)),))
    catalog.add_target("t1", name="T", settings=Mqtt(topic="a"), secret_sealed=b"")
    catalog.add_on_call("l1", name="L", definition=definition)
    with pytest.raises(LimitExceeded):
        catalog.add_target("t2", name="U", settings=Mqtt(topic="a"), secret_sealed=b"")
    with pytest.raises(LimitExceeded):
        catalog.add_on_call("l2", name="M", definition=definition)


def test_what_waits_is_found_by_an_index(catalog: Catalog) -> None:
    plan = catalog.rows(
        "EXPLAIN QUERY PLAN SELECT DISTINCT target_id FROM notifications WHERE state IN ('waiting', 'sending')"
    )
    assert any("notifications_open" in row["detail"] for row in plan)
    plan = catalog.rows(
        "EXPLAIN QUERY PLAN SELECT * FROM alarm_escalations WHERE next_at_ms <= 5 ORDER BY next_at_ms LIMIT 5"
    )
    assert any("alarm_escalations_due" in row["detail"] for row in plan)
