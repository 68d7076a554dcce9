"""What alarms are judged by, as rows."""

from __future__ import annotations

from pathlib import Path

from appliance.alarms.book import AlarmBook
from appliance.core.clock import ManualClock
from appliance.management.alarm import WAITING
from storage.catalog.alarm_surroundings import Belonging, is_urgent
from storage.catalog.catalog import Catalog
from tests.alarm_kit import FLAP_MS, NOW_MS, SILENT, SITE_SILENT, WAIT_MS, found, id_of, put_rule


def test_all_of_it(tmp_path: Path) -> None:
    clock = ManualClock(NOW_MS)
    catalog = Catalog.open(tmp_path / "catalog.db", clock=clock, node_id=b"n" * 16)
    book = AlarmBook(clock=clock, flap_ms=FLAP_MS, wait_ms=WAIT_MS)
    with catalog.transaction():
        put_rule(catalog, "hot")
        put_rule(catalog, "silent", SILENT)
        put_rule(catalog, "site", SITE_SILENT, is_enabled=True)
        catalog.add_device("d1", tags=("press",))
        book.apply(
            catalog,
            [
                found("d1"),
                found("d2", "silent", series=""),
                found("d3"),
                found("d3", is_raised=False, at_ms=NOW_MS + 1),
            ],
        )
        book.shelve(catalog, [id_of("d1")], until_ms=NOW_MS + 5_000, reason="x", actor="anna")
    silent_id = id_of("d2", "silent", series="")
    assert {rule.rule_id: rule.is_enabled for rule in catalog.rules_of_alarms()} == {
        "hot": True, "silent": True, "site": True,
    }  # fmt: skip
    assert catalog.belongings(["d1", "d9"]) == {
        "d1": Belonging(state="active", groups=frozenset(), tags=frozenset({"press"}))
    }
    assert [each.device_id for each in catalog.active_alarms_of_rules(["hot"])] == ["d1"]
    ids = sorted([id_of("d1"), id_of("d3"), silent_id])
    assert [each.alarm_id for each in catalog.open_alarms(after="", limit=2)] == ids[:2]
    assert [each.alarm_id for each in catalog.open_alarms(after=ids[1], limit=2)] == ids[2:]
    assert not catalog.alarms_shelved_until(NOW_MS + 4_999, limit=9)
    assert [each.device_id for each in catalog.alarms_shelved_until(NOW_MS + 5_000, limit=9)] == ["d1"]
    assert not catalog.alarms_waiting_until(NOW_MS, limit=9)
    assert [each.device_id for each in catalog.alarms_waiting_until(NOW_MS + WAIT_MS, limit=9)] == ["d2"]
    assert [each.device_id for each in catalog.alarms_suppressed_by({WAITING}, limit=9)] == ["d2"]
    assert catalog.alarm_suppressors() == frozenset()
    assert catalog.newest_urgent_alarms() == {"d1": NOW_MS, "d3": NOW_MS}
    with catalog.transaction():
        catalog.request_erasure("d1", epoch=1, before_seq=5)
    assert catalog.erased_since(["d1", "d2"]) == {"d1": NOW_MS}
    assert [is_urgent("P1"), is_urgent("P2"), is_urgent("P3")] == [True, True, False]
    catalog.close()
